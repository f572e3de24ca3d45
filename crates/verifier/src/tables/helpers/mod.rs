//! The BPF helpers: prototypes by number (`enum bpf_func_id`), which programs may call which, and which of them user space
//! cannot offer.
//!
//! The whole of Linux 6.12 is listed, so that a program that cannot be accepted is refused for the right reason: because
//! Linux would refuse it, because user space lacks what the helper works on
//! ([`HelperProto::excluded`](crate::HelperProto::excluded)), or because the verifier does not know the sort of pointer
//! yet ([`HelperProto::unsupported`](crate::HelperProto::unsupported)).

mod programs;
mod table;

use std::sync::OnceLock;

use crate::facts::{HelperProto, ProgramKind};

/// `bpf_map_lookup_elem`.
#[doc(alias = "BPF_FUNC_map_lookup_elem")]
pub const MAP_LOOKUP_ELEM: u32 = 1;
/// `bpf_map_update_elem`.
#[doc(alias = "BPF_FUNC_map_update_elem")]
pub const MAP_UPDATE_ELEM: u32 = 2;
/// `bpf_map_delete_elem`.
#[doc(alias = "BPF_FUNC_map_delete_elem")]
pub const MAP_DELETE_ELEM: u32 = 3;
/// `bpf_probe_read`.
#[doc(alias = "BPF_FUNC_probe_read")]
pub const PROBE_READ: u32 = 4;
/// `bpf_ktime_get_ns`.
#[doc(alias = "BPF_FUNC_ktime_get_ns")]
pub const KTIME_GET_NS: u32 = 5;
/// `bpf_trace_printk`.
#[doc(alias = "BPF_FUNC_trace_printk")]
pub const TRACE_PRINTK: u32 = 6;
/// `bpf_get_prandom_u32`.
#[doc(alias = "BPF_FUNC_get_prandom_u32")]
pub const GET_PRANDOM_U32: u32 = 7;
/// `bpf_get_smp_processor_id`.
#[doc(alias = "BPF_FUNC_get_smp_processor_id")]
pub const GET_SMP_PROCESSOR_ID: u32 = 8;
/// `bpf_tail_call`.
#[doc(alias = "BPF_FUNC_tail_call")]
pub const TAIL_CALL: u32 = 12;
/// `bpf_get_current_pid_tgid`.
#[doc(alias = "BPF_FUNC_get_current_pid_tgid")]
pub const GET_CURRENT_PID_TGID: u32 = 14;
/// `bpf_get_local_storage`.
pub const GET_LOCAL_STORAGE: u32 = 81;
/// `bpf_spin_lock`.
#[doc(alias = "BPF_FUNC_spin_lock")]
pub const SPIN_LOCK: u32 = 93;
/// `bpf_spin_unlock`.
#[doc(alias = "BPF_FUNC_spin_unlock")]
pub const SPIN_UNLOCK: u32 = 94;
/// `bpf_probe_read_user`.
#[doc(alias = "BPF_FUNC_probe_read_user")]
pub const PROBE_READ_USER: u32 = 112;
/// `bpf_probe_read_kernel`.
#[doc(alias = "BPF_FUNC_probe_read_kernel")]
pub const PROBE_READ_KERNEL: u32 = 113;
/// `bpf_jiffies64`.
#[doc(alias = "BPF_FUNC_jiffies64")]
pub const JIFFIES64: u32 = 118;
/// `bpf_ktime_get_boot_ns`.
#[doc(alias = "BPF_FUNC_ktime_get_boot_ns")]
pub const KTIME_GET_BOOT_NS: u32 = 125;
/// `bpf_ktime_get_coarse_ns`.
#[doc(alias = "BPF_FUNC_ktime_get_coarse_ns")]
pub const KTIME_GET_COARSE_NS: u32 = 160;

/// `bpf_snprintf`.
#[doc(alias = "BPF_FUNC_snprintf")]
pub const SNPRINTF: u32 = 165;

/// `bpf_timer_init`.
#[doc(alias = "BPF_FUNC_timer_init")]
pub const TIMER_INIT: u32 = 169;

/// `bpf_loop`.
#[doc(alias = "BPF_FUNC_loop")]
pub const LOOP: u32 = 181;

/// Helpers that return their argument as another sort of socket: a reference stays one.
pub(crate) const SOCKET_CASTS: [u32; 8] = [95, 96, 136, 137, 138, 139, 140, 196];

/// `bpf_dynptr_from_mem`.
pub const DYNPTR_FROM_MEM: u32 = 197;

/// `bpf_dynptr_write`.
pub const DYNPTR_WRITE: u32 = 202;

/// Every helper of Linux 6.12, by number, from 1 on.
#[must_use]
pub const fn all() -> &'static [HelperProto] {
    table::TABLE
}

/// What programs of a sort may call, by number. For `Ext` that is nothing: such programs have the helpers of what they
/// replace.
#[must_use]
pub fn of(kind: ProgramKind) -> &'static [HelperProto] {
    static LISTS: [OnceLock<Vec<HelperProto>>; 64] = [const { OnceLock::new() }; 64];
    LISTS[kind as usize].get_or_init(|| {
        let callable = all().iter().filter(|proto| proto.programs.contains(kind));
        let maps = |proto: &HelperProto| match table::changes_sockets(proto.id, kind) {
            true => proto.maps,
            false => table::CHANGE_NO_SOCKETS,
        };
        callable
            .map(|proto| HelperProto {
                maps: maps(proto),
                ..*proto
            })
            .collect()
    })
}

/// What XDP programs may call.
#[must_use]
pub fn xdp() -> &'static [HelperProto] {
    of(ProgramKind::Xdp)
}

/// What programs on map tracing hooks (`BPF_TRACE_MAP`) may call.
#[must_use]
pub fn map_trace() -> &'static [HelperProto] {
    of(ProgramKind::MapTrace)
}

/// The prototype of a helper, whichever program type may call it.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static HelperProto> {
    all().get((id as usize).checked_sub(1)?)
}

/// The number of a helper, by a name that stands in the program's text.
///
/// # Panics
/// If there is no such helper; at compile time, if it is asked for there.
#[must_use]
pub const fn number(name: &str) -> u32 {
    let mut i = 0;
    while i < all().len() {
        if same(all()[i].name.as_bytes(), name.as_bytes()) {
            return all()[i].id;
        }
        i += 1;
    }
    panic!("no helper has this name")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// The name of a helper, for the disassembler.
#[must_use]
pub fn name(id: u32) -> Option<&'static str> {
    by_id(id).map(|proto| proto.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{ArgType, MemSize};

    #[test]
    fn numbers_are_dense_and_names_unique() {
        for (id, proto) in (1..).zip(all()) {
            assert_eq!(proto.id, id, "{}", proto.name);
            assert_eq!(by_id(id), Some(proto));
            assert!(proto.name.starts_with("bpf_"));
            assert!(all().iter().all(|other| other.id == id || other.name != proto.name));
        }
        assert_eq!(all().len(), 211);
        assert_eq!((by_id(0), by_id(212)), (None, None));
    }

    #[test]
    fn names_of_the_constants() {
        for (id, name) in [
            (MAP_LOOKUP_ELEM, "bpf_map_lookup_elem"),
            (PROBE_READ, "bpf_probe_read"),
            (TRACE_PRINTK, "bpf_trace_printk"),
            (TAIL_CALL, "bpf_tail_call"),
            (SPIN_UNLOCK, "bpf_spin_unlock"),
            (PROBE_READ_KERNEL, "bpf_probe_read_kernel"),
            (KTIME_GET_COARSE_NS, "bpf_ktime_get_coarse_ns"),
        ] {
            assert_eq!(super::name(id), Some(name));
            assert_eq!(number(name), id);
        }
    }

    #[test]
    fn sizes_follow_memory_and_maps_come_first() {
        for proto in all() {
            let is_size = |arg: &ArgType| matches!(arg, ArgType::Size | ArgType::SizeOrZero);
            for (i, arg) in proto.args.iter().enumerate() {
                let size = arg.memory().map(|memory| memory.size);
                if size == Some(MemSize::NextArgument) {
                    assert!(is_size(&proto.args[i + 1]), "{}", proto.name);
                }
                if is_size(arg) {
                    let before = proto.args[i - 1].memory().map(|memory| memory.size);
                    assert_eq!(before, Some(MemSize::NextArgument), "{}", proto.name);
                }
                if matches!(size, Some(MemSize::MapKey | MemSize::MapValue)) {
                    assert!(proto.args[..i].contains(&ArgType::ConstMap), "{}", proto.name);
                }
                let rest = proto.args[i..].iter();
                assert!(
                    *arg != ArgType::None || rest.copied().all(|arg| arg == ArgType::None),
                    "{}",
                    proto.name
                );
            }
            let any_map = proto.name == "bpf_timer_init";
            let takes_map = proto.args.contains(&ArgType::ConstMap);
            assert_eq!(takes_map && !any_map, !proto.maps.is_empty(), "{}", proto.name);
        }
    }

    #[test]
    fn some_program_may_call_each() {
        for proto in all() {
            assert!(proto.programs != crate::facts::ProgramSet::of(&[]), "{}", proto.name);
        }
        assert!(of(ProgramKind::Ext).is_empty());
        assert!(xdp().iter().any(|proto| proto.name == "bpf_xdp_adjust_head"));
        assert!(map_trace().iter().all(|proto| proto.name != "bpf_xdp_adjust_head"));
    }
}
