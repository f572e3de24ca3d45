//! Constant strings, and those of them that say how to print numbers.

use hitless_isa::Reg;

use super::Context;
use super::call::{arg_reg, wrong_type};
use super::memory::value_region;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::program::NamedMap;
use crate::tables::map_types;

/// The argument is a string in a map whose content is known.
pub(super) fn constant(cx: &mut Context<'_, '_>, index: u8, value: &Value) -> Result<(), Failure> {
    string(cx, arg_reg(index), value)?;
    if let Some(PointerKind::MapValue { map, .. }) = value.as_pointer().map(|pointer| pointer.kind) {
        let region = value_region(cx, map);
        cx.recorder.argument(cx.pc, index, Some(region), false);
    }
    Ok(())
}

/// The bytes of the string, without the zero at its end.
fn string<'p>(cx: &Context<'_, 'p>, reg: Reg, value: &Value) -> Result<&'p [u8], Failure> {
    let index = reg.index();
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let Some((pointer, map)) = map_value(value) else {
        return Err(wrong_type(value, reg, "map_value"));
    };
    let facts = cx.program.map(map);
    let NamedMap::Itself(_) = cx.program.named_map(map) else {
        return fail(format!("R{index} does not point to a readonly map'"));
    };
    // The quotation marks are the kernel's.
    let Some(bytes) = facts.frozen.as_ref().filter(|_| facts.readonly_prog) else {
        return fail(format!("R{index} does not point to a readonly map'"));
    };
    let Some(off) = pointer.constant_offset() else {
        return fail(format!("R{index} is not a constant address'"));
    };
    if !map_types::of(facts.kind).has_direct_values() {
        return fail("no direct value access support for this map type".to_owned());
    }
    let size = i64::from(facts.value_size);
    let Some(text) = usize::try_from(off).ok().and_then(|off| bytes.get(off..)) else {
        return fail(format!(
            "invalid access to map value, value_size={size} off={off} size={}",
            size - off
        ));
    };
    match text.iter().position(|byte| *byte == 0) {
        Some(end) => Ok(&text[..end]),
        None => fail("string is not zero-terminated".to_owned()),
    }
}

fn map_value(value: &Value) -> Option<(&Pointer, u32)> {
    let pointer = value.as_pointer()?;
    match pointer.kind {
        PointerKind::MapValue {
            map, nullable: false, ..
        } => Some((pointer, map)),
        _ => None,
    }
}

/// The string in one argument asks for no more numbers than there are; another has their size in bytes.
pub(super) fn format(cx: &mut Context<'_, '_>, text: Reg, size: Reg) -> Result<(), Failure> {
    let value = cx.state.reg(text);
    let format = string(cx, text, &value)?;
    // Of a size that is not constant, the bits that are.
    let bytes = cx.state.reg(size).as_scalar().map_or(0, |size| size.bits.min());
    cx.uses.value(size);
    let given = bytes / 8;
    let invalid = |found: String| Err(Failure::new(found, "Invalid format string"));
    if !bytes.is_multiple_of(8) {
        return invalid(format!("numbers of {bytes} bytes"));
    }
    match conversions(format) {
        Some(asked) if asked <= given => Ok(()),
        Some(asked) => invalid(format!("{asked} conversions of {given} numbers")),
        None => invalid(format!("\"{}\"", format.escape_ascii())),
    }
}

/// How many numbers a format asks for, or `None` if it is not one.
fn conversions(mut format: &[u8]) -> Option<u64> {
    let mut count = 0;
    while let Some((&first, rest)) = format.split_first() {
        format = match (first, rest.first()) {
            (b'%', Some(b'%')) => &rest[1..],
            (b'%', _) => {
                count += 1;
                conversion(rest)?
            }
            // Text may be in any encoding that has ASCII.
            (byte, _) if byte.is_ascii_control() && !is_space(byte) => return None,
            _ => rest,
        };
    }
    Some(count)
}

/// What is behind a conversion, of which the percent sign was taken already.
fn conversion(format: &[u8]) -> Option<&[u8]> {
    let flags = format.iter().position(|byte| !b"0-+ ".contains(byte))?;
    let width = format[flags..].iter().position(|byte| !byte.is_ascii_digit())?;
    let format = &format[flags + width..];
    let longs = format.iter().take(2).take_while(|byte| **byte == b'l').count();
    let (&letter, rest) = format[longs..].split_first()?;
    match letter {
        b'd' | b'i' | b'u' | b'x' | b'X' => Some(rest),
        _ if longs > 0 => None,
        b's' | b'c' => Some(rest),
        b'p' => pointer(rest),
        _ => None,
    }
}

/// What is behind the conversion of a pointer.
fn pointer(format: &[u8]) -> Option<&[u8]> {
    match *format {
        [b'k' | b'u', b's', ..] | [b'i' | b'I', b'4' | b'6', ..] => Some(&format[2..]),
        [b'K' | b'x' | b's' | b'S' | b'B', ..] => Some(&format[1..]),
        [] => Some(format),
        [byte, ..] if is_space(byte) || is_punctuation(byte) => Some(format),
        _ => None,
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte) || byte == 0xa0
}

/// As in Latin-1.
fn is_punctuation(byte: u8) -> bool {
    byte.is_ascii_punctuation() || matches!(byte, 0xa1..=0xbf | 0xd7 | 0xf7)
}

#[cfg(test)]
mod tests {
    use super::conversions;

    /// As found by asking Linux.
    #[test]
    fn formats() {
        let counts = [
            ("", 0),
            ("hello\n", 0),
            ("%%5c", 0),
            ("\u{e9}", 0),
            ("%d", 1),
            ("%5lld", 1),
            ("%+-0 5d", 1),
            ("% d", 1),
            ("%us", 1),
            ("%-5us", 1),
            ("%08x", 1),
            ("%10p", 1),
            ("%5c", 1),
            ("%pks", 1),
            ("%pI6c", 1),
            ("%px4", 1),
            ("%p", 1),
            ("%p%%", 1),
            ("%p%d", 2),
            ("%pks%d", 2),
            ("%s %lu", 2),
            ("%d %s %x", 3),
        ];
        for (text, count) in counts {
            assert_eq!(conversions(text.as_bytes()), Some(count), "{text}");
        }
        let wrong = [
            "%", "%o", "%f", "%hd", "%zd", "%lc", "%ls", "%lp", "%l", "%lll", "%llld", "%ks", "%pi", "%pi5", "%pk",
            "%pU", "%p4", "%#x", "%.5d", "%*d", "%d%", "%5%", "%05-d", "%5 d", "%0", "\x01", "%d\x01", "%pi4%",
        ];
        for text in wrong {
            assert_eq!(conversions(text.as_bytes()), None, "{text}");
        }
    }
}
