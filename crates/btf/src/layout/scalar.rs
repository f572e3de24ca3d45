//! Integers, enums, booleans, pointers and floats: whether one takes over from another.

use super::Fate;
use super::fields::Slot;
use super::transform::CopyOp;
use crate::btf::Btf;
use crate::types::*;
use crate::value::is_char;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Int,
    Bool,
    Enum,
    Pointer,
    /// A pointer that owns or borrows a kernel object.
    Kptr,
    Float,
}

/// A scalar at its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar<'a> {
    class: Class,
    signed: bool,
    char: bool,
    bit: u64,
    width: u32,
    ty: &'a Type,
}

impl<'a> Scalar<'a> {
    /// The scalar at `slot`, if there is one.
    pub(super) fn at(btf: &'a Btf, slot: Slot) -> Option<Scalar<'a>> {
        let (_, ty) = btf.resolve(slot.ty)?;
        let mut scalar = Scalar {
            class: Class::Int,
            signed: false,
            char: false,
            bit: slot.bit,
            width: 0,
            ty,
        };
        match ty {
            Type::Int(int) => {
                scalar.signed = matches!(int.encoding, IntEncoding::Signed | IntEncoding::Char);
                scalar.char = is_char(int);
                scalar.width = int.bits.into();
                if slot.bitfield == 0 {
                    scalar.bit += u64::from(int.bit_offset);
                }
                if int.encoding == IntEncoding::Bool {
                    scalar.class = Class::Bool;
                }
            }
            Type::Enum(t) | Type::Enum64(t) => {
                scalar.class = Class::Enum;
                scalar.signed = t.signed;
                scalar.width = t.size * 8;
            }
            Type::Ptr(to) => {
                scalar.class = if is_kptr(btf, *to) { Class::Kptr } else { Class::Pointer };
                scalar.width = 64;
            }
            Type::Float(t) => {
                scalar.class = Class::Float;
                scalar.width = t.size * 8;
            }
            _ => return None,
        }
        if slot.bitfield != 0 {
            scalar.width = slot.bitfield.into();
        }
        Some(scalar)
    }

    /// What becomes of `self` where `new` takes over, but for a change of place, and the step that does it.
    pub(super) fn compare(&self, new: &Scalar<'_>) -> (Fate, Option<CopyOp>) {
        match self.incompatible(new) {
            Some(reason) => (Fate::Incompatible { reason }, None),
            None => {
                let signed = self.signed;
                let fate = match (self.width, new.width) {
                    (from, to) if from < to => Fate::Widened { from, to, signed },
                    (from, to) if from > to => Fate::Narrowed { from, to },
                    _ => Fate::Same,
                };
                (fate, Some(self.step(new)))
            }
        }
    }

    fn incompatible(&self, new: &Scalar<'_>) -> Option<String> {
        match (self.class, new.class) {
            (Class::Kptr, _) | (_, Class::Kptr) => Some("pointers to kernel objects cannot be copied".into()),
            (Class::Pointer, Class::Pointer) | (Class::Bool, Class::Bool) => None,
            (Class::Float, Class::Float) if self.width == new.width => None,
            (Class::Float, Class::Float) => Some(format!("float of {} bits, was {}", new.width, self.width)),
            (Class::Bool, Class::Int) => None,
            (Class::Int | Class::Enum, Class::Int | Class::Enum) => {
                if let Some(reason) = renumbered(self.ty, new.ty) {
                    return Some(reason);
                }
                let same_bytes = self.width == new.width
                    && (self.char && new.width == 8
                        || new.char && self.width == 8
                        || self.class == Class::Enum && new.class == Class::Enum);
                let holds = self.signed == new.signed || (!self.signed && self.width < new.width);
                if same_bytes || holds {
                    return None;
                }
                let name = |signed| if signed { "signed" } else { "unsigned" };
                Some(format!(
                    "{} of {} bits, was {} of {}",
                    name(new.signed),
                    new.width,
                    name(self.signed),
                    self.width
                ))
            }
            _ => Some(format!("{}, was {}", new.describe(), self.describe())),
        }
    }

    fn describe(&self) -> String {
        let bits = self.width;
        match self.class {
            Class::Int => format!("integer of {bits} bits"),
            Class::Bool => "bool".into(),
            Class::Enum => format!("enum of {bits} bits"),
            Class::Pointer | Class::Kptr => "pointer".into(),
            Class::Float => format!("float of {bits} bits"),
        }
    }

    fn whole_bytes(&self) -> bool {
        self.bit.is_multiple_of(8) && self.width.is_multiple_of(8)
    }

    fn step(&self, new: &Scalar<'_>) -> CopyOp {
        let signed = self.signed;
        if !self.whole_bytes() || !new.whole_bytes() {
            let (from, to) = (self.bit, new.bit);
            return CopyOp::Bits {
                from,
                from_width: self.width as u8,
                to,
                to_width: new.width as u8,
                signed,
            };
        }
        let (from, to) = ((self.bit / 8) as u32, (new.bit / 8) as u32);
        let (from_size, to_size) = (self.width / 8, new.width / 8);
        if to_size > from_size {
            CopyOp::Extend {
                from,
                from_size,
                to,
                to_size,
                signed,
            }
        } else {
            // Little-endian: the low bytes come first.
            CopyOp::Copy { from, to, len: to_size }
        }
    }
}

fn is_kptr(btf: &Btf, id: TypeId) -> bool {
    let mut id = id;
    while let Some(ty) = btf.get(id) {
        if let Type::TypeTag(tag) = ty
            && matches!(tag.tag.as_str(), "kptr" | "kptr_untrusted" | "percpu_kptr" | "uptr")
        {
            return true;
        }
        match ty.alias_of() {
            Some(target) => id = target,
            None => break,
        }
    }
    false
}

/// An enumerator that keeps its name and changes its value.
fn renumbered(old: &Type, new: &Type) -> Option<String> {
    let (Type::Enum(old) | Type::Enum64(old), Type::Enum(new) | Type::Enum64(new)) = (old, new) else {
        return None;
    };
    if old.variants == new.variants {
        return None;
    }
    let values: std::collections::HashMap<&str, i64> =
        old.variants.iter().map(|v| (v.name.as_str(), v.value)).collect();
    new.variants.iter().find_map(|v| {
        let before = values.get(v.name.as_str()).filter(|&&before| before != v.value)?;
        Some(format!("enumerator {} is {}, was {before}", v.name, v.value))
    })
}
