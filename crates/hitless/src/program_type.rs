//! Types of programs: where they may be attached, and which context they get.

use std::fmt;
use std::sync::Arc;

use hitless_object::{MapEvent, ProgramSpec, SectionKind};
use hitless_verifier::{ProgramKind, tables};

use crate::facts::Sort;
use crate::iter::Target;
use crate::load::LoadError;
use crate::trace::TraceEvent;

/// What kind of program: where it may be attached and which context it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramType {
    /// Of a kind whose programs any hook of that kind takes; or an extension whose section names no function.
    Plain(ProgramKind),
    /// Of a kind whose programs are made for one place: a function, a typed tracepoint, a hook of the host, a
    /// function of another program.
    Bound {
        /// The kind.
        kind: ProgramKind,
        /// The name of the place.
        target: Arc<str>,
    },
    /// `BPF_PROG_TYPE_TRACING` with attach type `BPF_TRACE_MAP`.
    MapTrace(TraceEvent),
}

/// The kinds of programs that there are hooks for, extensions, and iterators.
const HOSTED: [ProgramKind; 20] = [
    ProgramKind::SocketFilter,
    ProgramKind::Kprobe,
    ProgramKind::KprobeSession,
    ProgramKind::Tc,
    ProgramKind::Action,
    ProgramKind::Tracepoint,
    ProgramKind::Xdp,
    ProgramKind::PerfEvent,
    ProgramKind::CgroupSkbIngress,
    ProgramKind::CgroupSkbEgress,
    ProgramKind::RawTracepoint,
    ProgramKind::Fentry,
    ProgramKind::Fexit,
    ProgramKind::FmodRet,
    ProgramKind::TpBtf,
    ProgramKind::Iter,
    ProgramKind::Hook,
    ProgramKind::Lsm,
    ProgramKind::Syscall,
    ProgramKind::Ext,
];

impl ProgramType {
    /// `BPF_PROG_TYPE_XDP`.
    pub const XDP: ProgramType = ProgramType::Plain(ProgramKind::Xdp);

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ProgramKind {
        match self {
            ProgramType::Plain(kind) | ProgramType::Bound { kind, .. } => *kind,
            ProgramType::MapTrace(_) => ProgramKind::MapTrace,
        }
    }

    /// The place that such programs are made for.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            ProgramType::Bound { target, .. } => Some(target),
            ProgramType::Plain(_) | ProgramType::MapTrace(_) => None,
        }
    }

    /// What a program that traces maps waits for.
    #[must_use]
    pub fn event(&self) -> Option<TraceEvent> {
        match self {
            ProgramType::MapTrace(event) => Some(*event),
            ProgramType::Plain(_) | ProgramType::Bound { .. } => None,
        }
    }

    /// What a program of an object is, by its section.
    pub(crate) fn of(spec: &ProgramSpec) -> Result<ProgramType, LoadError> {
        let refused = |program_type: &str, reason: &'static str| {
            Err(LoadError::ProgramType {
                program: spec.name.clone(),
                section: spec.section.clone(),
                program_type: program_type.to_owned(),
                reason,
            })
        };
        if let SectionKind::Migrate { .. } = spec.kind() {
            return refused("migrate", "the runtime has no hook for them");
        }
        let sort = Sort::of(spec.kind()).map_err(|reason| LoadError::Section {
            program: spec.name.clone(),
            section: spec.section.clone(),
            reason,
        })?;
        if let Some(event) = sort.event {
            return Ok(ProgramType::MapTrace(event.into()));
        }
        let table = tables::program_types::of(sort.kind);
        if let Some(reason) = table.excluded {
            return refused(table.section, reason);
        }
        if !HOSTED.contains(&sort.kind) {
            return refused(table.section, "the runtime has no hook for them");
        }
        let is_walked = |target| Target::by_name(target).is_some();
        if sort.kind == ProgramKind::Iter && !sort.target.is_some_and(is_walked) {
            return refused(
                table.section,
                "the runtime has iterators of bpf_map_elem, bpf_map, bpf_prog and bpf_link",
            );
        }
        // What extensions take the place of need not be in their section.
        let names_function = sort.kind == ProgramKind::Ext && sort.target.is_some();
        if !(table.is_typed() || names_function) {
            return Ok(ProgramType::Plain(sort.kind));
        }
        match sort.target {
            Some(target) => Ok(ProgramType::Bound {
                kind: sort.kind,
                target: target.into(),
            }),
            None => refused(table.section, "the section does not name what they are attached to"),
        }
    }
}

/// Which hook a section means: what sections of its programs begin with, and its name, if that says one.
pub(crate) fn hook_name(section: &str) -> (&str, Option<&str>) {
    let kind = match SectionKind::of(section) {
        SectionKind::Program(kind) => kind,
        SectionKind::Hook { name } => return ("hook", Some(name)),
        _ => return (section, None),
    };
    let plain = kind.section.trim_end_matches(".s").trim_end_matches(".multi");
    let section = match plain {
        "raw_tracepoint" => "raw_tp",
        "tp" => "tracepoint",
        "uprobe" | "ksyscall" => "kprobe",
        "uretprobe" | "kretsyscall" => "kretprobe",
        "classifier" | "action" | "tcx/ingress" | "tcx/egress" | "netkit/primary" | "netkit/peer" => "tc",
        "xdp.frags" => "xdp",
        "cgroup/skb" => "cgroup_skb/ingress",
        plain => plain,
    };
    // What old loaders took behind a slash was any word, and names no hook.
    (section, kind.target.filter(|_| !kind.legacy))
}

impl fmt::Display for ProgramType {
    /// As section names have it: "xdp", "fentry/do_open".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = tables::program_types::of(self.kind()).section;
        match self {
            ProgramType::Plain(_) => f.write_str(section),
            ProgramType::Bound { target, .. } => write!(f, "{section}/{target}"),
            ProgramType::MapTrace(event) => write!(f, "{section} ({event})"),
        }
    }
}

impl From<MapEvent> for TraceEvent {
    fn from(event: MapEvent) -> TraceEvent {
        match event {
            MapEvent::Update => TraceEvent::UpdateElem,
            MapEvent::Delete => TraceEvent::DeleteElem,
            MapEvent::Evict => TraceEvent::EvictElem,
        }
    }
}
