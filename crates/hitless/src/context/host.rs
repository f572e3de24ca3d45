//! Contexts that a host defines: a Rust struct as programs see it.
//!
//! The struct is described as BTF ([`BtfType`]), for programs to be relocated against and for a C header; of the same
//! description come the facts that the verifier works by. Padding belongs to no member, so programs cannot read it: it may
//! be memory that was never written.

use std::marker::PhantomData;

use hitless_btf::{Btf, Builder, Type, TypeId};
use hitless_verifier::{ContextFacts, ContextField, ContextFieldKind, Widths};

use crate::BtfType;
use crate::header::{is_writable, tag_writable};

/// Adds the type of a context to others.
pub(crate) type Describe = fn(&mut Builder) -> Option<TypeId>;

/// Bytes outside of a context that programs may read. To programs it is a struct of two pointers, which they compare as they do
/// those of a packet:
///
/// ```c
/// struct hitless_bytes { void *data; void *data_end; };
/// ```
///
/// A context has at most one, or one [`BytesMut`].
#[derive(Debug)]
#[repr(C)]
pub struct Bytes<'a> {
    data: *const u8,
    data_end: *const u8,
    bytes: PhantomData<&'a [u8]>,
}

// SAFETY: it stands for a shared borrow of bytes.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Bytes<'_> {}

impl<'a> Bytes<'a> {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Bytes<'a> {
        let range = bytes.as_ptr_range();
        Bytes {
            data: range.start,
            data_end: range.end,
            bytes: PhantomData,
        }
    }
}

/// Bytes outside of a context that programs may read and, if the member is [writable](super::Context::WRITABLE), write. To
/// programs the same as [`Bytes`].
#[derive(Debug)]
#[repr(C)]
pub struct BytesMut<'a> {
    data: *mut u8,
    data_end: *mut u8,
    bytes: PhantomData<&'a mut [u8]>,
}

// SAFETY: it stands for the exclusive borrow of bytes.
unsafe impl Send for BytesMut<'_> {}
// SAFETY: as above; a shared reference to it gives no access.
unsafe impl Sync for BytesMut<'_> {}

impl<'a> BytesMut<'a> {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: &'a mut [u8]) -> BytesMut<'a> {
        let range = bytes.as_mut_ptr_range();
        BytesMut {
            data: range.start,
            data_end: range.end,
            bytes: PhantomData,
        }
    }
}

/// What a member of a context may be that programs write.
#[diagnostic::on_unimplemented(
    message = "programs may not write a `{Self}`: not all bytes are one",
    note = "writable are integers, arrays of them, structs with `#[derive(Clone, Copy, hitless::Value)]`, and `BytesMut`"
)]
pub trait Writable {}

impl<T: bytemuck::Pod> Writable for T {}
impl Writable for BytesMut<'_> {}

const BYTES: &str = "hitless_bytes";

// SAFETY: two pointers side by side.
unsafe impl BtfType for Bytes<'_> {
    fn describe(types: &mut Builder) -> TypeId {
        let pointer = types.pointer(TypeId::VOID);
        types.structure(BYTES, 16, &[("data", pointer, 0), ("data_end", pointer, 8)])
    }
}

// SAFETY: as above.
unsafe impl BtfType for BytesMut<'_> {
    fn describe(types: &mut Builder) -> TypeId {
        Bytes::describe(types)
    }
}

/// A description of a context with what is writable, for [`facts_of`].
///
/// # Panics
/// If it cannot be a context: see [`facts_of`]; or if it has no such members.
pub(crate) fn facts(describe: Describe, writable: &[&str]) -> ContextFacts {
    let mut types = Builder::new();
    let id = describe(&mut types).expect("a context of the host's own has a type");
    tag_writable(&mut types, id, writable);
    let btf = types.finish().expect("contexts describe types that can be");
    let facts = facts_of(&btf, id).unwrap_or_else(|reason| panic!("{reason}"));
    for name in writable {
        assert!(
            btf.members(id).iter().any(|member| member.name.as_str() == *name),
            "struct {} has no member {name} that could be writable",
            facts.name
        );
    }
    facts
}

/// What the verifier is told of a context, by its type.
///
/// # Errors
/// Why it cannot be one: it is not a struct, has more than one [`Bytes`], a pointer, or a `bool` that is writable.
pub(crate) fn facts_of(btf: &Btf, id: TypeId) -> Result<ContextFacts, String> {
    let Some((id, Type::Struct(ty))) = btf.resolve(id) else {
        return Err(format!("a context is a struct, found {}", btf.type_name(id)));
    };
    let mut facts = ContextFacts {
        name: ty.name.to_string(),
        size: ty.size,
        fields: Vec::new(),
        return_range: None,
        packet_writable: false,
        legacy_packet_access: false,
        sleepable: false,
        returns_nothing: false,
        writable: Vec::new(),
    };
    let mut budget = MAX_FIELDS;
    for (index, member) in (0..).zip(&ty.members) {
        let mut fields = Fields {
            btf,
            facts: &mut facts,
            budget: &mut budget,
            writable: is_writable(btf, id, index),
        };
        fields.add(&member.name, member.bit_offset / 8, member.ty)?;
    }
    Ok(facts)
}

/// The most members and elements, at any depth, that a context is taken apart into.
const MAX_FIELDS: usize = 1 << 12;

/// The fields of a context under construction.
struct Fields<'a> {
    btf: &'a Btf,
    facts: &'a mut ContextFacts,
    /// How many more may be taken apart.
    budget: &'a mut usize,
    writable: bool,
}

impl Fields<'_> {
    fn add(&mut self, name: &str, off: u32, ty: TypeId) -> Result<(), String> {
        let size = self.btf.size_of(ty).unwrap_or(0);
        let Some((_, resolved)) = self.btf.resolve(ty) else {
            return Err(format!("{name} has no type"));
        };
        *self.budget = self
            .budget
            .checked_sub(1)
            .ok_or_else(|| format!("a context of more than {MAX_FIELDS} fields"))?;
        match resolved {
            Type::Int(int) if int.encoding == hitless_btf::IntEncoding::Bool => {
                if self.writable {
                    return Err(format!("{name}: programs cannot write a bool"));
                }
                self.push(name.to_owned(), off, 1, ContextFieldKind::Scalar, Widths::of(1));
            }
            Type::Int(_) | Type::Enum(_) | Type::Enum64(_) => {
                self.push(
                    name.to_owned(),
                    off,
                    size,
                    ContextFieldKind::Scalar,
                    Widths::up_to(size),
                );
            }
            // Numbers side by side may be accessed in any way that is aligned.
            Type::Array(_) if self.is_dense(ty) => {
                self.push(name.to_owned(), off, size, ContextFieldKind::Scalar, Widths::of(15));
            }
            Type::Array(array) => {
                let stride = self.btf.size_of(array.elem).unwrap_or(0);
                for index in 0..array.len {
                    self.add(&format!("{name}[{index}]"), off + index * stride, array.elem)?;
                }
            }
            Type::Struct(ty) if ty.name == *BYTES => self.bytes(name, off)?,
            Type::Struct(ty) => {
                for member in &ty.members {
                    self.add(
                        &format!("{name}.{}", member.name),
                        off + member.bit_offset / 8,
                        member.ty,
                    )?;
                }
            }
            _ => {
                return Err(format!("{name}: programs cannot be given a {}", self.btf.type_name(ty)));
            }
        }
        Ok(())
    }

    fn bytes(&mut self, name: &str, off: u32) -> Result<(), String> {
        let mut fields = self.facts.fields.iter();
        if fields.any(|field| field.kind == ContextFieldKind::Packet) {
            return Err(format!("{name}: a context has at most one member of Bytes"));
        }
        self.facts.packet_writable = self.writable;
        self.writable = false;
        let whole = Widths::of(8);
        self.push(format!("{name}.data"), off, 8, ContextFieldKind::Packet, whole);
        self.push(
            format!("{name}.data_end"),
            off + 8,
            8,
            ContextFieldKind::PacketEnd,
            whole,
        );
        Ok(())
    }

    fn push(&mut self, name: String, off: u32, size: u32, kind: ContextFieldKind, loads: Widths) {
        self.facts.fields.push(ContextField {
            name,
            off,
            size,
            kind,
            loads,
            stores: if self.writable { loads } else { Widths::NONE },
            host_off: off,
        });
    }

    /// Whether it consists of integers that any bytes are values of.
    fn is_dense(&self, ty: TypeId) -> bool {
        match self.btf.resolve(ty) {
            Some((_, Type::Int(int))) => int.encoding != hitless_btf::IntEncoding::Bool,
            Some((_, Type::Array(array))) => self.is_dense(array.elem),
            _ => false,
        }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    fn describe(types: &mut Builder) -> Option<TypeId> {
        let (byte, word, flag) = (types.unsigned(1), types.unsigned(4), types.boolean());
        let inner = types.structure("inner", 8, &[("byte", byte, 0), ("word", word, 4)]);
        let inners = types.array(inner, 2);
        let path = types.array(byte, 5);
        let body = Bytes::describe(types);
        let members = [
            ("inners", inners, 0),
            ("path", path, 16),
            ("flag", flag, 21),
            ("body", body, 24),
        ];
        Some(types.structure("outer", 40, &members))
    }

    #[test]
    fn members_are_fields_and_padding_is_none() {
        let facts = facts(describe, &["path", "body"]);
        let found: Vec<_> = facts
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.off, field.size, field.stores != Widths::NONE))
            .collect();
        let expected = [
            ("inners[0].byte", 0, 1, false),
            ("inners[0].word", 4, 4, false),
            ("inners[1].byte", 8, 1, false),
            ("inners[1].word", 12, 4, false),
            ("path", 16, 5, true),
            ("flag", 21, 1, false),
            ("body.data", 24, 8, false),
            ("body.data_end", 32, 8, false),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            (facts.name.as_str(), facts.size, facts.packet_writable),
            ("outer", 40, true)
        );
    }

    #[test]
    #[should_panic(expected = "struct outer has no member body.data that could be writable")]
    fn writable_members_exist() {
        let _ = facts(describe, &["body.data"]);
    }

    /// Types come from files, too.
    #[test]
    fn a_large_context_is_refused_soon() {
        let mut types = Builder::new();
        let nothing = types.structure::<&str>("nothing", 1, &[]);
        let many = types.array(nothing, u32::MAX);
        let context = types.structure("many", u32::MAX, &[("nothing", many, 0)]);
        let btf = types.finish().unwrap();
        assert_eq!(
            facts_of(&btf, context).unwrap_err(),
            "a context of more than 4096 fields"
        );
    }

    #[test]
    #[should_panic(expected = "second: a context has at most one member of Bytes")]
    fn bytes_are_once() {
        let _ = facts(
            |types| {
                let body = Bytes::describe(types);
                Some(types.structure("twice", 32, &[("first", body, 0), ("second", body, 16)]))
            },
            &[],
        );
    }
}
