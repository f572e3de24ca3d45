//! Types made by a program rather than read from a file.

use crate::btf::Btf;
use crate::error::BtfError;
use crate::name::Name;
use crate::types::*;

/// Collects types. What is the same as a type that is there already gets that type's id, so that whoever describes a type
/// need not know what others have described.
///
/// # Examples
/// ```
/// use hitless_btf::{Builder, dump};
///
/// let mut types = Builder::new();
/// let u64 = types.unsigned(8);
/// let id = types.structure("counters", 16, &[("packets", u64, 0), ("bytes", u64, 8)]);
/// let btf = types.finish()?;
/// assert_eq!(btf.size_of(id), Some(16));
/// assert!(dump::c_of(&btf, &[id])?.contains("struct counters {\n\tu64 packets;\n\tu64 bytes;\n};\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    types: Vec<Type>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// No types but `void`.
    #[must_use]
    pub fn new() -> Builder {
        Builder {
            types: vec![Type::Void],
        }
    }

    /// The types of `btf`, with their ids, and those of its base.
    #[must_use]
    pub fn with(btf: &Btf) -> Builder {
        Builder {
            types: btf.types().map(|(_, ty)| ty.clone()).collect(),
        }
    }

    /// A type, which may refer to those that are there.
    pub fn add(&mut self, ty: Type) -> TypeId {
        let index = self.types.iter().position(|known| *known == ty).unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        });
        TypeId(index as u32)
    }

    /// The type with this id.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id.0 as usize)
    }

    /// An integer of C.
    pub fn int(&mut self, name: &str, size: u32, encoding: IntEncoding) -> TypeId {
        self.add(Type::Int(Int {
            name: name.into(),
            size,
            encoding,
            bit_offset: 0,
            bits: (size * 8) as u8,
        }))
    }

    /// The kernel's unsigned integer of `size` bytes (1, 2, 4 or 8): `u8` to `u64`.
    pub fn unsigned(&mut self, size: u32) -> TypeId {
        self.fixed(size, 'u', C_UNSIGNED, IntEncoding::Unsigned)
    }

    /// The kernel's signed integer of `size` bytes (1, 2, 4 or 8): `s8` to `s64`.
    pub fn signed(&mut self, size: u32) -> TypeId {
        self.fixed(size, 's', C_SIGNED, IntEncoding::Signed)
    }

    /// `u32` is a name for `__u32`, which is one for `unsigned int`.
    fn fixed(&mut self, size: u32, letter: char, names: [&str; 4], encoding: IntEncoding) -> TypeId {
        let name = names[(size.trailing_zeros() as usize).min(3)];
        let int = self.int(name, size, encoding);
        let long = self.typedef(&format!("__{letter}{}", size * 8), int);
        self.typedef(&format!("{letter}{}", size * 8), long)
    }

    /// `_Bool`.
    pub fn boolean(&mut self) -> TypeId {
        self.int("_Bool", 1, IntEncoding::Bool)
    }

    /// Another name for a type.
    pub fn typedef(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(Type::Typedef(Typedef { name: name.into(), ty }))
    }

    /// A pointer to a type.
    pub fn pointer(&mut self, to: TypeId) -> TypeId {
        self.add(Type::Ptr(to))
    }

    /// The same type, not to be written.
    pub fn constant(&mut self, ty: TypeId) -> TypeId {
        self.add(Type::Const(ty))
    }

    /// An array.
    pub fn array(&mut self, elem: TypeId, len: u32) -> TypeId {
        let index = self.int("unsigned int", 4, IntEncoding::Unsigned);
        self.add(Type::Array(Array { elem, index, len }))
    }

    /// A struct of so many bytes: its members with their types and their offsets in bytes.
    pub fn structure<N: AsRef<str>>(&mut self, name: &str, size: u32, members: &[(N, TypeId, u32)]) -> TypeId {
        self.add(composite(name.into(), size, members))
    }

    /// A struct that is to be [defined](Self::define) later, so that others can point to it that it points to.
    pub fn declare(&mut self, name: &str) -> TypeId {
        self.add(Type::Fwd(Fwd {
            name: name.into(),
            union: false,
        }))
    }

    /// Puts a struct in the place of its declaration: its size and its members, as for [`structure`](Self::structure).
    ///
    /// # Panics
    /// If `id` is no declaration.
    pub fn define<N: AsRef<str>>(&mut self, id: TypeId, size: u32, members: &[(N, TypeId, u32)]) {
        let Some(Type::Fwd(declared)) = self.get(id) else {
            panic!("type {id} is no declaration");
        };
        let name = declared.name.clone();
        self.types[id.0 as usize] = composite(name, size, members);
    }

    /// An unsigned `enum` of four bytes.
    pub fn enumeration<N: AsRef<str>>(&mut self, name: &str, variants: impl IntoIterator<Item = (N, i64)>) -> TypeId {
        let variant = |(name, value): (N, i64)| Enumerator {
            name: Name::from(name.as_ref()),
            value,
        };
        let variants = variants.into_iter().map(variant).collect();
        self.add(Type::Enum(Enum {
            name: name.into(),
            size: 4,
            signed: false,
            variants,
        }))
    }

    /// What functions take and return.
    pub fn prototype<N: AsRef<str>>(&mut self, ret: TypeId, params: &[(N, TypeId)]) -> TypeId {
        let param = |(name, ty): &(N, TypeId)| Param {
            name: Name::from(name.as_ref()),
            ty: *ty,
        };
        let params = params.iter().map(param).collect();
        self.add(Type::FuncProto(FuncProto { ret, params }))
    }

    /// A function that returns `ret`, without linkage of its own.
    pub fn function<N: AsRef<str>>(&mut self, name: &str, ret: TypeId, params: &[(N, TypeId)]) -> TypeId {
        let proto = self.prototype(ret, params);
        self.add(Type::Func(Func {
            name: name.into(),
            proto,
            linkage: Linkage::Static,
        }))
    }

    /// The types, checked.
    ///
    /// # Errors
    /// As for [`Btf::new`].
    pub fn finish(self) -> Result<Btf, BtfError> {
        Btf::new(self.types)
    }
}

fn composite<N: AsRef<str>>(name: Name, size: u32, members: &[(N, TypeId, u32)]) -> Type {
    let member = |(name, ty, offset): &(N, TypeId, u32)| Member {
        name: Name::from(name.as_ref()),
        ty: *ty,
        bit_offset: offset * 8,
        bitfield_size: 0,
    };
    let members = members.iter().map(member).collect();
    Type::Struct(Composite { name, size, members })
}

const C_UNSIGNED: [&str; 4] = [
    "unsigned char",
    "short unsigned int",
    "unsigned int",
    "long long unsigned int",
];
const C_SIGNED: [&str; 4] = ["signed char", "short int", "int", "long long int"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_made_again() {
        let mut types = Builder::new();
        let first = types.unsigned(4);
        let (second, signed) = (types.unsigned(4), types.signed(4));
        assert_eq!(first, second);
        assert_ne!(first, signed);
        let (a, b) = (types.array(first, 3), types.array(second, 3));
        assert_eq!(a, b);
        let made = types.structure("pair", 8, &[("a", first, 0), ("b", signed, 4)]);
        let btf = types.finish().unwrap();
        let mut again = Builder::with(&btf);
        let u32 = again.unsigned(4);
        let s32 = again.signed(4);
        assert_eq!(again.structure("pair", 8, &[("a", u32, 0), ("b", s32, 4)]), made);
        assert_eq!(again.finish().unwrap(), btf);
    }

    #[test]
    fn sizes_have_the_names_of_the_kernel() {
        let mut types = Builder::new();
        for size in [1, 2, 4, 8] {
            let (unsigned, signed) = (types.unsigned(size), types.signed(size));
            let btf = types.clone().finish().unwrap();
            assert_eq!(btf.type_name(unsigned), format!("u{}", size * 8));
            assert_eq!(btf.type_name(signed), format!("s{}", size * 8));
            assert_eq!(btf.size_of(unsigned), Some(size));
            assert_eq!(btf.size_of(signed), Some(size));
        }
    }

    #[test]
    fn structs_that_point_to_each_other() {
        let mut types = Builder::new();
        let declared = types.declare("node");
        let next = types.pointer(declared);
        types.define(declared, 8, &[("next", next, 0)]);
        let btf = types.finish().unwrap();
        assert_eq!(btf.size_of(declared), Some(8));
        assert_eq!(btf.type_name(btf.members(declared)[0].ty), "struct node *");
    }

    #[test]
    fn what_cannot_be_is_refused_in_the_end() {
        let mut types = Builder::new();
        let u64 = types.unsigned(8);
        types.structure("short", 4, &[("long", u64, 0)]);
        assert!(types.finish().is_err());
    }
}
