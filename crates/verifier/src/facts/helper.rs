//! What a BPF helper takes, does and returns.

use super::{MapKind, ProgramSet};

/// Prototype of a BPF helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelperProto {
    /// Its number (`enum bpf_func_id`).
    pub id: u32,
    /// Its name, with the `bpf_` prefix.
    pub name: &'static str,
    /// What it returns.
    pub ret: RetType,
    /// What it takes; trailing `None`s are unused.
    pub args: [ArgType; 5],
    /// Refused to programs whose license is not GPL-compatible.
    pub gpl_only: bool,
    /// Refused to programs that may not sleep.
    pub might_sleep: bool,
    /// Whether pointers to the packet are invalid after it.
    pub changes_packet: bool,
    /// Whether the memory that it takes may be the packet's.
    pub packet: bool,
    /// Whether what it returns is a reference that the program has to release.
    pub acquires: bool,
    /// Whether it releases the reference in its first argument.
    pub releases: bool,
    /// Map types that its map argument may have; empty if it takes no map, or any.
    pub maps: &'static [MapKind],
    /// How it calls the function in its callback argument.
    pub calls_back: Option<CallsBack>,
    /// Whether it changes the map that it is given (its elements, not a value through a pointer).
    pub writes_map: bool,
    /// The programs that may call it.
    pub programs: ProgramSet,
    /// Whether it returns how much memory it wrote, at most the size that it was given, or a negated errno.
    pub returns_size: bool,
    /// Why user space cannot offer it; a program that calls it is refused with that.
    pub excluded: Option<&'static str>,
}

impl HelperProto {
    /// A helper that takes nothing, returns a number, and may be called by no listed program.
    #[must_use]
    pub const fn new(id: u32, name: &'static str) -> HelperProto {
        HelperProto {
            id,
            name,
            ret: RetType::Integer,
            args: [ArgType::None; 5],
            gpl_only: false,
            might_sleep: false,
            changes_packet: false,
            packet: false,
            acquires: false,
            releases: false,
            maps: &[],
            calls_back: None,
            writes_map: false,
            programs: ProgramSet::of(&[]),
            returns_size: false,
            excluded: None,
        }
    }

    /// What it takes or returns that the verifier does not support, in words.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        self.args
            .iter()
            .find_map(|arg| match arg {
                ArgType::Callback if self.calls_back.is_none() => Some("callbacks with such arguments"),
                arg => arg.unsupported(),
            })
            .or_else(|| self.ret.unsupported())
    }

    /// Whether it calls a function of the program before it returns.
    #[must_use]
    pub fn calls_back_at_once(&self) -> bool {
        matches!(
            self.calls_back,
            Some(CallsBack::Turns | CallsBack::Elements | CallsBack::Records)
        )
    }
}

/// How a helper calls a function of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallsBack {
    /// As often as its first argument says at the most, with the number of the turn and its third argument (`bpf_loop`).
    Turns,
    /// For the elements of its map argument, with map, key, value and its third argument (`bpf_for_each_map_elem`).
    Elements,
    /// For the records that the host has written to its map argument, with a dynptr of each and its third argument
    /// (`bpf_user_ringbuf_drain`).
    Records,
    /// When a timer expires, with the map that the timer is in, key and value.
    Later,
}

/// What a helper returns in `r0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetType {
    /// A number (`RET_INTEGER`).
    Integer,
    /// Nothing; `r0` is unusable afterwards (`RET_VOID`).
    Void,
    /// A pointer to a value of the map argument, or NULL (`RET_PTR_TO_MAP_VALUE_OR_NULL`).
    MapValueOrNull,
    /// A pointer to a value of the map argument (`RET_PTR_TO_MAP_VALUE`).
    MapValue,
    /// Memory of the size in an argument, or NULL: a ring buffer's record, a dynptr's bytes.
    MemOrNull,
    /// A pointer to a full socket, or NULL (`RET_PTR_TO_SOCKET_OR_NULL`).
    SocketOrNull,
    /// A pointer to a socket of any sort, or NULL (`RET_PTR_TO_SOCK_COMMON_OR_NULL`).
    SocketCommonOrNull,
    /// A pointer to a socket of TCP, or NULL (`RET_PTR_TO_TCP_SOCK_OR_NULL`).
    TcpSocketOrNull,
    /// A pointer to a struct of the host's, by its C name (`RET_PTR_TO_BTF_ID`).
    Btf(&'static str),
    /// The same, that is kept alive while the program runs (`RET_PTR_TO_BTF_ID_TRUSTED`).
    TrustedBtf(&'static str),
    /// The same, or NULL.
    BtfOrNull(&'static str),
    /// What the field of a map value in the first argument held: an object that the program owns now, or NULL.
    KptrOrNull,
    /// A per-CPU variable of this or another CPU (`RET_PTR_TO_MEM_OR_BTF_ID`).
    PercpuObject,
}

impl RetType {
    /// What of it the verifier does not support, in words.
    #[must_use]
    pub const fn unsupported(self) -> Option<&'static str> {
        Some(match self {
            RetType::PercpuObject => "variables of each processor",
            _ => return None,
        })
    }
}

/// What a helper takes in one argument register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgType {
    /// No argument.
    None,
    /// Any initialised number or pointer (`ARG_ANYTHING`).
    Anything,
    /// The context pointer, unmodified (`ARG_PTR_TO_CTX`).
    Context,
    /// The same, or NULL (`ARG_PTR_TO_CTX_OR_NULL`).
    ContextOrNull,
    /// A map named by the program itself (`ARG_CONST_MAP_PTR`).
    ConstMap,
    /// Readable memory of the map argument's key size (`ARG_PTR_TO_MAP_KEY`).
    MapKey,
    /// Readable memory of the map argument's value size (`ARG_PTR_TO_MAP_VALUE`).
    MapValue,
    /// Writable memory of the map argument's value size, initialised by the helper (`ARG_PTR_TO_UNINIT_MAP_VALUE`).
    UninitMapValue,
    /// Readable memory of the map argument's value size, or NULL (`ARG_PTR_TO_MAP_VALUE_OR_NULL`).
    MapValueOrNull,
    /// Readable memory whose size is in the next argument (`ARG_PTR_TO_MEM`).
    Mem,
    /// The same, or NULL (`ARG_PTR_TO_MEM_OR_NULL`). A constant NULL goes with a size of zero only, but of a pointer that may
    /// be NULL nobody asks, as in Linux: the helper has to look.
    MemOrNull,
    /// Initialised memory that the helper reads and writes, of the size in the next argument (`ARG_PTR_TO_MEM | MEM_WRITE`).
    MutMem,
    /// Writable memory, initialised by the helper, whose size is in the next argument (`ARG_PTR_TO_UNINIT_MEM`).
    UninitMem,
    /// The same, or NULL, as for `MemOrNull`.
    UninitMemOrNull,
    /// Readable memory of so many bytes (`ARG_PTR_TO_FIXED_SIZE_MEM`).
    FixedMem(u32),
    /// Initialised memory of so many bytes that the helper reads and writes; aligned to that size.
    FixedMutMem(u32),
    /// Writable memory of so many bytes, initialised by the helper (`ARG_PTR_TO_LONG`); aligned to that size.
    FixedUninitMem(u32),
    /// Size of the preceding memory argument, not zero (`ARG_CONST_SIZE`).
    Size,
    /// Size of the preceding memory argument, zero allowed (`ARG_CONST_SIZE_OR_ZERO`).
    SizeOrZero,
    /// A size known to the verifier: that of the memory returned (`ARG_CONST_ALLOC_SIZE_OR_ZERO`).
    AllocSize,
    /// Text in a frozen, read-only map, with its terminating zero (`ARG_PTR_TO_CONST_STR`).
    ConstString,
    /// A `struct bpf_spin_lock` in a map value (`ARG_PTR_TO_SPIN_LOCK`).
    SpinLock,
    /// A `struct bpf_timer` in a map value (`ARG_PTR_TO_TIMER`).
    Timer,
    /// A field of a map value that holds a pointer to an object (`ARG_PTR_TO_KPTR`).
    Kptr,
    /// An object owned by the program, or NULL (`ARG_PTR_TO_BTF_ID_OR_NULL | OBJ_RELEASE`).
    OwnedObjectOrNull,
    /// A function of the program (`ARG_PTR_TO_FUNC`).
    Callback,
    /// What that function gets: a pointer to the stack, or NULL (`ARG_PTR_TO_STACK_OR_NULL`).
    StackOrNull,
    /// A `struct bpf_dynptr` on the stack (`ARG_PTR_TO_DYNPTR`).
    Dynptr,
    /// Room for one, initialised by the helper (`ARG_PTR_TO_DYNPTR | MEM_UNINIT`).
    UninitDynptr,
    /// A record reserved in a ring buffer (`ARG_PTR_TO_RINGBUF_MEM`).
    RingbufRecord,
    /// A socket as programs see it (`ARG_PTR_TO_SOCK_COMMON`).
    Socket,
    /// The same, or a `struct sock_common` of the host (`ARG_PTR_TO_BTF_ID_SOCK_COMMON`).
    AnySocket,
    /// A pointer to a kernel struct, by its C name (`ARG_PTR_TO_BTF_ID`).
    Btf(&'static str),
    /// The same, or NULL.
    BtfOrNull(&'static str),
    /// A per-CPU variable (`ARG_PTR_TO_PERCPU_BTF_ID`).
    PercpuObject,
}

impl ArgType {
    /// What of it the verifier does not support, in words.
    #[must_use]
    pub const fn unsupported(self) -> Option<&'static str> {
        Some(match self {
            ArgType::PercpuObject => "variables of each processor",
            _ => return None,
        })
    }

    /// The memory that the argument points to, if it does.
    #[must_use]
    pub const fn memory(self) -> Option<MemArg> {
        use {MemSize as S, MemUse as U};
        let (size, usage, nullable) = match self {
            ArgType::MapKey => (S::MapKey, U::Read, false),
            ArgType::MapValue => (S::MapValue, U::Read, false),
            ArgType::MapValueOrNull => (S::MapValue, U::Read, true),
            ArgType::UninitMapValue => (S::MapValue, U::Initialize, false),
            ArgType::Mem => (S::NextArgument, U::Read, false),
            ArgType::MemOrNull => (S::NextArgument, U::Read, true),
            ArgType::MutMem => (S::NextArgument, U::ReadAndWrite, false),
            ArgType::UninitMem => (S::NextArgument, U::Initialize, false),
            ArgType::UninitMemOrNull => (S::NextArgument, U::Initialize, true),
            ArgType::FixedMem(size) => (S::Fixed(size), U::Read, false),
            ArgType::FixedMutMem(size) => (S::Fixed(size), U::ReadAndWrite, false),
            ArgType::FixedUninitMem(size) => (S::Fixed(size), U::Initialize, false),
            _ => return None,
        };
        Some(MemArg { size, usage, nullable })
    }
}

/// Memory that a helper takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemArg {
    /// How much.
    pub size: MemSize,
    /// What the helper does to it.
    pub usage: MemUse,
    /// Whether NULL will do.
    pub nullable: bool,
}

/// How much memory a helper takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemSize {
    /// A key of the map argument.
    MapKey,
    /// A value of the map argument.
    MapValue,
    /// As the next argument says.
    NextArgument,
    /// So many bytes.
    Fixed(u32),
}

/// What a helper does to memory that it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemUse {
    /// Reads it.
    Read,
    /// Reads and writes it.
    ReadAndWrite,
    /// Writes all of it.
    Initialize,
}

impl MemUse {
    /// Whether it writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, MemUse::Read)
    }
}
