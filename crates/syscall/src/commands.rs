//! The commands: one table.

use hitless_verifier::tables::map_trace::commands;
use rustix::io::Errno;

use crate::{Call, ENOTSUPP, attach, btf, ids, info, link, map, program, stats, tracepoint};

type Run = fn(&Call<'_>) -> Result<u32, Errno>;

/// A command of `bpf(2)`.
#[derive(Debug)]
pub struct Command {
    /// Its number.
    pub number: u32,
    /// Its name in Linux's headers, or, for those that Linux does not have, in ours.
    pub name: &'static str,
    /// Where its last attribute ends: what follows has to be zero.
    pub(crate) attr_end: usize,
    /// Whether it looks at other objects than those that the caller has descriptors of, so that those whose descriptors were
    /// closed before it have to be gone.
    pub(crate) looks_at_all: bool,
    pub(crate) how: How,
}

/// What a command does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Works(Run),
    Refused(Refused),
}

/// Why a command does nothing but fail.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// With which errno, if its attributes are no contradiction.
    pub errno: Errno,
    /// Why.
    pub reason: &'static str,
}

impl Command {
    /// Why it does nothing but fail, and with which errno; `None` for those that work.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        match self.how {
            How::Works(_) => None,
            How::Refused(refused) => Some(refused),
        }
    }
}

const fn row(number: u32, name: &'static str, attr_end: usize, run: Run) -> Command {
    Command {
        number,
        name,
        attr_end,
        looks_at_all: true,
        how: How::Works(run),
    }
}

/// A command on a map which the caller has a descriptor of.
const fn quick(number: u32, name: &'static str, attr_end: usize, run: Run) -> Command {
    Command {
        looks_at_all: false,
        ..row(number, name, attr_end, run)
    }
}

const fn refused(number: u32, name: &'static str, attr_end: usize, errno: Errno, reason: &'static str) -> Command {
    Command {
        number,
        name,
        attr_end,
        looks_at_all: false,
        how: How::Refused(Refused { errno, reason }),
    }
}

const NO_ITERATORS: &str = "iterators are attached and read by the typed API: Runtime::attach_map_iter, Link::iter";
const NO_PINS: &str = "there is no BPF file system";

/// Every command of Linux 6.12 (`enum bpf_cmd`), then those of hitless.
pub const COMMANDS: &[Command] = &[
    row(0, "BPF_MAP_CREATE", 80, map::create),
    quick(1, "BPF_MAP_LOOKUP_ELEM", 32, map::lookup),
    quick(2, "BPF_MAP_UPDATE_ELEM", 32, map::update),
    quick(3, "BPF_MAP_DELETE_ELEM", 16, map::delete),
    quick(4, "BPF_MAP_GET_NEXT_KEY", 24, map::next_key),
    row(5, "BPF_PROG_LOAD", 148, program::load),
    refused(6, "BPF_OBJ_PIN", 20, Errno::PERM, NO_PINS),
    refused(7, "BPF_OBJ_GET", 20, Errno::NOENT, NO_PINS),
    row(8, "BPF_PROG_ATTACH", 32, attach::attach),
    row(9, "BPF_PROG_DETACH", 32, attach::detach),
    row(10, "BPF_PROG_TEST_RUN", 76, program::test_run),
    row(11, "BPF_PROG_GET_NEXT_ID", 8, ids::next_program),
    row(12, "BPF_MAP_GET_NEXT_ID", 8, ids::next_map),
    row(13, "BPF_PROG_GET_FD_BY_ID", 4, ids::open_program),
    row(14, "BPF_MAP_GET_FD_BY_ID", 12, ids::open_map),
    row(15, "BPF_OBJ_GET_INFO_BY_FD", 16, info::get),
    row(16, "BPF_PROG_QUERY", 64, attach::query),
    row(17, "BPF_RAW_TRACEPOINT_OPEN", 24, tracepoint::open),
    row(18, "BPF_BTF_LOAD", 40, btf::load),
    row(19, "BPF_BTF_GET_FD_BY_ID", 4, ids::open_btf),
    refused(
        20,
        "BPF_TASK_FD_QUERY",
        48,
        ENOTSUPP,
        "events of perf belong to the kernel, and programs are not attached to them",
    ),
    quick(21, "BPF_MAP_LOOKUP_AND_DELETE_ELEM", 32, map::lookup_and_delete),
    row(22, "BPF_MAP_FREEZE", 4, map::freeze),
    row(23, "BPF_BTF_GET_NEXT_ID", 8, ids::next_btf),
    quick(24, "BPF_MAP_LOOKUP_BATCH", 56, map::lookup_batch),
    quick(25, "BPF_MAP_LOOKUP_AND_DELETE_BATCH", 56, map::lookup_and_delete_batch),
    quick(26, "BPF_MAP_UPDATE_BATCH", 56, map::update_batch),
    quick(27, "BPF_MAP_DELETE_BATCH", 56, map::delete_batch),
    row(28, "BPF_LINK_CREATE", 60, link::create),
    row(29, "BPF_LINK_UPDATE", 16, link::update),
    row(30, "BPF_LINK_GET_FD_BY_ID", 4, ids::open_link),
    row(31, "BPF_LINK_GET_NEXT_ID", 8, ids::next_link),
    row(32, "BPF_ENABLE_STATS", 4, stats::enable),
    refused(33, "BPF_ITER_CREATE", 8, Errno::INVAL, NO_ITERATORS),
    row(34, "BPF_LINK_DETACH", 4, link::detach),
    row(35, "BPF_PROG_BIND_MAP", 12, program::bind_map),
    refused(
        36,
        "BPF_TOKEN_CREATE",
        8,
        Errno::INVAL,
        "who may call is decided by the host: there is no BPF file system to delegate by",
    ),
    row(
        commands::SYNCHRONIZE,
        "BPF_SYNCHRONIZE_MAP_TO_MAP_REFERENCES",
        0,
        map::synchronize,
    ),
    row(commands::SYNC_REFS, "BPF_MAP_SYNC_REFS", 4, map::sync_refs),
    row(commands::WAIT, "BPF_MAP_WAIT", 24, map::wait),
];

/// The command with this number.
pub(crate) fn find(number: u32) -> Option<&'static Command> {
    // Linux's come first, without a gap.
    let of_linux = COMMANDS.get(number as usize).filter(|command| command.number == number);
    of_linux.or_else(|| COMMANDS.iter().find(|command| command.number == number))
}
