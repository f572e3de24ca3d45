//! The kernel's own verifier, asked through `bpf(2)`. Programs are loaded and dropped; nothing is attached or run.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::btf;
use hitless_btf::{Btf, Composite, Int, IntEncoding, Kind, Member, Type, TypeId, TypeTag};
use hitless_isa::{Insn, decode};
use hitless_verifier::tables::program_types::{self, ProgramType};
use hitless_verifier::{KptrKind, MapFacts, MapKind, ObjectType, ProgramKind};

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
const BPF_BTF_LOAD: i32 = 18;
const BPF_MAP_FREEZE: i32 = 22;
const F_NO_PREALLOC: u32 = 1;
const F_RDONLY_PROG: u32 = 1 << 7;
const F_SLEEPABLE: u32 = 1 << 4;
const F_WRONLY_PROG: u32 = 1 << 8;
const CALL: u8 = 0x85;
const PSEUDO_KFUNC_CALL: u8 = 2;
const PSEUDO_MAP_IDX: u8 = 5;
const PSEUDO_MAP_IDX_VALUE: u8 = 6;
/// From `BPF_PSEUDO_MAP_IDX` to `BPF_PSEUDO_MAP_FD`, from `BPF_PSEUDO_MAP_IDX_VALUE` to `BPF_PSEUDO_MAP_VALUE`.
const INDEX_TO_FD: u8 = 4;

/// How much the log tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// The path that failed (`BPF_LOG_LEVEL1`) and the cost (`BPF_LOG_STATS`).
    Failure = 5,
    /// Each instruction of each path (`BPF_LOG_LEVEL2`) and the cost.
    Everything = 6,
    /// The cost only (`BPF_LOG_STATS`).
    Cost = 4,
}

/// What a program is loaded as.
#[derive(Clone, Copy, Debug)]
pub struct LoadAs<'a> {
    pub program_type: u32,
    pub attach_type: u32,
    pub license: &'a std::ffi::CStr,
    /// What it is attached to, in the kernel's types.
    pub attach_btf_id: u32,
    pub sleepable: bool,
}

impl LoadAs<'static> {
    /// A program that is attached to something by name.
    pub fn attached_to(ty: &ProgramType, name: &str, types: &Btf) -> LoadAs<'static> {
        let find = |kind, name: &str| types.find(kind, name).map_or(0, |id| id.0);
        let mut load_as = LoadAs::from(ty);
        load_as.attach_btf_id = match ty.kind {
            ProgramKind::TpBtf => find(Kind::Typedef, &format!("btf_trace_{name}")),
            ProgramKind::Iter => find(Kind::Func, &format!("bpf_iter_{name}")),
            ProgramKind::Lsm => find(Kind::Func, &format!("bpf_lsm_{name}")),
            ProgramKind::StructOps => {
                let (owner, member) = name.split_once('.').expect("a struct and a member");
                let id = TypeId(find(Kind::Struct, owner));
                let index = types.members(id).iter().position(|found| found.name == *member);
                load_as.attach_type = index.expect("the member is there") as u32;
                id.0
            }
            _ => find(Kind::Func, name),
        };
        load_as
    }
}

impl From<&ProgramType> for LoadAs<'static> {
    fn from(ty: &ProgramType) -> LoadAs<'static> {
        LoadAs {
            program_type: ty.number,
            attach_type: ty.attach_types.first().copied().unwrap_or(0),
            license: c"GPL",
            attach_btf_id: 0,
            sleepable: false,
        }
    }
}

/// What the kernel says of a program.
#[derive(Debug)]
pub struct Outcome {
    /// Why it was refused, if it was.
    pub error: Option<io::Error>,
    /// The log.
    pub log: String,
}

impl Outcome {
    /// Whether programs of the type may not be loaded at all, whatever they do.
    pub fn is_forbidden(&self) -> bool {
        let error = self.error.as_ref().and_then(io::Error::raw_os_error);
        error == Some(libc::EPERM) && self.log.is_empty()
    }

    /// The number that follows `word` in the last line of the log that has it.
    pub fn figure(&self, word: &str) -> Option<u64> {
        let (_, rest) = self.log.rsplit_once(word)?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// "processed N insns".
    pub fn processed(&self) -> Option<u64> {
        self.figure("processed ")
    }

    /// The kernel's time for it, in microseconds.
    pub fn micros(&self) -> Option<u64> {
        self.figure("verification time ")
    }

    /// The last line of the log that is about the program.
    pub fn message(&self) -> &str {
        let about_cost = |line: &&str| {
            [
                "processed ",
                "verification time",
                "stack depth",
                "insns processed",
                "mark_precise",
                "cur state:",
                "old state:",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        };
        self.log
            .lines()
            .rev()
            .find(|line| !line.is_empty() && !about_cost(line))
            .unwrap_or("")
    }
}

/// `union bpf_attr`, written field by field.
#[repr(C, align(8))]
struct Attr([u8; 152]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 152])
    }

    fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// A name, of which the kernel takes 15 bytes.
    fn name(mut self, at: usize, name: &str) -> Attr {
        let taken = name.len().min(15);
        self.0[at..at + taken].copy_from_slice(&name.as_bytes()[..taken]);
        self
    }

    fn pointer<T: ?Sized>(mut self, at: usize, value: *const T) -> Attr {
        self.0[at..at + 8].copy_from_slice(&(value.cast::<u8>() as u64).to_ne_bytes());
        self
    }
}

fn call(command: i32, attr: &Attr) -> io::Result<i32> {
    // SAFETY: `attr` is as long as is said. The pointers in it are to memory that the callers below keep during the call,
    // of the lengths given beside them, and only the log is written.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *const Attr, size_of::<Attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}

/// A command that makes something.
fn bpf(command: i32, attr: &Attr) -> io::Result<OwnedFd> {
    // SAFETY: the commands that it is used for return a new descriptor.
    call(command, attr).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether programs can be loaded here, or else why not.
pub fn probe() -> Result<(), String> {
    let insns = hitless_isa::asm::assemble("r0 = 0\nexit").expect("assembles");
    let socket_filter = program_types::of(ProgramKind::SocketFilter);
    match load(&insns, socket_filter.into(), LogLevel::Cost).error {
        None => Ok(()),
        Some(error) => Err(format!("bpf(2) loads nothing here: {error}")),
    }
}

/// Makes a map. `inner` is a map of the sort that a map of maps is to hold.
pub fn make_map(
    map_type: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
) -> io::Result<OwnedFd> {
    let attr = Attr::new()
        .u32(0, map_type)
        .u32(4, key_size)
        .u32(8, value_size)
        .u32(12, entries)
        .u32(16, flags)
        .u32(20, inner);
    bpf(BPF_MAP_CREATE, &attr)
}

fn make_like(facts: &MapFacts, types: Option<&Btf>) -> io::Result<OwnedFd> {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let storage = matches!(
        facts.kind,
        MapKind::SkStorage | MapKind::InodeStorage | MapKind::TaskStorage | MapKind::CgrpStorage
    );
    let flags = flag(facts.readonly_prog, F_RDONLY_PROG)
        | flag(facts.writeonly_prog, F_WRONLY_PROG)
        | flag(storage, F_NO_PREALLOC);
    let inner = match (&facts.inner, facts.kind) {
        (Some(inner), _) => Some(make_like(inner, types)?),
        (None, MapKind::ArrayOfMaps | MapKind::HashOfMaps) => Some(make_map(MapKind::Hash.number(), 4, 8, 1, 0, 0)?),
        (None, _) => None,
    };
    let inner_fd = inner.as_ref().map_or(0, |map| map.as_raw_fd() as u32);
    let typed = storage || facts.spin_lock.is_some() || facts.timer.is_some() || !facts.kptrs.is_empty();
    let btf = typed.then(|| types_of(facts, types)).transpose()?;
    let attr = match &btf {
        Some(btf) => Attr::new()
            .u32(48, btf.as_raw_fd() as u32)
            .u32(52, if facts.key_size == 4 { INT_TYPE } else { KEY_TYPE })
            .u32(56, VALUE_TYPE),
        None => Attr::new(),
    }
    .u32(0, facts.kind.number())
    .u32(4, facts.key_size)
    .u32(8, facts.value_size)
    .u32(12, facts.max_entries)
    .u32(16, flags)
    .u32(20, inner_fd)
    .name(28, &facts.name);
    let map = bpf(BPF_MAP_CREATE, &attr)?;
    if let Some(bytes) = &facts.frozen {
        freeze(&map, bytes)?;
    }
    Ok(map)
}

/// Gives an array of one element its value, for good.
fn freeze(map: &OwnedFd, value: &[u8]) -> io::Result<()> {
    let (fd, key) = (map.as_raw_fd() as u32, 0u32);
    let attr = Attr::new()
        .u32(0, fd)
        .pointer(8, &raw const key)
        .pointer(16, value.as_ptr());
    call(BPF_MAP_UPDATE_ELEM, &attr)?;
    call(BPF_MAP_FREEZE, &Attr::new().u32(0, fd))?;
    Ok(())
}

/// The types in what [`types_of`] makes.
const INT_TYPE: u32 = 1;
const KEY_TYPE: u32 = 3;
const TIMER_TYPE: u32 = 4;
const VALUE_TYPE: u32 = 5;

/// BTF of a map. Pointers to objects in its value are of types in `kernel`.
fn types_of(facts: &MapFacts, kernel: Option<&Btf>) -> io::Result<OwnedFd> {
    let structure = |name: &str, size: u32, members: Vec<Member>| {
        Type::Struct(Composite {
            name: name.into(),
            size,
            members,
        })
    };
    let member = |name: &str, ty: u32, off: u32| Member {
        name: name.into(),
        ty: TypeId(ty),
        bit_offset: 8 * off,
        bitfield_size: 0,
    };
    let lock = facts.spin_lock.map(|off| member("lock", 2, off));
    let timer = facts.timer.map(|off| member("timer", TIMER_TYPE, off));
    let mut members: Vec<Member> = lock.into_iter().chain(timer).collect();
    let mut pointers = Vec::new();
    for kptr in &facts.kptrs {
        let first = VALUE_TYPE + 1 + pointers.len() as u32;
        let found = match kptr.ty {
            ObjectType::Btf(ty) => kernel.and_then(|types| types.get(ty)),
            _ => None,
        };
        let name = found.map_or("", Type::name);
        let tag = match kptr.kind {
            KptrKind::Referenced => "kptr",
            KptrKind::Untrusted => "kptr_untrusted",
        };
        pointers.push(structure(name, 8, Vec::new()));
        pointers.push(Type::TypeTag(TypeTag {
            tag: tag.into(),
            ty: TypeId(first),
            attribute: false,
        }));
        pointers.push(Type::Ptr(TypeId(first + 1)));
        members.push(member(&format!("at{}", kptr.off), first + 2, kptr.off));
    }
    members.sort_by_key(|member| member.bit_offset);
    let int = Type::Int(Int {
        name: "int".into(),
        size: 4,
        encoding: IntEncoding::Unsigned,
        bit_offset: 0,
        bits: 32,
    });
    let mut types = vec![
        Type::Void,
        int,
        structure("bpf_spin_lock", 4, vec![member("val", INT_TYPE, 0)]),
        structure("key", facts.key_size, Vec::new()),
        structure("bpf_timer", 16, Vec::new()),
        structure("value", facts.value_size, members),
    ];
    types.extend(pointers);
    let bytes = Btf::new(types).expect("the types are well-formed").to_bytes();
    bpf(
        BPF_BTF_LOAD,
        &Attr::new().pointer(0, bytes.as_ptr()).u32(16, bytes.len() as u32),
    )
}

fn load_btf(btf: &btf::Builder) -> io::Result<OwnedFd> {
    let bytes = btf.bytes();
    let attr = Attr::new().pointer(0, bytes.as_ptr()).u32(16, bytes.len() as u32);
    bpf(BPF_BTF_LOAD, &attr)
}

/// Loads a program, which names its maps by descriptor.
pub fn load(insns: &[Insn], load_as: LoadAs<'_>, level: LogLevel) -> Outcome {
    load_typed(insns, load_as, level, None)
}

/// The same, telling the kernel of its functions if there are some besides the main program.
fn load_typed(
    insns: &[Insn],
    load_as: LoadAs<'_>,
    level: LogLevel,
    functions: Option<(&OwnedFd, &[[u32; 2]])>,
) -> Outcome {
    let code: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let mut log = vec![0u8; if level == LogLevel::Cost { 1 << 12 } else { 1 << 24 }];
    let mut attr = Attr::new()
        .u32(0, load_as.program_type)
        .u32(4, insns.len() as u32)
        .pointer(8, code.as_ptr())
        .pointer(16, load_as.license.as_ptr())
        .u32(24, level as u32)
        .u32(28, log.len() as u32)
        .pointer(32, log.as_mut_ptr())
        .u32(44, if load_as.sleepable { F_SLEEPABLE } else { 0 })
        .u32(68, load_as.attach_type)
        .u32(108, load_as.attach_btf_id);
    if let Some((btf, info)) = functions {
        attr = attr
            .u32(72, btf.as_raw_fd() as u32)
            .u32(76, size_of::<[u32; 2]>() as u32)
            .pointer(80, info.as_ptr())
            .u32(88, info.len() as u32);
    }
    let error = bpf(BPF_PROG_LOAD, &attr).err();
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    Outcome {
        error,
        log: String::from_utf8_lossy(&log[..end]).into_owned(),
    }
}

/// Loads a program with maps like these, which `insns` name by index.
pub fn load_with(
    insns: &[Insn],
    maps: &[MapFacts],
    types: Option<&Btf>,
    load_as: LoadAs<'_>,
    level: LogLevel,
) -> io::Result<Outcome> {
    let maps: Vec<OwnedFd> = maps
        .iter()
        .map(|facts| make_like(facts, types))
        .collect::<io::Result<_>>()?;
    let mut insns = insns.to_vec();
    let mut pc = 0;
    while pc < insns.len() {
        let slots = decode(&insns, pc).map_or(1, |insn| insn.slots());
        if let (2, PSEUDO_MAP_IDX | PSEUDO_MAP_IDX_VALUE) = (slots, insns[pc].src) {
            insns[pc].src -= INDEX_TO_FD;
            // An index that names no map stays wrong.
            insns[pc].imm = maps.get(insns[pc].imm as usize).map_or(-1, |map| map.as_raw_fd());
        }
        if insns[pc].code == CALL && insns[pc].src == PSEUDO_KFUNC_CALL {
            let name = btf::kfunc(insns[pc].imm);
            insns[pc].imm = name.and_then(btf::kernel_function).unwrap_or(0);
        }
        pc += slots;
    }
    let (btf, info) = btf::functions(&insns, &|_| false);
    if info.len() == 1 {
        return Ok(load(&insns, load_as, level));
    }
    // Where functions begin in the middle of nowhere it says so without types, too.
    let inside = info.iter().all(|[start, _]| (*start as usize) < insns.len());
    let btf = load_btf(&btf)?;
    let functions = inside.then_some((&btf, info.as_slice()));
    Ok(load_typed(&insns, load_as, level, functions))
}

/// The instructions that the kernel runs in place of these, if it accepts them and tells.
pub fn translated(insns: &[Insn], load_as: LoadAs<'_>) -> Option<Vec<Insn>> {
    let code: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let attr = Attr::new()
        .u32(0, load_as.program_type)
        .u32(4, insns.len() as u32)
        .pointer(8, code.as_ptr())
        .pointer(16, load_as.license.as_ptr())
        .u32(68, load_as.attach_type);
    let program = bpf(BPF_PROG_LOAD, &attr).ok()?;
    let mut room = vec![0u8; code.len()];
    // `struct bpf_prog_info`: `xlated_prog_len` and `xlated_prog_insns` are how much room there is, and where.
    let mut info = Attr::new().u32(20, room.len() as u32).pointer(32, room.as_mut_ptr());
    let attr = Attr::new()
        .u32(0, program.as_raw_fd() as u32)
        .u32(4, size_of::<Attr>() as u32)
        .pointer(8, &raw mut info);
    // SAFETY: `attr`, `info` and `room` are as long as is said, and live through the call, which writes the last two.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attr,
            size_of::<Attr>(),
        )
    };
    let len = u32::from_ne_bytes(*info.0[20..].first_chunk()?) as usize;
    let slots = room.get(..len)?.chunks_exact(Insn::SIZE);
    (result == 0).then(|| {
        slots
            .filter_map(|slot| Some(Insn::from_bytes(*slot.first_chunk()?)))
            .collect()
    })
}
