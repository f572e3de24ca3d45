//! What an object file describes.

use std::fmt;
use std::sync::Arc;

use hitless_btf::{Btf, CoreRelo, Name, TypeId};
use hitless_isa::Insn;

use crate::elf::Elf;
use crate::error::ObjectError;
use crate::kind::SectionKind;
use crate::{arena, btf, code, data, externs, maps, struct_ops};

/// A parsed object file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectSpec {
    /// The text of the `license` section; empty if there is none.
    pub license: String,
    /// The kernel version in the `version` section, which kernels before 5.0 ask of kprobes.
    pub kernel_version: Option<u32>,
    /// The maps: those of `maps` sections and of `.maps`, in the order of their offsets there; then one for each section of
    /// global data, in the order of the sections; then ".kconfig"; then those of `.struct_ops` sections.
    pub maps: Vec<MapSpec>,
    /// The programs, by section and offset.
    pub programs: Vec<ProgramSpec>,
    /// Variables and functions that are not in the object and must come from where it is loaded, by name.
    pub externs: Vec<Extern>,
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
    /// How many elements it holds at the most, as declared. What depends on the host is not in it: a perf event array of 0
    /// elements has one for each CPU, the size of a ring buffer is rounded up to pages.
    pub max_entries: u32,
    /// `BPF_F_*` flags for its creation.
    pub flags: u32,
    /// Whether it is pinned under its name.
    pub pinning: Pinning,
    /// NUMA node to allocate it on, if it matters.
    pub numa_node: Option<u32>,
    /// Number whose meaning depends on the map type.
    pub map_extra: u64,
    /// Type of keys.
    pub key_type: Option<TypeId>,
    /// Type of values; for global data the data section.
    pub value_type: Option<TypeId>,
    /// For global data, the start of its only element; what follows, up to `value_size`, is zero. For an arena with global
    /// data (`.addr_space.1`), the start of its memory. `None` for other maps.
    pub data: Option<Vec<u8>>,
    /// Whether user space may not change it once it is filled (`.rodata`).
    pub frozen: bool,
    /// Offset of a `struct bpf_spin_lock` in the value, in bytes.
    pub spin_lock: Option<u32>,
    /// Offset of a `struct bpf_timer` in the value, in bytes.
    pub timer: Option<u32>,
    /// For maps of maps, what the maps within look like: the map is called "outer.inner" as in libbpf, and has neither
    /// values nor pinning. `None` if the object does not say it.
    pub inner: Option<Box<MapSpec>>,
    /// Elements that are there from the start, in the order of their indices: maps in maps of maps, programs in prog arrays.
    pub values: Vec<InitialValue>,
    /// For `BPF_MAP_TYPE_STRUCT_OPS`, the struct that it implements.
    pub struct_ops: Option<StructOpsSpec>,
}

/// An element that a map of maps or a prog array has from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialValue {
    /// Its key.
    pub index: u32,
    /// What is there.
    pub element: Element,
}

/// What an element of a map refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A map, by index into [`ObjectSpec::maps`].
    Map(usize),
    /// A program, by index into [`ObjectSpec::programs`].
    Program(usize),
}

/// A struct of functions that programs implement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOpsSpec {
    /// The struct ("tcp_congestion_ops").
    pub type_name: String,
    /// The struct in the object's BTF.
    pub ty: TypeId,
    /// The variable's content. Pointers to functions are zero in it.
    pub data: Vec<u8>,
    /// The functions.
    pub functions: Vec<StructOpsFunction>,
    /// Whether it is attached by a link (`.struct_ops.link`) rather than by storing the element.
    pub link: bool,
    /// Whether it is made only on request (`?.struct_ops`).
    pub optional: bool,
}

/// A member of a struct that a program implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructOpsFunction {
    /// Offset of the member in bytes.
    pub offset: u32,
    /// Index into [`ObjectSpec::programs`].
    pub program: usize,
}

/// Something that the object refers to and does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    /// Its name.
    pub name: String,
    /// Whether it may be missing (`__weak`): then it is zero.
    pub weak: bool,
    /// Its type in the object's BTF: the type of the variable, or the function ([`hitless_btf::Func`]).
    pub ty: Option<TypeId>,
    /// Where it comes from.
    pub kind: ExternKind,
}

/// Where an extern comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternKind {
    /// A kernel configuration value (`__kconfig`): part of the data of the map ".kconfig".
    Kconfig {
        /// Offset in that map's value, in bytes.
        offset: u32,
        /// Size in bytes.
        size: u32,
    },
    /// A variable (`__ksym`); typed if the object says more about it than `void`.
    Variable {
        /// Whether it is looked up in BTF, rather than by address.
        typed: bool,
    },
    /// A function (`__ksym`), a kfunc.
    Function,
}

/// Whether and where a map is pinned: `enum libbpf_pin_type`, and what iproute2 has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Not pinned (`LIBBPF_PIN_NONE`).
    #[default]
    None,
    /// Under its name in the BPF file system, and taken from there if it exists (`LIBBPF_PIN_BY_NAME`, iproute2's
    /// `PIN_GLOBAL_NS`).
    ByName,
    /// The same in a directory that only this object uses (iproute2's `PIN_OBJECT_NS`).
    InObject,
}

/// A program to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Name of its function.
    pub name: String,
    /// Name of its section, without the `?` that says not to load it.
    pub section: String,
    /// Whether it is loaded with its object, or only where somebody asks for it (`SEC("?...")`). What implements a
    /// struct_ops is loaded if that is made with the object ([`StructOpsSpec::optional`]), whatever its section says.
    pub autoload: bool,
    /// The program followed by every subprogram that it reaches, relocated.
    pub insns: Vec<Insn>,
    /// The functions in `insns`, by `start`: the program itself first.
    pub subprograms: Vec<Subprogram>,
    /// Source lines, by `pc`.
    pub lines: Vec<Line>,
    /// CO-RE relocations that are yet to be done, by `pc`; none after [`ObjectSpec::relocate`].
    pub core_relos: Vec<CoreRelocation>,
    /// References to externs that are yet to be resolved, by `pc`; none after [`ObjectSpec::relocate`].
    pub extern_refs: Vec<ExternRef>,
    /// Instructions that must never run, as what they need does not exist where the object is loaded, by `pc`; none before
    /// [`ObjectSpec::relocate`].
    pub poisoned: Vec<Poisoned>,
    /// The kernel functions that it calls, each once; none before [`ObjectSpec::relocate`].
    pub kfuncs: Vec<CalledKfunc>,
}

/// A kernel function that a program calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CalledKfunc {
    /// Its number in the types that the program was relocated against, as calls have it.
    pub id: i32,
    /// Its name there.
    pub name: Arc<str>,
}

impl Default for ProgramSpec {
    /// An empty program that is loaded with its object.
    fn default() -> ProgramSpec {
        ProgramSpec {
            name: String::new(),
            section: String::new(),
            autoload: true,
            insns: Vec::new(),
            subprograms: Vec::new(),
            lines: Vec::new(),
            core_relos: Vec::new(),
            extern_refs: Vec::new(),
            poisoned: Vec::new(),
            kfuncs: Vec::new(),
        }
    }
}

/// A CO-RE relocation of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreRelocation {
    /// Slot of the instruction.
    pub pc: usize,
    /// The relocation; its `insn_off` counts from the start of the section that the instruction came from.
    pub relo: CoreRelo,
}

/// A reference from an instruction to an extern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternRef {
    /// Slot of the instruction: a wide immediate, or a call (of a kfunc), whose immediates are zero until it is resolved. A
    /// wide immediate may ask for a function, too: whether it is there.
    pub pc: usize,
    /// Index into [`ObjectSpec::externs`].
    pub index: usize,
}

/// An instruction that must never run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poisoned {
    /// Its slot.
    pub pc: usize,
    /// What is missing ("struct task_struct.no_such_field").
    pub missing: Arc<str>,
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
    /// Whether it is verified by itself, for any arguments, rather than for each call: it is neither `static` nor hidden, or
    /// it is the program.
    pub global: bool,
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
    /// Column, from 1; 0 if unknown.
    pub column: u32,
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
        let kernel_version = data::kernel_version(&elf)?;
        let (mut btf, ext) = btf::parse(&elf)?;
        if let Some(btf) = &mut btf {
            btf::fix_datasecs(&elf, btf)?;
        }
        let externs = externs::externs(&elf, btf.as_mut())?;
        let locks = maps::Locks::new(btf.as_ref());
        let mut declared = maps::declared(&elf, btf.as_ref(), &locks)?;
        let arena = arena::fill(&elf, &mut declared)?;
        let data = data::maps(&elf, btf.as_ref(), &locks)?;
        let struct_ops = struct_ops::declared(&elf, btf.as_ref())?;
        let mut programs = code::programs(&elf, btf.as_ref(), ext.as_ref(), &declared, &data, arena, &externs)?;
        let mut maps = maps::resolve(&elf, declared, &programs)?;
        maps.extend(data.into_iter().map(|map| map.spec));
        maps.extend(externs.kconfig);
        let struct_ops = struct_ops::resolve(&elf, btf.as_ref(), struct_ops, &programs)?;
        struct_ops::autoload(&struct_ops, &mut programs.specs);
        maps.extend(struct_ops);
        Ok(ObjectSpec {
            license,
            kernel_version,
            maps,
            programs: programs.specs,
            externs: externs.specs,
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
    pub fn kind(&self) -> SectionKind<'_> {
        SectionKind::of(&self.section)
    }

    /// The source line of the instruction at slot `pc`.
    #[must_use]
    pub fn line(&self, pc: usize) -> Option<&Line> {
        let after = self.lines.partition_point(|line| line.pc <= pc);
        self.lines.get(after.checked_sub(1)?)
    }
}
