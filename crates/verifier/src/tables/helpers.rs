//! Prototypes of the BPF helpers, by number (`enum bpf_func_id`), and which program types may call which.

use crate::facts::{ArgType, HelperProto, MapKind, RetType};

use ArgType::{Anything, ConstMap, MapKey, MapValue, Mem, None as No, Size, SizeOrZero, SpinLock, UninitMem};

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
/// `bpf_get_current_pid_tgid`.
#[doc(alias = "BPF_FUNC_get_current_pid_tgid")]
pub const GET_CURRENT_PID_TGID: u32 = 14;
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

const ANY_MAP: &[MapKind] = &[MapKind::Hash, MapKind::Array];

const fn number(id: u32, name: &'static str, args: [ArgType; 5]) -> HelperProto {
    HelperProto {
        id,
        name,
        ret: RetType::Integer,
        args,
        gpl_only: false,
        maps: &[],
        writes_map: false,
    }
}

const fn map(id: u32, name: &'static str, args: [ArgType; 5]) -> HelperProto {
    HelperProto {
        maps: ANY_MAP,
        ..number(id, name, args)
    }
}

const BASE: [HelperProto; 12] = [
    HelperProto {
        ret: RetType::MapValueOrNull,
        ..map(MAP_LOOKUP_ELEM, "bpf_map_lookup_elem", [ConstMap, MapKey, No, No, No])
    },
    HelperProto {
        writes_map: true,
        ..map(
            MAP_UPDATE_ELEM,
            "bpf_map_update_elem",
            [ConstMap, MapKey, MapValue, Anything, No],
        )
    },
    HelperProto {
        writes_map: true,
        ..map(MAP_DELETE_ELEM, "bpf_map_delete_elem", [ConstMap, MapKey, No, No, No])
    },
    number(KTIME_GET_NS, "bpf_ktime_get_ns", [No; 5]),
    HelperProto {
        gpl_only: true,
        ..number(
            TRACE_PRINTK,
            "bpf_trace_printk",
            [Mem, Size, Anything, Anything, Anything],
        )
    },
    number(GET_PRANDOM_U32, "bpf_get_prandom_u32", [No; 5]),
    number(GET_SMP_PROCESSOR_ID, "bpf_get_smp_processor_id", [No; 5]),
    HelperProto {
        ret: RetType::Void,
        ..number(SPIN_LOCK, "bpf_spin_lock", [SpinLock, No, No, No, No])
    },
    HelperProto {
        ret: RetType::Void,
        ..number(SPIN_UNLOCK, "bpf_spin_unlock", [SpinLock, No, No, No, No])
    },
    number(JIFFIES64, "bpf_jiffies64", [No; 5]),
    number(KTIME_GET_BOOT_NS, "bpf_ktime_get_boot_ns", [No; 5]),
    number(KTIME_GET_COARSE_NS, "bpf_ktime_get_coarse_ns", [No; 5]),
];

const fn probe_read(id: u32, name: &'static str) -> HelperProto {
    HelperProto {
        gpl_only: true,
        ..number(id, name, [UninitMem, SizeOrZero, Anything, No, No])
    }
}

const TRACING: [HelperProto; 4] = [
    probe_read(PROBE_READ, "bpf_probe_read"),
    probe_read(PROBE_READ_USER, "bpf_probe_read_user"),
    probe_read(PROBE_READ_KERNEL, "bpf_probe_read_kernel"),
    number(GET_CURRENT_PID_TGID, "bpf_get_current_pid_tgid", [No; 5]),
];

const ALL: [HelperProto; BASE.len() + TRACING.len()] = {
    let mut all = [BASE[0]; BASE.len() + TRACING.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < BASE.len() {
            BASE[i]
        } else {
            TRACING[i - BASE.len()]
        };
        i += 1;
    }
    all
};

/// Every helper there is.
#[must_use]
pub const fn all() -> &'static [HelperProto] {
    &ALL
}

/// What XDP programs may call.
#[must_use]
pub const fn xdp() -> &'static [HelperProto] {
    &BASE
}

/// What programs on map tracing hooks (`BPF_TRACE_MAP`) may call.
#[must_use]
pub const fn map_trace() -> &'static [HelperProto] {
    &ALL
}

/// The prototype of a helper, whichever program type may call it.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static HelperProto> {
    ALL.iter().find(|proto| proto.id == id)
}

/// The name of a helper, for the disassembler.
#[must_use]
pub fn name(id: u32) -> Option<&'static str> {
    by_id(id).map(|proto| proto.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(a.name.starts_with("bpf_"));
            assert!(
                ALL[i + 1..].iter().all(|b| a.id != b.id && a.name != b.name),
                "{} twice",
                a.name
            );
        }
    }

    #[test]
    fn sizes_follow_memory_and_maps_come_first() {
        for proto in &ALL {
            for (i, arg) in proto.args.iter().enumerate() {
                match arg {
                    Mem | UninitMem => assert!(matches!(proto.args[i + 1], Size | SizeOrZero), "{}", proto.name),
                    Size | SizeOrZero => assert!(matches!(proto.args[i - 1], Mem | UninitMem), "{}", proto.name),
                    MapKey | MapValue => assert!(proto.args[..i].contains(&ConstMap), "{}", proto.name),
                    _ => {}
                }
            }
            assert_eq!(proto.args.contains(&ConstMap), !proto.maps.is_empty(), "{}", proto.name);
        }
    }
}
