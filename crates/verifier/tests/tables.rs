//! The tables against the running kernel, on whose behaviour they rest. Where there is no `bpf(2)`, or an older kernel than
//! the tables were made with, the tests say that they skip.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use hitless_isa::{Insn, asm};
use hitless_verifier::tables::map_types::{self, EntriesRule, SizeRule};
use hitless_verifier::tables::program_types::{self, ProgramType};
use hitless_verifier::tables::{helpers, kfuncs};
use hitless_verifier::{ArgType, HelperProto, MapKind, MemSize, ProgramKind};
use support::kernel::{self, LoadAs, LogLevel, Outcome, make_map};

/// Switched off in the configuration of the kernel that the tables were made with.
const ABSENT: [&str; 2] = ["bpf_override_return", "bpf_probe_write_user"];

/// Whether the kernel can be asked, or else why not.
fn probe() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let reason = match kernel::probe() {
        Err(reason) => reason,
        Ok(()) if version < (6, 18) => format!("the tables are those of Linux 6.18, this is {}", release.trim()),
        Ok(()) => return true,
    };
    eprintln!("skipped: {reason}");
    false
}

fn load(insns: &[Insn], load_as: LoadAs<'_>) -> Outcome {
    kernel::load(insns, load_as, LogLevel::Failure)
}

/// Kinds that need nothing but a type and an attach type to be loaded.
fn loadable() -> impl Iterator<Item = &'static ProgramType> {
    let plain = |ty: &&ProgramType| !ty.is_typed() && ty.kind != ProgramKind::Ext && ty.kind != ProgramKind::LsmCgroup;
    let exit = assemble("r0 = 1\nexit");
    program_types::all()
        .iter()
        .filter(plain)
        .filter(move |ty| ty.kind != ProgramKind::Syscall && load(&exit, LoadAs::from(*ty)).error.is_none())
}

fn assemble(text: &str) -> Vec<Insn> {
    asm::assemble(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(differences: &str) {
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn who_may_call_which_helper() {
    if !probe() {
        return;
    }
    let mut differences = String::new();
    for ty in loadable() {
        for proto in helpers::all().iter().filter(|proto| !ABSENT.contains(&proto.name)) {
            let insns = assemble(&format!("call x#{}\nr0 = 1\nexit", proto.id));
            let log = load(&insns, LoadAs::from(ty)).log;
            let refusals = [
                "cannot use helper",
                "not supported for program type",
                "not allowed in probe",
            ];
            let callable = !refusals.iter().any(|text| log.contains(text));
            let listed = proto.programs.contains(ty.kind);
            if callable != listed {
                let _ = writeln!(
                    differences,
                    "{} {}: Linux {callable}, listed {listed}",
                    ty.section, proto.name
                );
            }
            let sleeps = log.contains("helper call might sleep in a non-sleepable prog");
            if callable && sleeps != proto.might_sleep {
                let _ = writeln!(differences, "{} might sleep: Linux {sleeps}", proto.name);
            }
            let proprietary = LoadAs {
                license: c"Proprietary",
                ..LoadAs::from(ty)
            };
            let gpl = load(&insns, proprietary).log.contains("GPL-restricted");
            // Some programs have a variant of their own.
            let variant = [
                (ProgramKind::KprobeSession, "bpf_get_func_ip"),
                (ProgramKind::PerfEvent, "bpf_get_stackid"),
            ];
            if callable && gpl != proto.gpl_only && !variant.contains(&(ty.kind, proto.name)) {
                let _ = writeln!(differences, "{} {} GPL-only: Linux {gpl}", ty.section, proto.name);
            }
        }
    }
    check(&differences);
}

#[test]
fn fields_of_contexts() {
    if !probe() {
        return;
    }
    // What Linux accepts and the tables do not: bytes before a tracepoint's record, a part of a field of 2 bytes that is
    // listed with 4, parts of a pointer.
    let stricter = |ty: &ProgramType, start: u32| match ty.kind {
        ProgramKind::CgroupSock | ProgramKind::CgroupPostBind4 | ProgramKind::CgroupPostBind6 => start == 49,
        ProgramKind::RawTracepointWritable => start < 8,
        _ => false,
    };
    let mut differences = String::new();
    for ty in loadable() {
        let Some(context) = program_types::context(ty.kind) else {
            continue;
        };
        for start in 0..context.size.min(256) {
            for (len, word) in [(1, "u8"), (2, "u16"), (4, "u32"), (8, "u64")] {
                for store in [false, true] {
                    let access = if store {
                        format!("*({word} *)(r1 +{start}) = 0")
                    } else {
                        format!("r0 = *({word} *)(r1 +{start})")
                    };
                    let insns = assemble(&format!("{access}\nr0 = 1\nexit"));
                    let Outcome { log, error } = kernel::load(&insns, LoadAs::from(ty), LogLevel::Everything);
                    let listed = context.fields.iter().find(|field| {
                        let widths = if store { field.stores } else { field.loads };
                        let inside = field.off <= start && start + len <= field.off + field.size;
                        inside && widths.allow(field.off, start, len)
                    });
                    let number = log.contains("R0_w=scalar") || log.contains("R0=scalar") || len == 8;
                    let agrees = match listed {
                        None => error.is_some() || stricter(ty, start),
                        Some(field) if store => error.is_none() && field.kind.is_number(),
                        Some(field) => error.is_none() && (!field.kind.is_number() || number),
                    };
                    if !agrees {
                        let _ = writeln!(differences, "{}: {access}: Linux {error:?}", ty.section);
                    }
                }
            }
        }
    }
    check(&differences);
}

#[test]
fn what_programs_return() {
    if !probe() {
        return;
    }
    let mut differences = String::new();
    for ty in loadable() {
        for value in [i32::MIN, -4096, -4095, -1, 0, 1, 2, 3, 4, i32::MAX] {
            for &attach_type in ty.attach_types {
                let load_as = LoadAs {
                    attach_type,
                    ..LoadAs::from(ty)
                };
                let refused = load(&assemble(&format!("r0 = {value}\nexit")), load_as).error;
                let listed = ty.return_range.is_none_or(|(min, max)| (min..=max).contains(&value));
                if refused.is_none() != listed {
                    let attach = program_types::attach_type_name(attach_type);
                    let _ = writeln!(differences, "{} {attach:?}: {value}: Linux {refused:?}", ty.section);
                }
            }
        }
    }
    check(&differences);
}

/// A map of each type that can be made without BTF and without arguments.
fn maps() -> BTreeMap<MapKind, OwnedFd> {
    let mut maps = BTreeMap::new();
    for ty in map_types::all() {
        let size = |rule: SizeRule| match rule {
            SizeRule::OneOf(sizes) => sizes[0],
            SizeRule::Between(min, max) => 8.clamp(min, max),
            SizeRule::MultipleOf8(_) => 64,
        };
        let entries = match ty.entries {
            EntriesRule::Some => 1,
            EntriesRule::Zero => 0,
            EntriesRule::RingSize => 4096,
        };
        // A trie has to be made without reserving its elements.
        let flags = u32::from(ty.kind == MapKind::LpmTrie);
        let inner = maps
            .get(&MapKind::Hash)
            .map_or(0, |map: &OwnedFd| map.as_raw_fd() as u32);
        let inner = if matches!(ty.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
            inner
        } else {
            0
        };
        if let Ok(map) = make_map(ty.kind.number(), size(ty.key), size(ty.value), entries, flags, inner) {
            maps.insert(ty.kind, map);
        }
    }
    maps
}

/// Instructions that set up arguments of which the helper accepts each, if there are such for all of them.
fn arguments(proto: &HelperProto, map: &OwnedFd) -> Option<String> {
    let mut text = "r6 = r1\n".to_owned();
    for off in (-512..0).step_by(8).rev() {
        let _ = writeln!(text, "*(u64 *)(r10 {off}) = 0");
    }
    for (i, arg) in proto.args.iter().enumerate() {
        let reg = i + 1;
        let _ = match arg {
            ArgType::None => Ok(()),
            ArgType::Anything | ArgType::Size | ArgType::SizeOrZero => writeln!(text, "r{reg} = 8"),
            ArgType::Context | ArgType::ContextOrNull => writeln!(text, "r{reg} = r6"),
            ArgType::ConstMap => writeln!(text, "r{reg} = map[fd:{}]", map.as_raw_fd()),
            arg if arg.memory().is_some() => writeln!(text, "r{reg} = r10\nr{reg} += -512"),
            _ => return None,
        };
    }
    Some(text)
}

/// A kind of program that calls the helper as it is listed.
fn kind_for(proto: &HelperProto) -> Option<&'static ProgramType> {
    // Outside of traffic control this one takes no context.
    let tc = proto.name == "bpf_get_cgroup_classid";
    let probed = !proto.might_sleep && !ABSENT.contains(&proto.name);
    loadable().find(|ty| probed && proto.programs.contains(ty.kind) && (!tc || ty.kind == ProgramKind::Tc))
}

#[test]
fn maps_and_helpers() {
    if !probe() {
        return;
    }
    let maps = maps();
    assert!(maps.len() >= 25, "only {} types of maps can be made", maps.len());
    let mut differences = String::new();
    for proto in helpers::all()
        .iter()
        .filter(|proto| proto.args.contains(&ArgType::ConstMap))
    {
        let Some(ty) = kind_for(proto).filter(|_| !proto.maps.is_empty()) else {
            continue;
        };
        for (kind, map) in &maps {
            // Maps without keys or values, those that only the host writes, and values that are sockets are refused as
            // arguments, before their type is looked at.
            let key = map_types::of(*kind).key.allows(0)
                && proto
                    .args
                    .iter()
                    .any(|arg| arg.memory().is_some_and(|mem| mem.size == MemSize::MapKey));
            let value = map_types::of(*kind).value.allows(0)
                && proto
                    .args
                    .iter()
                    .any(|arg| arg.memory().is_some_and(|mem| mem.size == MemSize::MapValue));
            let Some(arguments) = arguments(proto, map).filter(|_| !key && !value) else {
                continue;
            };
            let text = format!("{arguments}call x#{}\nr0 = 1\nexit", proto.id)
                .replace("r2 = 8\ncall x#81", "r2 = 0\ncall x#81");
            let outcome = load(&assemble(&text), LoadAs::from(ty));
            let log = &outcome.log;
            let refused = log.contains("cannot pass map_type")
                || log.contains("expected prog array map")
                || log.contains("invalid arg_type for sockmap/sockhash");
            let as_argument = log.contains("write into map forbidden") || log.contains("expected=sock_common");
            if refused == proto.maps.contains(kind) && !as_argument {
                let last = outcome.message();
                let name = map_types::of(*kind).name;
                let _ = writeln!(differences, "{} with {name}: Linux says {last:?}", proto.name);
            }
        }
    }
    check(&differences);
}

#[test]
fn arguments_of_helpers() {
    if !probe() {
        return;
    }
    let maps = maps();
    let mut differences = String::new();
    let mut checked = 0;
    for proto in helpers::all() {
        let kind = proto.maps.iter().find(|kind| maps.contains_key(kind));
        let map = &maps[kind.unwrap_or(&MapKind::Hash)];
        let (Some(ty), Some(arguments)) = (kind_for(proto), arguments(proto, map)) else {
            continue;
        };
        checked += 1;
        for (i, arg) in proto.args.iter().enumerate() {
            let reg = i + 1;
            // With nothing in the register, a number, and the context: which of them does the helper take?
            let says = |setup: &str| {
                // A call leaves nothing in the registers of arguments.
                let clear = "call x#7\n";
                let (before, after) = arguments.split_at(arguments.find("*(u64 *)(r10 -512) = 0\n").unwrap_or(0) + 23);
                let kept: String = after
                    .lines()
                    .filter(|line| !line.starts_with(&format!("r{reg} ")))
                    .fold(String::new(), |text, line| text + line + "\n");
                let text = format!("{before}{clear}{kept}{setup}call x#{}\nr0 = 1\nexit", proto.id);
                let Outcome { log, error } = load(&assemble(&text), LoadAs::from(ty));
                let named = error.is_some() && log.lines().any(|line| line.starts_with(&format!("R{reg} ")));
                (!named, log)
            };
            let empty = says("").0;
            let zero = says(&format!("r{reg} = 0\n")).0;
            let number = says(&format!("r{reg} = -1\n")).0;
            let context = says(&format!("r{reg} = r6\n")).0;
            let expected = match arg {
                ArgType::None => (true, true, true, true),
                ArgType::Anything => (false, true, true, true),
                ArgType::Context => (false, false, false, true),
                ArgType::ContextOrNull => (false, true, false, true),
                ArgType::Size => (false, false, false, false),
                ArgType::SizeOrZero => (false, true, false, false),
                // NULL will do for no bytes, and these are eight.
                _ => (false, false, false, false),
            };
            if (empty, zero, number, context) != expected {
                let found = (empty, zero, number, context);
                let _ = writeln!(
                    differences,
                    "{} r{reg} {arg:?}: {found:?}, expected {expected:?}",
                    proto.name
                );
            }
        }
    }
    assert!(checked > 100, "only {checked} helpers");
    check(&differences);
}

#[test]
fn helpers_that_take_packet_memory() {
    if !probe() {
        return;
    }
    let maps = maps();
    let mut differences = String::new();
    let mut checked = 0;
    // Where the context has the pointers to the packet and its end.
    let packets = [(ProgramKind::Tc, 76, 80), (ProgramKind::Xdp, 0, 4)];
    for proto in helpers::all() {
        let kind = proto.maps.iter().find(|kind| maps.contains_key(kind));
        let map = &maps[kind.unwrap_or(&MapKind::Hash)];
        let packet = packets.iter().find(|(kind, ..)| proto.programs.contains(*kind));
        let (Some(&(kind, data, end)), Some(arguments)) = (packet, arguments(proto, map)) else {
            continue;
        };
        let memory = proto.args.iter().enumerate().filter(|(_, arg)| arg.memory().is_some());
        for (i, _) in memory {
            let reg = i + 1;
            let text = format!(
                "r7 = *(u32 *)(r1 +{data})\nr8 = *(u32 *)(r1 +{end})\n{arguments}r9 = r7\nr9 += 64\n\
                 if r9 > r8 goto end\nr{reg} = r7\ncall x#{}\nend:\nr0 = 1\nexit",
                proto.id
            );
            let outcome = load(&assemble(&text), LoadAs::from(program_types::of(kind)));
            let refused = outcome.log.contains("helper access to the packet is not allowed");
            let asked = refused || outcome.error.is_none() || outcome.log.contains("reference leak");
            checked += usize::from(asked);
            if asked && refused == proto.packet {
                let _ = writeln!(differences, "{} r{reg}: Linux refuses it: {refused}", proto.name);
            }
        }
    }
    assert!(checked > 20, "only {checked} arguments");
    check(&differences);
}

#[test]
fn sizes_of_keys_and_values() {
    if !probe() {
        return;
    }
    let made = maps();
    let hash = made[&MapKind::Hash].as_raw_fd() as u32;
    let mut differences = String::new();
    for ty in map_types::all().iter().filter(|ty| made.contains_key(&ty.kind)) {
        let entries = match ty.entries {
            EntriesRule::Some => 1,
            EntriesRule::Zero => 0,
            EntriesRule::RingSize => 4096,
        };
        let inner = if matches!(ty.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
            hash
        } else {
            0
        };
        let flags = u32::from(ty.kind == MapKind::LpmTrie);
        for key in [0, 1, 3, 4, 5, 8, 16, 260, 261, 512, 513, 4096] {
            for value in [0, 1, 4, 8, 12, 64, 1016, 1024, 32_768, 32_769] {
                let made = make_map(ty.kind.number(), key, value, entries, flags, inner);
                if made.is_ok() != ty.allows(key, value) {
                    let _ = writeln!(differences, "{}: key {key} value {value}: Linux {made:?}", ty.name);
                }
            }
        }
    }
    check(&differences);
}

#[test]
fn kfuncs_of_iterators_and_dynptrs_are_listed() {
    for name in [
        "bpf_iter_num_new",
        "bpf_iter_num_next",
        "bpf_iter_num_destroy",
        "bpf_dynptr_slice",
    ] {
        assert!(kfuncs::by_name(name).is_some(), "{name}");
    }
}
