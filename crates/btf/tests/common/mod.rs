//! The BPF objects of this project as test data, and types made by hand.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use hitless_btf::*;

/// The kernel's own types.
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const OBJECTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bpf");

/// The bytes of a section of one of the project's BPF objects.
pub(crate) fn section(object: &str, name: &str) -> Vec<u8> {
    let path = format!("{OBJECTS}/{object}.bpf.o");
    section_of(Path::new(&path), name).unwrap_or_else(|| panic!("{path} has no section {name}"))
}

/// All of the project's BPF objects that have BTF.
pub(crate) fn objects() -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![PathBuf::from(OBJECTS)]);
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "o") && section_of(&path, ".BTF").is_some() {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// The kernel's BTF; says so if there is none.
pub(crate) fn vmlinux() -> Option<Vec<u8>> {
    let bytes = std::fs::read(VMLINUX).ok();
    if bytes.is_none() {
        eprintln!("skipped in part: this kernel has no {VMLINUX}");
    }
    bytes
}

/// Whether a tool runs here; says so if it does not.
pub(crate) fn have(tool: &str) -> bool {
    let runs = Command::new(tool).arg("--version").output().is_ok();
    if !runs {
        eprintln!("skipped in part: no {tool} here");
    }
    runs
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    text.into_owned()
}

/// A file for one test; its name must be used once.
pub(crate) fn file(name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The bytes of a section of an ELF file, if it is one of little-endian 64-bit words and has the section.
pub(crate) fn section_of(path: &Path, name: &str) -> Option<Vec<u8>> {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let word = |at: usize, len: usize| (0..len).rev().fold(0usize, |n, i| n << 8 | usize::from(file[at + i]));
    let (table, count, names) = (word(40, 8), word(60, 2), word(62, 2));
    let header = |index: usize| table + index * 64;
    let names = word(header(names) + 24, 8);
    for index in 0..count {
        let at = names + word(header(index), 4);
        if file[at..].starts_with(name.as_bytes()) && file[at + name.len()] == 0 {
            let (start, len) = (word(header(index) + 24, 8), word(header(index) + 32, 8));
            return Some(file[start..start + len].to_vec());
        }
    }
    None
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
            attribute: false,
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
