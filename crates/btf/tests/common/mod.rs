//! The BPF objects of this project as test data, and types made by hand.
#![allow(dead_code, reason = "each test uses a part of it")]

use hitless_btf::*;

/// The bytes of a section of one of the project's BPF objects.
pub(crate) fn section(object: &str, name: &str) -> Vec<u8> {
    let path = format!("{}/../../bpf/{object}.bpf.o", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let word = |at: usize, len: usize| (0..len).rev().fold(0usize, |n, i| n << 8 | usize::from(file[at + i]));
    let (table, count, names) = (word(40, 8), word(60, 2), word(62, 2));
    let header = |index: usize| table + index * 64;
    let names = word(header(names) + 24, 8);
    for index in 0..count {
        let at = names + word(header(index), 4);
        if file[at..].starts_with(name.as_bytes()) && file[at + name.len()] == 0 {
            let (start, len) = (word(header(index) + 24, 8), word(header(index) + 32, 8));
            return file[start..start + len].to_vec();
        }
    }
    panic!("{path} has no section {name}");
}

/// Types under construction.
#[derive(Default)]
pub(crate) struct Types(pub(crate) Vec<Type>);

impl Types {
    pub(crate) fn new() -> Types {
        Types(vec![Type::Void])
    }

    pub(crate) fn add(&mut self, ty: Type) -> TypeId {
        self.0.push(ty);
        TypeId(self.0.len() as u32 - 1)
    }

    pub(crate) fn int(&mut self, name: &str, size: u32, encoding: IntEncoding) -> TypeId {
        let bits = (size * 8) as u8;
        self.add(Type::Int(Int {
            name: name.into(),
            size,
            encoding,
            bit_offset: 0,
            bits,
        }))
    }

    pub(crate) fn uint(&mut self, size: u32) -> TypeId {
        self.int(&format!("u{}", size * 8), size, IntEncoding::Unsigned)
    }

    pub(crate) fn array(&mut self, elem: TypeId, len: u32) -> TypeId {
        self.add(Type::Array(Array { elem, index: elem, len }))
    }

    /// Members as (name, type, first bit, bitfield width).
    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32, u8)]) -> TypeId {
        self.add(Type::Struct(composite(name, size, members)))
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32, u8)]) -> TypeId {
        self.add(Type::Union(composite(name, size, members)))
    }

    pub(crate) fn enumeration(&mut self, size: u32, signed: bool, variants: &[(&str, i64)]) -> TypeId {
        let variants = variants
            .iter()
            .map(|&(name, value)| Enumerator {
                name: name.into(),
                value,
            })
            .collect();
        self.add(Type::Enum(Enum {
            name: "e".into(),
            size,
            signed,
            variants,
        }))
    }

    pub(crate) fn tag(&mut self, tag: &str, ty: TypeId, component: Option<u32>) -> TypeId {
        self.add(Type::DeclTag(DeclTag {
            tag: tag.into(),
            ty,
            component,
        }))
    }

    pub(crate) fn btf(self) -> Btf {
        Btf::new(self.0).unwrap()
    }
}

fn composite(name: &str, size: u32, members: &[(&str, TypeId, u32, u8)]) -> Composite {
    let members = members
        .iter()
        .map(|&(name, ty, bit_offset, bitfield_size)| Member {
            name: name.into(),
            ty,
            bit_offset,
            bitfield_size,
        })
        .collect();
    Composite {
        name: name.into(),
        size,
        members,
    }
}
