//! The answer to a relocation, given the place that it is about.

use crate::btf::Btf;
use crate::types::{Enum, Int, IntEncoding, Member, Type, TypeId};

use super::access::Access;
use super::{CoreError, Relo};

/// What a place comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) value: u64,
    /// Whether instructions are certain to hold that value.
    pub(super) certain: bool,
    /// For byte offsets of what can be loaded or stored: its type and size in bytes. The size of a bitfield is 0, as any
    /// load that covers it will do.
    pub(super) access: Option<(TypeId, u32)>,
}

impl Value {
    fn certain(value: impl Into<u64>) -> Value {
        Value {
            value: value.into(),
            certain: true,
            access: None,
        }
    }

    fn uncertain(value: impl Into<u64>) -> Value {
        Value {
            certain: false,
            ..Value::certain(value)
        }
    }
}

/// The answer where the target has nothing like it; `None` if the instruction must not run then.
pub(super) fn missing(kind: Relo) -> Option<u64> {
    match kind {
        Relo::FieldExists
        | Relo::TypeExists
        | Relo::TypeMatches
        | Relo::TypeSize
        | Relo::TypeIdTarget
        | Relo::EnumvalExists => Some(0),
        Relo::TypeIdLocal
        | Relo::FieldByteOffset
        | Relo::FieldByteSize
        | Relo::FieldSigned
        | Relo::FieldLshiftU64
        | Relo::FieldRshiftU64
        | Relo::EnumvalValue => None,
    }
}

/// The answer for a place in `btf`.
pub(super) fn value(btf: &Btf, access: &Access, kind: Relo) -> Result<Value, CoreError> {
    Ok(match kind {
        Relo::FieldExists | Relo::TypeExists | Relo::TypeMatches | Relo::EnumvalExists => Value::certain(1u64),
        // Linking objects changes ids, and the instruction may hold the one from before.
        Relo::TypeIdLocal | Relo::TypeIdTarget => Value::uncertain(access.root.0),
        Relo::TypeSize => Value::certain(size(btf, access.root)?),
        Relo::EnumvalValue => enumerator(btf, access),
        Relo::FieldByteOffset
        | Relo::FieldByteSize
        | Relo::FieldSigned
        | Relo::FieldLshiftU64
        | Relo::FieldRshiftU64 => field(btf, access, kind)?,
    })
}

fn size(btf: &Btf, id: TypeId) -> Result<u32, CoreError> {
    btf.size_of(id)
        .ok_or_else(|| CoreError::Unsized { ty: btf.type_name(id) })
}

/// Value of the enumerator that `access` leads to. Compilers extend one of 32 bits with its highest bit set by its sign or
/// not, depending on whether they can tell in BTF; so instructions may hold the one or the other.
fn enumerator(btf: &Btf, access: &Access) -> Value {
    let step = access.last();
    let value_of = |t: &Enum| {
        step.and_then(|step| t.variants.get(step.index as usize))
            .map_or(0, |variant| variant.value)
    };
    match step.and_then(|step| btf.get(step.ty)) {
        Some(Type::Enum(t)) if i32::try_from(value_of(t)).is_err() => Value::uncertain(value_of(t).cast_unsigned()),
        Some(Type::Enum(t) | Type::Enum64(t)) => Value::certain(value_of(t).cast_unsigned()),
        _ => Value::certain(0u64),
    }
}

/// Where the bits of a field are loaded from.
struct Place {
    byte_offset: u32,
    byte_size: u32,
    bits: u32,
}

fn field(btf: &Btf, access: &Access, kind: Relo) -> Result<Value, CoreError> {
    let Some(step) = access.last() else {
        return Ok(Value::certain(0u64));
    };
    let bit_offset = u32::try_from(access.bit_offset).map_err(|_| CoreError::Offset {
        what: access.describe(btf),
    })?;
    let member = step
        .name
        .as_ref()
        .and_then(|_| btf.members(step.ty).get(step.index as usize));
    let Some(member) = member else {
        let size = size(btf, step.ty)?;
        return match kind {
            Relo::FieldByteOffset => Ok(Value {
                access: Some((step.ty, size)),
                ..Value::certain(bit_offset / 8)
            }),
            Relo::FieldByteSize => Ok(Value::certain(size)),
            _ => Err(CoreError::Element {
                what: access.describe(btf),
            }),
        };
    };
    let bitfield = member.bitfield_size > 0;
    let place = if bitfield {
        bitfield_place(btf, member, bit_offset).ok_or_else(|| CoreError::WideBitfield {
            what: access.describe(btf),
        })?
    } else {
        let byte_size = size(btf, member.ty)?;
        Place {
            byte_offset: bit_offset / 8,
            byte_size,
            bits: byte_size.wrapping_mul(8),
        }
    };
    let value = |value: u32| Value {
        certain: !bitfield,
        ..Value::certain(value)
    };
    Ok(match kind {
        Relo::FieldByteOffset => Value {
            access: Some(if bitfield {
                (member.ty, 0)
            } else {
                innermost(btf, member.ty)?
            }),
            ..value(place.byte_offset)
        },
        Relo::FieldByteSize => value(place.byte_size),
        Relo::FieldSigned => Value::certain(u64::from(is_signed(btf, member.ty))),
        Relo::FieldLshiftU64 => {
            let end = (bit_offset % 8)
                .wrapping_add(bit_offset / 8 * 8)
                .wrapping_add(place.bits)
                .wrapping_sub(place.byte_offset * 8);
            value(64u32.wrapping_sub(end))
        }
        Relo::FieldRshiftU64 => Value::certain(64u32.wrapping_sub(place.bits)),
        _ => value(0),
    })
}

/// The smallest aligned word, of its type's size or larger, that holds a bitfield; `None` if that takes more than 8 bytes.
fn bitfield_place(btf: &Btf, member: &Member, bit_offset: u32) -> Option<Place> {
    let bits = u32::from(member.bitfield_size);
    let mut byte_size = btf.size_of(member.ty).filter(|&size| size > 0)?;
    loop {
        let byte_offset = bit_offset / 8 / byte_size * byte_size;
        let end = u64::from(bit_offset) + u64::from(bits) - u64::from(byte_offset) * 8;
        if end <= u64::from(byte_size) * 8 {
            return Some(Place {
                byte_offset,
                byte_size,
                bits,
            });
        }
        if byte_size >= 8 {
            return None;
        }
        byte_size *= 2;
    }
}

/// Type and size of what one instruction may load or store of a field: of an array, one element.
fn innermost(btf: &Btf, mut id: TypeId) -> Result<(TypeId, u32), CoreError> {
    while let Some((_, Type::Array(array))) = btf.resolve(id) {
        id = array.elem;
    }
    Ok((id, size(btf, id)?))
}

fn is_signed(btf: &Btf, id: TypeId) -> bool {
    match btf.resolve(id) {
        Some((_, Type::Int(int))) => int.encoding == IntEncoding::Signed,
        Some((_, Type::Enum(t) | Type::Enum64(t))) => t.signed,
        _ => false,
    }
}

/// Whether an instruction that accesses a value of type `local` may be rewritten to access one of type `target` of another
/// size: pointers, whose size the program's side does not know, and unsigned integers, whose upper bits are zero.
pub(super) fn resizable(local: Option<&Type>, target: Option<&Type>) -> bool {
    let unsigned = |int: &Int| int.encoding != IntEncoding::Signed;
    match (local, target) {
        (Some(Type::Ptr(_)), Some(Type::Ptr(_))) => true,
        (Some(Type::Int(local)), Some(Type::Int(target))) => unsigned(local) && unsigned(target),
        _ => false,
    }
}
