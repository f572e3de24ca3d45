//! Tokens: what an instruction's text is made of. Blanks are skipped after every token.

use super::AsmErrorKind as Kind;
use crate::disasm::size_text;
use crate::opcode::SIZE;
use crate::{Reg, Size, Width};

/// A token, or what is wrong with the text.
pub(super) type Parsed<T> = Result<T, Kind>;

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

/// What is left of a line.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn expected<T>(&self, expected: &'static str) -> Parsed<T> {
        Err(Kind::Expected {
            expected,
            found: self.rest.to_owned(),
        })
    }

    /// Takes this text if it is next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    pub(super) fn need(&mut self, token: &'static str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { self.expected(token) }
    }

    /// Takes this word if it is next, and not just the beginning of another.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let whole = self
            .rest
            .strip_prefix(word)
            .is_some_and(|rest| !rest.starts_with(is_name_char));
        whole && self.eat(word)
    }

    /// Takes what is next if one of these rows has its text; the longest wins.
    pub(super) fn eat_row<T: Copy>(&mut self, rows: impl Iterator<Item = (&'static str, T)>) -> Option<T> {
        let (text, op) = rows
            .filter(|(text, _)| self.rest.starts_with(text))
            .max_by_key(|(text, _)| text.len())?;
        self.eat(text);
        Some(op)
    }

    pub(super) fn name(&mut self, expected: &'static str) -> Parsed<&'a str> {
        let end = self.rest.find(|c| !is_name_char(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if !is_name(name) {
            return self.expected(expected);
        }
        self.rest = rest.trim_start();
        Ok(name)
    }

    pub(super) fn skip_listing_prefix(&mut self) {
        let after = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let opcode = after.strip_prefix(": (").and_then(|rest| rest.split_once(") "));
        if let (true, Some((_, rest))) = (after.len() < self.rest.len(), opcode) {
            self.rest = rest.trim_start();
        }
    }

    /// A number, decimal or `0x`, with or without a sign.
    pub(super) fn number(&mut self) -> Parsed<i128> {
        let (sign, digits) = match self.rest.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, self.rest.strip_prefix('+').unwrap_or(self.rest)),
        };
        let (digits, radix) = match digits.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (digits, 10),
        };
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (number, rest) = digits.split_at(end);
        match i128::from_str_radix(number, radix) {
            Ok(value) if !rest.starts_with(is_name_char) => {
                self.rest = rest.trim_start();
                Ok(sign * value)
            }
            _ => self.expected("a number"),
        }
    }

    pub(super) fn number_in<T: TryFrom<i128>>(&mut self, field: &'static str) -> Parsed<T> {
        let value = self.number()?;
        T::try_from(value).map_err(|_| Kind::OutOfRange { value, field })
    }

    pub(super) fn imm(&mut self) -> Parsed<i32> {
        self.number_in("an immediate of 32 bits")
    }

    /// `r0` to `r10`, or `w0` to `w10`, if one is next.
    pub(super) fn eat_reg(&mut self) -> Option<(Width, Reg)> {
        let width = match self.rest.chars().next()? {
            'r' => Width::W64,
            'w' => Width::W32,
            _ => return None,
        };
        let end = self.rest.find(|c| !is_name_char(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let reg = Reg::new(name[1..].parse().ok()?)?;
        self.rest = rest.trim_start();
        Some((width, reg))
    }

    pub(super) fn any_reg(&mut self) -> Parsed<(Width, Reg)> {
        self.eat_reg().map_or_else(|| self.expected("a register"), Ok)
    }

    /// A register named with this width.
    pub(super) fn reg(&mut self, width: Width) -> Parsed<Reg> {
        let before = self.rest;
        match self.eat_reg() {
            Some((found, reg)) if found == width => Ok(reg),
            _ => {
                self.rest = before;
                self.expected(if width == Width::W64 {
                    "a register r0 to r10"
                } else {
                    "a register w0 to w10"
                })
            }
        }
    }

    pub(super) fn full_reg(&mut self) -> Parsed<Reg> {
        self.reg(Width::W64)
    }

    /// A register that must be this one.
    pub(super) fn same_reg(&mut self, width: Width, reg: Reg) -> Parsed<()> {
        let before = self.rest;
        if self.reg(width)? == reg {
            return Ok(());
        }
        self.rest = before;
        self.expected("the destination once more")
    }

    /// `size *)`: the size, and whether it is signed.
    pub(super) fn size(&mut self) -> Parsed<(Size, bool)> {
        let sizes = SIZE
            .iter()
            .flat_map(|row| [true, false].map(|signed| (size_text(row.op, signed), (row.op, signed))));
        // `u64` is also the text of the signed 64-bit size, which does not exist.
        let sizes = sizes.filter(|(_, (size, signed))| !(*signed && *size == Size::Dw));
        let Some(size) = self.eat_row(sizes) else {
            return self.expected("u8, u16, u32, u64, s8, s16 or s32");
        };
        self.need("*")?;
        self.need(")")?;
        Ok(size)
    }

    pub(super) fn unsigned_size(&mut self) -> Parsed<Size> {
        match self.size()? {
            (size, false) => Ok(size),
            _ => Err(Kind::NoSuchOperation {
                what: "such access of a signed size",
            }),
        }
    }

    /// `(base +off)`.
    pub(super) fn address(&mut self) -> Parsed<(Reg, i16)> {
        self.need("(")?;
        let base = self.full_reg()?;
        let off = if self.rest.starts_with(['+', '-']) {
            self.number_in("an offset of 16 bits")?
        } else {
            0
        };
        self.need(")")?;
        Ok((base, off))
    }

    /// `((size *)(base +off)`: the first argument of a function on memory.
    pub(super) fn cell_argument(&mut self) -> Parsed<(Size, Reg, i16)> {
        self.need("(")?;
        self.need("(")?;
        let size = self.unsigned_size()?;
        let (base, off) = self.address()?;
        Ok((size, base, off))
    }
}
