//! Kernel configuration options: from the text of a configuration file to the bytes of a variable.

use hitless_btf::{Btf, Int, IntEncoding, Type, TypeId};

use super::error::{OptionError, RelocateError};
use super::{Target, externs};
use crate::spec::Extern;

/// What an option's variable can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// `bool`.
    Bool,
    /// `enum libbpf_tristate`.
    Tristate,
    /// `char`.
    Char { signed: bool },
    /// An integer of more than a byte.
    Int { signed: bool },
    /// `char []`.
    Text,
}

/// Writes the value of an option to its place; zeroes if there is none and there need not be any.
pub(super) fn write(
    symbol: &Extern,
    btf: Option<&Btf>,
    target: &Target<'_>,
    place: &mut [u8],
) -> Result<(), RelocateError> {
    let (ty, sort) = match externs::type_of(symbol, btf) {
        Some((btf, id)) => (btf.type_name(id), sort(btf, id)),
        None => ("unknown".into(), None),
    };
    let unsuitable = |value: &str, source| RelocateError::Option {
        name: symbol.name.clone(),
        value: value.into(),
        source,
    };
    let given = value(symbol, target)?;
    let shown = given.as_deref().unwrap_or("(none)");
    let sort = sort.ok_or_else(|| unsuitable(shown, OptionError::Unsupported { ty: ty.clone() }))?;
    place.fill(0);
    let Some(given) = &given else { return Ok(()) };
    let written = match given.strip_prefix('"') {
        Some(text) => put_text(place, text, sort, &ty),
        None => numeric(given, place.len(), sort, &ty).map(|number| put(place, number)),
    };
    written.map_err(|source| unsuitable(given, source))
}

/// Writes a text, without its opening quote; cut off, if need be, so that a NUL remains behind it.
fn put_text(place: &mut [u8], text: &str, sort: Sort, ty: &str) -> Result<(), OptionError> {
    if sort != Sort::Text {
        return Err(OptionError::Sort {
            ty: ty.into(),
            expected: "an array of char",
        });
    }
    let text = text.strip_suffix('"').ok_or(OptionError::Quote)?;
    let len = text.len().min(place.len().saturating_sub(1));
    place[..len].copy_from_slice(&text.as_bytes()[..len]);
    Ok(())
}

/// The number that "y", "n", "m" or a number is in a variable of this sort and size.
fn numeric(given: &str, size: usize, sort: Sort, ty: &str) -> Result<u64, OptionError> {
    let wrong_sort = |expected| OptionError::Sort {
        ty: ty.into(),
        expected,
    };
    if let Some(letter @ (b'y' | b'n' | b'm')) = given.bytes().next() {
        return match (sort, letter) {
            (Sort::Bool, b'm') => Err(wrong_sort("enum libbpf_tristate or char")),
            (Sort::Tristate, b'm') => Ok(2),
            (Sort::Bool | Sort::Tristate, _) => Ok((letter == b'y').into()),
            (Sort::Char { .. }, _) => Ok(letter.into()),
            (Sort::Int { .. } | Sort::Text, _) => Err(wrong_sort("bool, enum libbpf_tristate or char")),
        };
    }
    let number = number(given).ok_or(OptionError::Integer)?;
    match sort {
        Sort::Tristate | Sort::Text => Err(wrong_sort("bool, char or an integer")),
        sort if fits(number, size, sort) => Ok(number),
        _ => Err(OptionError::Range { ty: ty.into() }),
    }
}

/// The text of an option's value; `None` if it has none and need not have any.
fn value(symbol: &Extern, target: &Target<'_>) -> Result<Option<String>, RelocateError> {
    let name = symbol.name.as_str();
    let found = match name {
        "LINUX_KERNEL_VERSION" => Some(target.kernel_version.to_string()),
        "LINUX_HAS_BPF_COOKIE" | "LINUX_HAS_SYSCALL_WRAPPER" => {
            Some((target.kconfig)(name).unwrap_or_else(|| "0".into()))
        }
        _ if name.starts_with("CONFIG_") => (target.kconfig)(name),
        _ if name.starts_with("LINUX_") && symbol.weak => None,
        _ => return Err(RelocateError::UnknownOption { name: name.into() }),
    };
    if found.is_none() && !symbol.weak {
        return Err(RelocateError::MissingOption { name: name.into() });
    }
    Ok(found)
}

fn sort(btf: &Btf, id: TypeId) -> Option<Sort> {
    let signed = |int: &Int| int.encoding == IntEncoding::Signed;
    match btf.resolve(id)?.1 {
        Type::Int(int) if int.encoding == IntEncoding::Bool => (int.size == 1).then_some(Sort::Bool),
        Type::Int(int) => match int.size {
            1 => Some(Sort::Char { signed: signed(int) }),
            2 | 4 | 8 => Some(Sort::Int { signed: signed(int) }),
            _ => None,
        },
        Type::Enum(t) if t.size == 4 && t.name == "libbpf_tristate" => Some(Sort::Tristate),
        Type::Array(array) if array.len > 0 => {
            matches!(sort(btf, array.elem)?, Sort::Char { .. }).then_some(Sort::Text)
        }
        _ => None,
    }
}

/// Reads a number as `strtoull` does: decimal, octal after "0", hexadecimal after "0x", negative numbers wrapped around.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&digits[2..], 16),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

fn fits(number: u64, size: usize, sort: Sort) -> bool {
    if !(1..=8).contains(&size) {
        return false;
    }
    let bits = size as u32 * 8;
    match sort {
        Sort::Bool => number <= 1,
        _ if bits == 64 => true,
        Sort::Char { signed: true } | Sort::Int { signed: true } => number.wrapping_add(1 << (bits - 1)) < 1 << bits,
        _ => number < 1 << bits,
    }
}

/// Writes a number in as many bytes as there are.
fn put(place: &mut [u8], number: u64) {
    for (byte, from) in place.iter_mut().zip(number.to_le_bytes()) {
        *byte = from;
    }
}
