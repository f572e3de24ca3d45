//! What an object file describes.

use std::fmt;

use hitless_btf::{Btf, Name, TypeId};
use hitless_isa::Insn;

use crate::elf::Elf;
use crate::error::ObjectError;
use crate::kind::SectionKind;
use crate::{btf, code, data, maps};

/// A parsed object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSpec {
    /// The text of the `license` section; empty if there is none.
    pub license: String,
    /// The maps: those declared in `.maps`, in the order of their offsets there, then one for each section of global data,
    /// in the order of the sections.
    pub maps: Vec<MapSpec>,
    /// The programs, by section and offset.
    pub programs: Vec<ProgramSpec>,
    /// Its type information, with the sizes and offsets of global data filled in.
    pub btf: Option<Btf>,
}

/// A map to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapSpec {
    /// Its name; for global data that of the section (".bss"), which may be longer than the kernel's 15 characters.
    pub name: String,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// How many elements it holds at the most.
    pub max_entries: u32,
    /// `BPF_F_*` flags for its creation.
    pub flags: u32,
    /// Whether it is pinned under its name.
    pub pinning: Pinning,
    /// NUMA node to allocate it on.
    pub numa_node: Option<u32>,
    /// Number whose meaning depends on the map type.
    pub map_extra: u64,
    /// Type of keys.
    pub key_type: Option<TypeId>,
    /// Type of values; for global data the data section.
    pub value_type: Option<TypeId>,
    /// For global data, the start of its only element; what follows, up to `value_size`, is zero. `None` for other maps.
    pub data: Option<Vec<u8>>,
    /// Whether user space may not change it once it is filled (`.rodata`).
    pub frozen: bool,
    /// Offset of a `struct bpf_spin_lock` in the value, in bytes.
    pub spin_lock: Option<u32>,
}

/// `enum libbpf_pin_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Not pinned (`LIBBPF_PIN_NONE`).
    #[default]
    None,
    /// Under its name in the BPF file system, and taken from there if it exists (`LIBBPF_PIN_BY_NAME`).
    ByName,
}

/// A program to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Name of its function.
    pub name: String,
    /// Name of its section.
    pub section: String,
    /// The program followed by every subprogram that it reaches, relocated.
    pub insns: Vec<Insn>,
    /// The functions in `insns`, by `start`: the program itself first.
    pub subprograms: Vec<Subprogram>,
    /// Source lines, by `pc`.
    pub lines: Vec<Line>,
}

/// A function in a program's instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprogram {
    /// Name of the function.
    pub name: String,
    /// Its first instruction slot.
    pub start: usize,
    /// Its BTF type ([`hitless_btf::Func`]).
    pub func: Option<TypeId>,
}

/// The source line that instructions from `pc` on come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// First instruction slot of the line.
    pub pc: usize,
    /// File name as the compiler recorded it.
    pub file: Name,
    /// Line number, from 1.
    pub line: u32,
    /// The text of the line as it stands in the file.
    pub text: Name,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @ {}:{}", self.text.trim(), self.file, self.line)
    }
}

impl ObjectSpec {
    /// Parses an object file.
    ///
    /// # Errors
    /// [`ObjectError`] names the first thing that is wrong: the file is no BPF object, a part of it is missing or does not
    /// make sense, or it needs something that is not supported.
    pub fn parse(bytes: &[u8]) -> Result<ObjectSpec, ObjectError> {
        let elf = Elf::parse(bytes)?;
        let license = data::license(&elf)?;
        let (mut btf, ext) = btf::parse(&elf)?;
        if let Some(btf) = &mut btf {
            btf::fix_datasecs(&elf, btf)?;
        }
        let declared = maps::declared(&elf, btf.as_ref())?;
        let data = data::maps(&elf, btf.as_ref())?;
        let programs = code::programs(&elf, btf.as_ref().zip(ext.as_ref()), &declared, &data)?;
        let maps = declared
            .into_iter()
            .map(|map| map.spec)
            .chain(data.into_iter().map(|map| map.spec))
            .collect();
        Ok(ObjectSpec {
            license,
            maps,
            programs,
            btf,
        })
    }

    /// The map with this name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapSpec> {
        self.maps.iter().find(|map| map.name == name)
    }

    /// The program with this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&ProgramSpec> {
        self.programs.iter().find(|program| program.name == name)
    }
}

impl ProgramSpec {
    /// What its section's name says about where it runs.
    #[must_use]
    pub fn kind(&self) -> SectionKind {
        SectionKind::of(&self.section)
    }

    /// The source line of the instruction at slot `pc`.
    #[must_use]
    pub fn line(&self, pc: usize) -> Option<&Line> {
        let after = self.lines.partition_point(|line| line.pc <= pc);
        self.lines.get(after.checked_sub(1)?)
    }
}
