//! What a section's name says about the programs in it.

use std::fmt;

use crate::program_type::{AttachType, ProgramType};
use crate::sections::SECTIONS;

/// Where the programs of a section run.
///
/// # Examples
/// ```
/// use hitless_object::{AttachType, ProgramType, SectionKind};
///
/// let SectionKind::Program(kind) = SectionKind::of("fexit.s/bpf_fentry_test1") else { panic!() };
/// assert_eq!((kind.program_type, kind.attach_type), (ProgramType::Tracing, Some(AttachType::TraceFexit)));
/// assert_eq!((kind.sleepable, kind.target), (true, Some("bpf_fentry_test1")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionKind<'a> {
    /// One of libbpf's names.
    Program(ProgramKind<'a>),
    /// `map_trace/<map>/<event>`.
    MapTrace {
        /// The map's name.
        map: &'a str,
        /// What it is called for.
        event: MapEvent,
    },
    /// `migrate/<map>`: it makes the elements of the new map out of those of the old one.
    Migrate {
        /// The map's name.
        map: &'a str,
    },
    /// `hook/<name>`: a hook whose context the host defines.
    Hook {
        /// The hook's name.
        name: &'a str,
    },
    /// The name does not say what its programs are.
    Unknown {
        /// Why, and what to write instead, to follow the section's name.
        reason: &'static str,
    },
}

/// A kind of program that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramKind<'a> {
    /// The name without its target, as libbpf has it ("fentry.s").
    pub section: &'static str,
    /// What it is.
    pub program_type: ProgramType,
    /// What it expects to be attached as; `None` if that says nothing, or more than the name is needed to tell.
    pub attach_type: Option<AttachType>,
    /// Whether it may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// Whether it handles packets in several fragments (`BPF_F_XDP_HAS_FRAGS`).
    pub frags: bool,
    /// Whether what it is attached to is found by BTF id.
    pub attach_btf: bool,
    /// What it is attached to: what follows the first `/` after `section`, as it stands: a function, perhaps with an
    /// offset (`kprobe`), `<category>/<name>` (`tp`), `<path>:<function>` (`uprobe`), `<path>:<provider>:<name>` (`usdt`).
    pub target: Option<&'a str>,
    /// Whether the name is one that libbpf takes before version 1.0 only ("xdp_prog", "classifier/from").
    pub legacy: bool,
}

/// What happens to an element of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapEvent {
    /// `UPDATE_ELEM`: it is set.
    Update,
    /// `DELETE_ELEM`: it is deleted.
    Delete,
    /// `EVICT_ELEM`: the map makes room for another.
    Evict,
}

impl<'a> SectionKind<'a> {
    /// Reads a section's name. A leading `?` (libbpf: do not load by default) says nothing about where programs run.
    #[must_use]
    pub fn of(section: &'a str) -> SectionKind<'a> {
        let name = section.strip_prefix('?').unwrap_or(section);
        let (head, rest) = name.split_once('/').unwrap_or((name, ""));
        match head {
            "map_trace" => match rest.rsplit_once('/') {
                Some((map, event)) if !map.is_empty() => match MapEvent::of(event) {
                    Some(event) => SectionKind::MapTrace { map, event },
                    None => SectionKind::unknown(
                        "names no event of maps, expected map_trace/<map>/<UPDATE_ELEM|DELETE_ELEM|EVICT_ELEM>",
                    ),
                },
                _ => SectionKind::unknown(
                    "names no map and event, expected map_trace/<map>/<UPDATE_ELEM|DELETE_ELEM|EVICT_ELEM>",
                ),
            },
            "migrate" if rest.is_empty() => SectionKind::unknown("names no map, expected migrate/<map>"),
            "migrate" => SectionKind::Migrate { map: rest },
            "hook" if rest.is_empty() => SectionKind::unknown("names no hook, expected hook/<name>"),
            "hook" => SectionKind::Hook { name: rest },
            _ => ProgramKind::of(name).map_or_else(|| SectionKind::unknown(why_unknown(name)), SectionKind::Program),
        }
    }

    /// The type of its programs, in the kernel's word if the kernel has it: "xdp", "map_trace"; "unknown" if the name does
    /// not say.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            SectionKind::Program(kind) => kind.program_type.name(),
            SectionKind::MapTrace { .. } => "map_trace",
            SectionKind::Migrate { .. } => "migrate",
            SectionKind::Hook { .. } => "hook",
            SectionKind::Unknown { .. } => "unknown",
        }
    }

    fn unknown(reason: &'static str) -> SectionKind<'a> {
        SectionKind::Unknown { reason }
    }
}

impl<'a> ProgramKind<'a> {
    fn of(name: &'a str) -> Option<ProgramKind<'a>> {
        let strict = SECTIONS.iter().find_map(|def| match name.strip_prefix(def.name)? {
            "" => Some((def, None, false)),
            rest => Some((def, Some(rest.strip_prefix('/').filter(|_| def.extends)?), false)),
        });
        let loose = || {
            let mut defs = SECTIONS.iter().filter(|def| def.loose);
            defs.find_map(|def| Some((def, name.strip_prefix(def.name)?.strip_prefix('/'), true)))
        };
        let (def, target, legacy) = strict.or_else(loose)?;
        Some(ProgramKind {
            section: def.name,
            program_type: def.program_type,
            attach_type: def.attach_type,
            sleepable: def.sleepable,
            frags: def.frags,
            attach_btf: def.attach_btf,
            target: target.filter(|target| !target.is_empty()),
            legacy,
        })
    }
}

fn why_unknown(name: &str) -> &'static str {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match name.split_once('/') {
        _ if name == ".text" || name.starts_with(".text.") => {
            "holds functions without a section of their own: say what the program is with SEC(\"...\")"
        }
        Some((map, index)) if number(map) && number(index) => {
            "is iproute2's notation for an element of a prog array: use SEC(\"tc\"), and give the map initial values"
        }
        _ if name == "prog" => "is iproute2's name for programs of any type: use SEC(\"xdp\") or SEC(\"tc\")",
        _ => "names no program type, expected one of libbpf's section names, hook/..., map_trace/... or migrate/...",
    }
}

impl MapEvent {
    fn of(name: &str) -> Option<MapEvent> {
        [MapEvent::Update, MapEvent::Delete, MapEvent::Evict]
            .into_iter()
            .find(|event| event.name() == name)
    }

    /// The event as section names have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MapEvent::Update => "UPDATE_ELEM",
            MapEvent::Delete => "DELETE_ELEM",
            MapEvent::Evict => "EVICT_ELEM",
        }
    }
}

impl fmt::Display for MapEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> ProgramKind<'_> {
        match SectionKind::of(name) {
            SectionKind::Program(kind) => kind,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn reason(name: &str) -> &'static str {
        match SectionKind::of(name) {
            SectionKind::Unknown { reason } => reason,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn every_name_stands_for_itself() {
        for def in SECTIONS {
            let found = kind(def.name);
            assert_eq!(
                (
                    found.section,
                    found.program_type,
                    found.attach_type,
                    found.target,
                    found.legacy
                ),
                (def.name, def.program_type, def.attach_type, None, false)
            );
            let optional = format!("?{}", def.name);
            assert_eq!(kind(&optional), found);
            let with_target = format!("{}/a/b:c", def.name);
            match SectionKind::of(&with_target) {
                SectionKind::Program(found) if def.extends => {
                    assert_eq!(
                        (found.section, found.target, found.legacy),
                        (def.name, Some("a/b:c"), false)
                    );
                }
                SectionKind::Program(found) => assert!(found.legacy, "{with_target}"),
                SectionKind::Unknown { .. } => assert!(!def.extends && !def.loose, "{with_target}"),
                other => panic!("{other:?}"),
            }
        }
        let mut names: Vec<_> = SECTIONS.iter().map(|def| def.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SECTIONS.len(), "each name is there once");
    }

    #[test]
    fn targets_are_kept_as_they_are() {
        for (section, name, target) in [
            ("kprobe/do_unlinkat+0x10", "kprobe", Some("do_unlinkat+0x10")),
            ("uprobe//proc/self/exe:main+8", "uprobe", Some("/proc/self/exe:main+8")),
            ("usdt/libc.so.6:libc:setjmp", "usdt", Some("libc.so.6:libc:setjmp")),
            ("tp/syscalls/sys_enter_write", "tp", Some("syscalls/sys_enter_write")),
            ("uretprobe.multi.s/./app:f*", "uretprobe.multi.s", Some("./app:f*")),
            ("raw_tp.w/bpf_testmod", "raw_tp.w", Some("bpf_testmod")),
            ("fentry/", "fentry", None),
            ("fentry", "fentry", None),
        ] {
            let found = kind(section);
            assert_eq!(
                (found.section, found.target, found.legacy),
                (name, target, false),
                "{section}"
            );
        }
    }

    #[test]
    fn names_of_old_objects() {
        for (section, name, target) in [
            ("xdp/eth0", "xdp", Some("eth0")),
            ("xdp_prog", "xdp", None),
            ("xdp.frags/eth0", "xdp.frags", Some("eth0")),
            ("classifier/from-container", "classifier", Some("from-container")),
            ("tc_ingress", "tc", None),
            ("cgroup_skb/ingress/block", "cgroup_skb/ingress", Some("block")),
            ("socket1", "socket", None),
        ] {
            let found = kind(section);
            assert_eq!(
                (found.section, found.target, found.legacy),
                (name, target, true),
                "{section}"
            );
        }
        for section in ["kprobes/x", "kprobe_x", "tpx", "fentryx/f", "syscalls", "maps"] {
            assert!(reason(section).starts_with("names no program type"), "{section}");
        }
        assert!(reason("prog").starts_with("is iproute2's name"));
        assert!(reason("2/17").starts_with("is iproute2's notation"));
        assert!(reason(".text").starts_with("holds functions without a section"));
    }

    #[test]
    fn our_own_names() {
        let trace = |map, event| SectionKind::MapTrace { map, event };
        for event in [MapEvent::Update, MapEvent::Delete, MapEvent::Evict] {
            assert_eq!(
                SectionKind::of(&format!("map_trace/flows/{event}")),
                trace("flows", event)
            );
        }
        assert_eq!(SectionKind::of("?migrate/flows"), SectionKind::Migrate { map: "flows" });
        for name in ["map_trace", "map_trace/flows", "map_trace//UPDATE_ELEM"] {
            assert!(reason(name).starts_with("names no map and event"), "{name}");
        }
        assert!(reason("map_trace/flows/LOOKUP").starts_with("names no event of maps"));
        assert!(reason("migrate/").starts_with("names no map,"));
        assert_eq!(SectionKind::of("hook/request"), SectionKind::Hook { name: "request" });
        assert!(reason("hook").starts_with("names no hook,") && reason("hook/").starts_with("names no hook,"));
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!((ProgramType::Netfilter.number(), ProgramType::ALL.len()), (32, 32));
        assert_eq!(
            (AttachType::TraceUprobeSession.number(), AttachType::ALL.len()),
            (57, 58)
        );
        assert!(
            AttachType::ALL
                .iter()
                .zip(0..)
                .all(|(ty, number)| ty.number() == number)
        );
        assert_eq!(
            (ProgramType::SchedCls.name(), AttachType::Xdp.to_string()),
            ("sched_cls", "xdp".into())
        );
    }
}
