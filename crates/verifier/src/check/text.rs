//! Constant strings, and those of them that say how to print numbers.

use hitless_isa::Reg;

use super::Context;
use super::call::{arg_reg, wrong_type};
use super::memory::value_region;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::format::{Piece, pieces};
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
fn conversions(format: &[u8]) -> Option<u64> {
    pieces(format).try_fold(0, |count, piece| match piece.ok()? {
        Piece::Conversion(_) => Some(count + 1),
        Piece::Text(_) | Piece::Ignored => Some(count),
    })
}
