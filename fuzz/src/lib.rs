//! What is done with untrusted bytes: object files, BTF, instructions, files of maps.
//!
//! A [`Target`] takes any bytes and does with them what a loader would, and more: whatever it accepts it writes again,
//! prints, compares. It panics if an answer contradicts another. [`seeds`] are inputs to start from, [`mutate`] makes new
//! ones of them; it knows ELF, so that changes reach the sections that matter instead of breaking the file.
//!
//! The same targets run for a fixed number of inputs in the tests, which also bound the memory, and for as long as wanted,
//! guided by coverage, in `fuzz` (feature `libfuzzer`).
#![forbid(unsafe_code)]

mod maps;
mod mutate;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use hitless_btf::{Btf, Composite, Member, Type, TypeId, Typedef};

pub use mutate::mutate;
pub use targets::TARGETS;

/// One way in which bytes are used.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What is done with the bytes; returns whether they were what they should be. Panics if something goes wrong.
    pub run: fn(&[u8]) -> bool,
    /// Which inputs it starts from.
    pub seeds: SeedKind,
}

/// What a target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedKind {
    /// Whole object files.
    Object,
    /// The contents of one section of object files.
    Section(&'static str),
    /// The contents of executable sections.
    Code,
    /// BTF that goes on where that of [`split_base`] ends.
    Split,
    /// Files of maps.
    MapFile,
}

/// The target with this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Inputs of one kind, made of every object of `bpf/`; each with the file's name.
///
/// # Panics
/// If the committed objects cannot be read.
#[must_use]
pub fn seeds(kind: SeedKind) -> Vec<(String, Vec<u8>)> {
    if kind == SeedKind::Split {
        return vec![("split".into(), split_types().to_bytes())];
    }
    if kind == SeedKind::MapFile {
        return maps::files();
    }
    let mut out = Vec::new();
    for path in objects() {
        let bytes = fs::read(&path).expect("a committed object");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        match kind {
            SeedKind::Object => out.push((name, bytes)),
            SeedKind::Section(wanted) => out.extend(
                mutate::sections(&bytes)
                    .into_iter()
                    .filter(|section| section.name == wanted)
                    .map(|section| (name.clone(), bytes[section.range].to_vec())),
            ),
            SeedKind::Code => out.extend(
                mutate::sections(&bytes)
                    .into_iter()
                    .filter(|section| section.executable)
                    .map(|section| (format!("{name}-{}", section.name), bytes[section.range].to_vec())),
            ),
            SeedKind::Split | SeedKind::MapFile => unreachable!("handled above"),
        }
    }
    out
}

/// The types that split BTF is read on top of: those of one of the objects.
///
/// # Panics
/// If the object cannot be read.
pub fn split_base() -> &'static Arc<Btf> {
    static BASE: LazyLock<Arc<Btf>> = LazyLock::new(|| {
        let (_, bytes) = seeds(SeedKind::Section(".BTF")).swap_remove(0);
        Arc::new(Btf::parse(&bytes).expect("a committed object's types"))
    });
    &BASE
}

/// Types that refer to each of the base's, by value where that may be.
fn split_types() -> Btf {
    let base = split_base();
    let first = base.len() as u32;
    let is_type = |ty: &Type| !matches!(ty, Type::Var(_) | Type::Datasec(_) | Type::DeclTag(_) | Type::Func(_));
    let ids: Vec<TypeId> = base.types().filter(|(_, ty)| is_type(ty)).map(|(id, _)| id).collect();
    let mut types: Vec<Type> = ids.iter().map(|&id| Type::Ptr(id)).collect();
    for (id, size) in ids.into_iter().filter_map(|id| Some((id, base.size_of(id)?))) {
        types.push(Type::Typedef(Typedef {
            name: format!("t{}", id.0).as_str().into(),
            ty: id,
        }));
        let member = Member {
            name: "of_the_base".into(),
            ty: TypeId(first + types.len() as u32 - 1),
            bit_offset: 0,
            bitfield_size: 0,
        };
        types.push(Type::Struct(Composite {
            name: format!("s{}", id.0).as_str().into(),
            size,
            members: vec![member],
        }));
    }
    Btf::new_split(types, Arc::clone(base)).expect("types that refer to types")
}

fn objects() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bpf");
    let mut found: Vec<PathBuf> = [top.clone(), top.join("corpus")]
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "o"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no objects in {}", top.display());
    found
}
