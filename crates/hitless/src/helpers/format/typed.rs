//! Printing by types: what `bpf_snprintf_btf()` and `bpf_seq_printf_btf()` have in common.
//!
//! A value is printed as an initialiser of C: `(struct pair){\n .a = (u32)1,\n}`. What is zero is left out, but for the value itself;
//! a struct, union or array in another one is gone through once to see whether there is anything in it. The flags are those of the
//! kernel (`BTF_F_*`). Of the kernel, too, are these: an enumerator is shown also if it is zero; arrays of bytes are shown as
//! characters up to the first zero; and what lies inside an element of an array has neither name nor opening brace, until an
//! array in there has ended.
//!
//! Values are read where they are, a number at a time, since they may change or go meanwhile.

use hitless_btf::{Btf, Composite, Enum, Int, IntEncoding, Member, Type, TypeId};

use super::number::{Fill, Number};
use super::render::Hide;
use super::{Output, render};
use crate::helpers::errno::{E2BIG, EFAULT, ERANGE, Errno};
use crate::helpers::probe;

/// No line breaks and indents.
const COMPACT: u64 = 1;
/// No names of types and members.
const NONAME: u64 = 2;
/// Addresses are told.
const PTR_RAW: u64 = 4;
/// What is zero is not left out.
const ZERO: u64 = 8;
/// The flags that there are.
pub(in crate::helpers) const FLAGS: u64 = COMPACT | NONAME | PTR_RAW | ZERO;

/// How long a name is, with the zero at its end, before it is cut off.
const NAME: usize = 80;
/// How deep values are nested; those of real types are not that deep.
const DEPTH: usize = 32;
/// How many pointers and arrays there may be around what has a name.
const SUFFIXES: usize = 10;
/// Below are no objects, but pointers that are NULL and members of those.
const FIRST_PAGE: u64 = 4096;
/// How many bytes are tried to be read at once.
const PIECE: usize = 64;

/// What is printed, and how.
pub(in crate::helpers) struct Typed<'a, H> {
    pub(in crate::helpers) btf: &'a Btf,
    pub(in crate::helpers) hide: &'a H,
    pub(in crate::helpers) flags: u64,
}

impl<H: Hide> Typed<'_, H> {
    /// Prints the value of a type at an address.
    pub(in crate::helpers) fn print(&self, ty: TypeId, address: u64, out: &mut Output<'_>) -> Result<(), Errno> {
        readable(address, self.btf.size_of(ty).unwrap_or(0) as usize)?;
        let mut printer = Printer {
            how: self,
            out,
            depth: 0,
            in_element: false,
            dry: false,
            found: false,
        };
        printer.value(&Place {
            ty,
            address,
            member: None,
            character: false,
        })
    }
}

/// Refuses what is not there as a whole.
fn readable(address: u64, size: usize) -> Result<(), Errno> {
    if address < FIRST_PAGE {
        return Err(ERANGE);
    }
    let mut done = 0;
    while done < size {
        let len = PIECE.min(size - done);
        probe::read(address.wrapping_add(done as u64), &mut [0; PIECE][..len]).map_err(|_| EFAULT)?;
        done += len;
    }
    Ok(())
}

/// A value to be printed.
struct Place<'b> {
    ty: TypeId,
    /// Where it is, or what it is a bitfield of.
    address: u64,
    member: Option<&'b Member>,
    /// Whether it is an element of an array of bytes.
    character: bool,
}

struct Printer<'p, 'b, 'o, H> {
    how: &'p Typed<'b, H>,
    out: &'p mut Output<'o>,
    depth: usize,
    /// Whether it is in an element of an array: nothing has a name then.
    in_element: bool,
    /// Whether nothing is printed: it is only looked whether there is something.
    dry: bool,
    /// Whether something was, or would have been, printed inside.
    found: bool,
}

impl<'b, H: Hide> Printer<'_, 'b, '_, H> {
    fn value(&mut self, place: &Place<'b>) -> Result<(), Errno> {
        if self.depth >= DEPTH {
            return Err(E2BIG);
        }
        let Some((_, ty)) = self.how.btf.resolve(place.ty) else {
            return self.unsupported(place, 0);
        };
        match ty {
            Type::Int(int) => self.integer(place, int),
            Type::Enum(list) | Type::Enum64(list) => self.enumerator(place, list),
            Type::Ptr(_) => self.pointer(place),
            Type::Struct(composite) | Type::Union(composite) => {
                self.nested(place, b"}", |printer| printer.members(place, composite))
            }
            Type::Array(array) => self.nested(place, b"]", |printer| printer.elements(place, array.elem, array.len)),
            other => self.unsupported(place, other.kind() as u32),
        }
    }

    /// Prints something that has others in it, if it is not to be left out.
    fn nested(
        &mut self,
        place: &Place<'b>,
        end: &[u8],
        inside: impl Fn(&mut Self) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if self.dry {
            self.depth += 1;
            let result = inside(self);
            self.depth -= 1;
            return result;
        }
        if self.depth > 0 && self.how.flags & ZERO == 0 {
            (self.dry, self.found) = (true, false);
            self.depth += 1;
            let looked = inside(self);
            self.depth -= 1;
            self.dry = false;
            looked?;
            if !self.found {
                return Ok(());
            }
        }
        self.indent();
        self.name(place);
        self.line();
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        self.indent();
        self.out.text(end);
        self.delimiter();
        self.line();
        result
    }

    fn members(&mut self, place: &Place<'b>, composite: &'b Composite) -> Result<(), Errno> {
        for member in &composite.members {
            let offset = if member.bitfield_size != 0 {
                0
            } else {
                member.bit_offset / 8
            };
            self.value(&Place {
                ty: member.ty,
                address: place.address.wrapping_add(offset.into()),
                member: Some(member),
                character: false,
            })?;
        }
        Ok(())
    }

    fn elements(&mut self, place: &Place<'b>, elem: TypeId, len: u32) -> Result<(), Errno> {
        let size = self.how.btf.size_of(elem).unwrap_or(0);
        let character = size == 1 && matches!(self.how.btf.resolve(elem), Some((_, Type::Int(_))));
        // Without a size there may be any number of them, of nothing.
        for index in 0..if size == 0 { 0 } else { len } {
            let address = place.address.wrapping_add(u64::from(index) * u64::from(size));
            if character && read(address, 1)? == 0 {
                // The kernel goes on to the end, and shows nothing more.
                self.in_element = false;
                break;
            }
            self.in_element = true;
            self.value(&Place {
                ty: elem,
                address,
                member: None,
                character,
            })?;
            self.in_element = false;
        }
        Ok(())
    }

    fn integer(&mut self, place: &Place<'b>, int: &Int) -> Result<(), Errno> {
        let size = int.size.min(16) as usize;
        if let Some(member) = place.member.filter(|member| member.bitfield_size != 0) {
            let value = bits(place.address, member.bit_offset.into(), member.bitfield_size.into())?;
            return self.leaf(place, value != 0, |out, _| wide(value, out));
        }
        if u32::from(int.bits) != int.size * 8 || int.bit_offset != 0 {
            // A bitfield of an old compiler.
            let value = bits(place.address, int.bit_offset.into(), int.bits.into())?;
            return self.leaf(place, value != 0, |out, _| wide(value, out));
        }
        let value = read(place.address, size)?;
        if size == 16 {
            return self.leaf(place, value != 0, |out, _| wide(value, out));
        }
        if place.character && is_printable(value as u8) {
            return self.leaf(place, true, |out, _| out.text(&[b'\'', value as u8, b'\'']));
        }
        let signed = matches!(int.encoding, IntEncoding::Signed | IntEncoding::Char);
        let number = decimal(value as u64, 8 * size as u32, signed);
        self.leaf(place, value != 0, |out, _| number.print(0, Fill::Before, out))
    }

    fn enumerator(&mut self, place: &Place<'b>, list: &'b Enum) -> Result<(), Errno> {
        let value = match place.member.filter(|member| member.bitfield_size != 0) {
            Some(member) => {
                let value = bits(place.address, member.bit_offset.into(), member.bitfield_size.into())?;
                return self.leaf(place, value != 0, |out, _| wide(value, out));
            }
            None => read(place.address, list.size.min(8) as usize)? as u64,
        };
        let width = 8 * list.size;
        let signed = sign_extended(value, width);
        let is_it = |known: i64| {
            if list.signed {
                known == signed
            } else {
                known.cast_unsigned() == value
            }
        };
        if let Some(variant) = list.variants.iter().find(|variant| is_it(variant.value)) {
            return self.leaf(place, true, |out, _| out.text(variant.name.as_str().as_bytes()));
        }
        let number = decimal(value, width, list.signed);
        self.leaf(place, value != 0, |out, _| number.print(0, Fill::Before, out))
    }

    fn pointer(&mut self, place: &Place<'b>) -> Result<(), Errno> {
        let value = read(place.address, 8)? as u64;
        let raw = self.how.flags & PTR_RAW != 0;
        self.leaf(place, value != 0, |out, hide: &H| {
            let shown = if raw { value } else { render::hidden(value, hide) };
            out.text(b"0x");
            Number::hexadecimal(shown, false).print(render::ADDRESS_DIGITS, Fill::Zeros, out);
        })
    }

    fn unsupported(&mut self, place: &Place<'b>, kind: u32) -> Result<(), Errno> {
        self.leaf(place, true, |out, _| {
            out.text(b"<unsupported kind:");
            Number::decimal(kind.into(), None).print(0, Fill::Before, out);
            out.text(b">");
        })
    }

    /// Prints a value that has no others in it, if it is not to be left out.
    fn leaf(&mut self, place: &Place<'b>, matters: bool, print: impl FnOnce(&mut Output<'_>, &H)) -> Result<(), Errno> {
        if !matters && self.how.flags & ZERO == 0 && self.depth > 0 {
            return Ok(());
        }
        self.found = true;
        if !self.dry {
            self.indent();
            self.name(place);
            print(self.out, self.how.hide);
            self.delimiter();
            self.line();
        }
        Ok(())
    }

    fn indent(&mut self) {
        if self.how.flags & COMPACT == 0 {
            self.out.fill(b' ', self.depth);
        }
    }

    fn delimiter(&mut self) {
        if self.depth > 0 {
            self.out.text(b",");
        }
    }

    fn line(&mut self) {
        if self.how.flags & COMPACT == 0 {
            self.out.text(b"\n");
        }
    }

    /// Prints what stands before a value: ".member = (struct type){", or what the flags leave of it.
    fn name(&mut self, place: &Place<'b>) {
        if self.in_element {
            return;
        }
        let shape = Shape::of(self.how.btf, place.ty);
        if self.how.flags & NONAME != 0 {
            self.out.text(shape.open);
            return;
        }
        let mut text = [0; NAME];
        let mut out = Output::to_slice(&mut text);
        if let Some(member) = place.member.filter(|member| !member.name.is_empty()) {
            out.text(b".");
            out.text(member.name.as_str().as_bytes());
            out.text(b" = ");
        }
        shape.print(&mut out);
        let len = out.finish().min(NAME - 1);
        self.out.text(&text[..len]);
    }
}

/// A type as it is written before its value.
struct Shape<'b> {
    keyword: &'static str,
    name: &'b str,
    pointers: usize,
    arrays: usize,
    /// What opens its parts.
    open: &'static [u8],
}

impl<'b> Shape<'b> {
    fn of(btf: &'b Btf, ty: TypeId) -> Shape<'b> {
        let (mut at, mut alias) = (ty, None);
        let mut shape = Shape {
            keyword: "",
            name: "",
            pointers: 0,
            arrays: 0,
            open: b"",
        };
        loop {
            at = match btf.get(at) {
                Some(Type::Typedef(typedef)) => {
                    alias = alias.or(Some(typedef.name.as_str()));
                    typedef.ty
                }
                Some(Type::Array(array)) => {
                    shape.arrays += 1;
                    shape.open = b"[";
                    array.elem
                }
                Some(Type::Ptr(to)) => {
                    shape.pointers += 1;
                    *to
                }
                Some(Type::Const(to) | Type::Volatile(to) | Type::Restrict(to)) => *to,
                Some(Type::TypeTag(tag)) => tag.ty,
                Some(found) => {
                    let (keyword, is_composite) = match found {
                        Type::Struct(_) => ("struct", true),
                        Type::Union(_) => ("union", true),
                        Type::Enum(_) | Type::Enum64(_) => ("enum", false),
                        _ => ("", false),
                    };
                    if is_composite && shape.arrays == 0 {
                        shape.open = b"{";
                    }
                    if alias.is_none() {
                        shape.keyword = keyword;
                    }
                    shape.name = alias.unwrap_or(found.name());
                    break;
                }
                None => break,
            };
        }
        if shape.pointers > 0 {
            shape.open = b"";
        }
        shape
    }

    fn print(&self, out: &mut Output<'_>) {
        out.text(b"(");
        out.text(self.keyword.as_bytes());
        if !self.keyword.is_empty() && !self.name.is_empty() {
            out.text(b" ");
        }
        out.text(self.name.as_bytes());
        if self.pointers > 0 {
            out.text(b" ");
            out.fill(b'*', self.pointers.min(SUFFIXES));
        }
        for _ in 0..self.arrays.min(SUFFIXES) {
            out.text(b"[]");
        }
        out.text(b")");
        out.text(self.open);
    }
}

/// Reads a number of so many bytes.
fn read(address: u64, size: usize) -> Result<u128, Errno> {
    let mut bytes = [0; 16];
    probe::read(address, &mut bytes[..size]).map_err(|_| EFAULT)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Reads a bitfield.
fn bits(address: u64, first: u64, count: u64) -> Result<u128, Errno> {
    let mut value = 0;
    for bit in (first..first + count.min(128)).rev() {
        let byte = read(address.wrapping_add(bit / 8), 1)?;
        value = value << 1 | byte >> (bit % 8) & 1;
    }
    Ok(value)
}

fn sign_extended(value: u64, width: u32) -> i64 {
    let unused = 64u32.saturating_sub(width).min(63);
    (value << unused).cast_signed() >> unused
}

fn decimal(value: u64, width: u32, signed: bool) -> Number {
    if !signed {
        return Number::decimal(value, None);
    }
    let value = sign_extended(value, width);
    Number::decimal(value.unsigned_abs(), (value < 0).then_some(b'-'))
}

/// In hexadecimal, of up to 128 bits.
fn wide(value: u128, out: &mut Output<'_>) {
    let (high, low) = ((value >> 64) as u64, value as u64);
    out.text(b"0x");
    if high == 0 {
        Number::hexadecimal(low, false).print(0, Fill::Before, out);
    } else {
        Number::hexadecimal(high, false).print(0, Fill::Before, out);
        Number::hexadecimal(low, false).print(16, Fill::Zeros, out);
    }
}

/// As the kernel's `isprint()`, of Latin-1.
fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e | 0xa0..)
}
