//! What the verifier is told of a program in an object: which maps there are, what sort of program it is, what that sort
//! is given and may call.
//!
//! It does not depend on what the runtime can host: loading and verifying begin here, and loading then has its own limits
//! ([`load`](crate::load)).

use hitless_btf::{Btf, TypeId};
use hitless_isa::{Imm64, Insn, Instruction, decode};
use hitless_object::{MapEvent, MapSpec, ObjectSpec, ProgramSpec, SectionKind};
use hitless_verifier::{
    ContextFacts, GlobalFunc, HelperProto, KfuncProto, Log, MapFacts, MapKind, OwnTypes, Poisoned, ProgramInput,
    ProgramKind, Rejection, SourceLine, ValueFields, Verified, tables, verify, verify_logged,
};
use tables::program_types::{ContextError, context_for, is_supported_member};

use crate::func::global_funcs;

/// `BPF_F_RDONLY_PROG`.
pub(crate) const F_RDONLY_PROG: u32 = 1 << 7;

/// `BPF_F_WRONLY_PROG`.
const F_WRONLY_PROG: u32 = 1 << 8;

/// What a program is to the verifier, by its section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sort<'a> {
    /// What it is.
    pub(crate) kind: ProgramKind,
    /// For map tracing: of what.
    pub(crate) event: Option<MapEvent>,
    /// Whether it may sleep.
    pub(crate) sleepable: bool,
    /// What it is attached to, as its section says it.
    pub(crate) target: Option<&'a str>,
}

impl<'a> Sort<'a> {
    /// What the section says, or why it says nothing (to follow the section's name).
    pub(crate) fn of(section: SectionKind<'a>) -> Result<Sort<'a>, &'static str> {
        match section {
            SectionKind::Program(section) => {
                let number = section.program_type.number();
                let attach_type = section.attach_type.map_or(0, |ty| ty.number());
                // Some types may leave open how they are attached.
                let mut types = tables::program_types::all().iter();
                let kind = tables::program_types::by_number(number, attach_type)
                    .or_else(|| types.find(|ty| section.attach_type.is_none() && ty.number == number))
                    .ok_or("has programs of a type that is not known")?
                    .kind;
                Ok(Sort {
                    kind,
                    event: None,
                    sleepable: section.sleepable,
                    target: section.target,
                })
            }
            SectionKind::MapTrace { map, event } => Ok(Sort {
                kind: ProgramKind::MapTrace,
                event: Some(event),
                sleepable: false,
                target: Some(map),
            }),
            SectionKind::Hook { name } => Ok(Sort {
                kind: ProgramKind::Hook,
                event: None,
                sleepable: false,
                target: Some(name),
            }),
            SectionKind::Unknown { reason } => Err(reason),
            _ => Err("has programs of a type that is not verified yet"),
        }
    }

    /// What such programs are given, if they are attached to `target`, which the types of the host describe; or why that is
    /// not known.
    pub(crate) fn context(&self, target: Option<&str>, types: Option<&Btf>) -> Result<ContextFacts, ContextError> {
        let target = match self.event {
            Some(MapEvent::Update) => Some("update_elem"),
            Some(MapEvent::Delete) => Some("delete_elem"),
            Some(MapEvent::Evict) => Some("evict_elem"),
            None => target,
        };
        if let (ProgramKind::StructOps, Some((owner, member))) =
            (self.kind, target.and_then(|name| name.split_once('.')))
            && !is_supported_member(owner, member, self.sleepable)
        {
            return Err(ContextError::UnsupportedMember {
                owner: owner.to_owned(),
                member: member.to_owned(),
            });
        }
        Ok(ContextFacts {
            sleepable: self.sleepable,
            ..context_for(self.kind, target, types)?
        })
    }
}

/// What a program is attached to, in the words of [`context_for`]: what its section names, or the member that it implements
/// of a struct.
pub(crate) fn target(object: &ObjectSpec, spec: &ProgramSpec, sort: &Sort<'_>) -> Option<String> {
    if sort.kind != ProgramKind::StructOps {
        return sort.target.map(str::to_owned);
    }
    let index = object.programs.iter().position(|program| program.name == spec.name)?;
    let btf = object.btf.as_ref()?;
    let structs = object.maps.iter().filter_map(|map| map.struct_ops.as_ref());
    structs
        .flat_map(|ops| ops.functions.iter().map(move |function| (ops, function)))
        .find(|(_, function)| function.program == index)
        .and_then(|(ops, function)| {
            let mut members = btf.members(ops.ty).iter();
            let member = members.find(|member| member.bit_offset == function.offset * 8)?;
            Some(format!("{}.{}", ops.type_name, member.name))
        })
}

/// What a map of an object with these types is like, or why there is no such map. Pointers in its values are to objects of
/// `host`.
pub(crate) fn map_facts(spec: &MapSpec, types: Option<&Btf>, host: Option<&Btf>) -> Result<MapFacts, String> {
    let Some(ty) = tables::map_types::by_number(spec.map_type) else {
        return Err(format!("type {} is not known", spec.map_type));
    };
    let inner = spec
        .inner
        .as_deref()
        .map(|inner| map_facts(inner, types, host))
        .transpose();
    let inner = inner.map_err(|reason| format!("the maps in it: {reason}"))?;
    let fields = value_fields(types, spec.value_type, host);
    let readonly_prog = spec.flags & F_RDONLY_PROG != 0;
    let frozen = spec.data.as_ref().filter(|_| spec.frozen && readonly_prog);
    Ok(MapFacts {
        name: spec.name.clone(),
        kind: ty.kind,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        readonly_prog,
        writeonly_prog: spec.flags & F_WRONLY_PROG != 0,
        frozen: frozen.map(|data| whole(data, spec.value_size)),
        spin_lock: spec.spin_lock,
        timer: spec.timer,
        inner: inner.map(Box::new),
        kptrs: fields.kptrs,
        managed: fields.managed,
        graph: fields.graph,
    })
}

/// The fields of a value that are more than bytes.
pub(crate) fn value_fields(types: Option<&Btf>, value: Option<TypeId>, host: Option<&Btf>) -> ValueFields {
    let found = types
        .zip(value)
        .map(|(types, value)| ValueFields::find(types, value, host));
    found.unwrap_or_default()
}

/// The first map that a program uses although programs of its sort may not, and why, in the kernel's words.
pub(crate) fn forbidden_use<'m>(
    kind: ProgramKind,
    sleepable: bool,
    insns: &[Insn],
    maps: &'m [MapFacts],
) -> Option<(&'m MapFacts, &'static str)> {
    let used = || used_maps(insns).filter_map(|index| maps.get(index));
    used().find_map(|map| {
        let another = || used().any(|other| other.kind == map.kind && other.name != map.name);
        let storage = matches!(map.kind, MapKind::CgroupStorage | MapKind::PercpuCgroupStorage);
        let reason = forbidden_map(kind, map)
            .or_else(|| forbidden_to_sleepers(map.kind).filter(|_| sleepable))
            .or_else(|| (storage && another()).then_some("only one cgroup storage of each type is allowed"));
        reason.map(|reason| (map, reason))
    })
}

/// Why programs of a sort may not use such a map, in the kernel's words.
fn forbidden_map(kind: ProgramKind, map: &MapFacts) -> Option<&'static str> {
    let observes = matches!(
        kind,
        ProgramKind::Kprobe
            | ProgramKind::KprobeSession
            | ProgramKind::Tracepoint
            | ProgramKind::PerfEvent
            | ProgramKind::RawTracepoint
            | ProgramKind::RawTracepointWritable
    );
    // They may interrupt the holder of the lock.
    match kind {
        _ if observes && map.spin_lock.is_some() => Some("tracing progs cannot use bpf_spin_lock yet"),
        ProgramKind::SocketFilter if map.spin_lock.is_some() => {
            Some("socket filter progs cannot use bpf_spin_lock yet")
        }
        _ if observes && map.timer.is_some() => Some("tracing progs cannot use bpf_timer yet"),
        _ => None,
    }
}

/// Why programs that may sleep may not use such a map, in the kernel's words.
fn forbidden_to_sleepers(kind: MapKind) -> Option<&'static str> {
    use MapKind::{
        Arena, Array, ArrayOfMaps, CgrpStorage, Hash, HashOfMaps, InodeStorage, LruHash, LruPercpuHash, PercpuArray,
        PercpuHash, Queue, Ringbuf, SkStorage, Stack, TaskStorage, UserRingbuf,
    };
    match kind {
        Hash | LruHash | Array | PercpuHash | PercpuArray | LruPercpuHash => None,
        ArrayOfMaps | HashOfMaps | Ringbuf | UserRingbuf | Queue | Stack => None,
        InodeStorage | SkStorage | TaskStorage | CgrpStorage | Arena => None,
        _ => Some("Sleepable programs can only use array, hash, ringbuf and local storage maps"),
    }
}

/// The maps that instructions name, by index.
pub(crate) fn used_maps(insns: &[Insn]) -> impl Iterator<Item = usize> {
    (0..insns.len()).filter_map(|pc| match decode(insns, pc) {
        Ok(Instruction::LoadImm64 {
            imm: Imm64::MapIdx(index) | Imm64::MapValueIdx { index, .. },
            ..
        }) => Some(index as usize),
        _ => None,
    })
}

/// The only element of global data: what the object leaves out is zero.
pub(crate) fn whole(data: &[u8], value_size: u32) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(value_size as usize, 0);
    data
}

/// Everything that [`ProgramInput`] borrows, but for the maps.
pub(crate) struct ProgramFacts<'a> {
    spec: &'a ProgramSpec,
    types: Option<&'a Btf>,
    own: Option<OwnTypes<'a>>,
    context: ContextFacts,
    helpers: Vec<HelperProto>,
    kfuncs: Vec<KfuncProto>,
    gpl_compatible: bool,
    lines: Vec<SourceLine>,
    poisoned: Vec<Poisoned>,
    global_funcs: Vec<GlobalFunc>,
}

impl<'a> ProgramFacts<'a> {
    /// The facts about a program of a relocated object, that is of this sort, is given this and may call these helpers, and kernel functions
    /// that nothing speaks against, where the host's objects are of these types.
    pub(crate) fn new(
        object: &'a ObjectSpec,
        spec: &'a ProgramSpec,
        kind: ProgramKind,
        context: ContextFacts,
        helpers: Vec<HelperProto>,
        excluded: impl Fn(&KfuncProto) -> Option<&'static str>,
        types: Option<&'a Btf>,
    ) -> ProgramFacts<'a> {
        let kfuncs = spec.kfuncs.iter().map(|kfunc| {
            let proto = KfuncProto::new(kind, kfunc.id, 0, &kfunc.name);
            KfuncProto {
                excluded: excluded(&proto),
                ..proto
            }
        });
        let lines = spec.lines.iter().map(|line| SourceLine {
            pc: line.pc,
            file: line.file.to_string(),
            line: line.line,
            text: line.text.trim().to_owned(),
        });
        let poisoned = spec.poisoned.iter().map(|poisoned| Poisoned {
            pc: poisoned.pc,
            missing: poisoned.missing.to_string(),
        });
        ProgramFacts {
            spec,
            types,
            own: object.btf.as_ref().map(|btf| OwnTypes::new(btf, types)),
            helpers,
            kfuncs: kfuncs.collect(),
            gpl_compatible: is_gpl_compatible(&object.license),
            lines: lines.collect(),
            poisoned: poisoned.collect(),
            global_funcs: global_funcs(object.btf.as_ref(), spec, &context.name, types),
            context,
        }
    }

    /// It takes the place of a function of another program, with these arguments.
    pub(crate) fn replace(&mut self, function: GlobalFunc) {
        self.global_funcs.insert(0, function);
    }

    /// Verifies the program with maps like these.
    pub(crate) fn verify(&self, maps: &[MapFacts], log: Option<&mut Log>) -> Result<Verified, Rejection> {
        let input = ProgramInput {
            name: &self.spec.name,
            insns: &self.spec.insns,
            maps,
            context: &self.context,
            helpers: &self.helpers,
            kfuncs: &self.kfuncs,
            gpl_compatible: self.gpl_compatible,
            lines: &self.lines,
            poisoned: &self.poisoned,
            global_funcs: &self.global_funcs,
            types: self.types,
            own: self.own.as_ref(),
        };
        match log {
            Some(log) => verify_logged(&input, log),
            None => verify(&input),
        }
    }
}

/// Licenses under which the kernel lets programs call GPL-only helpers (`license_is_gpl_compatible`).
#[must_use]
pub fn is_gpl_compatible(license: &str) -> bool {
    [
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
    ]
    .contains(&license)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(section: &str) -> Sort<'_> {
        Sort::of(SectionKind::of(section)).unwrap()
    }

    #[test]
    fn sections_say_what_programs_are() {
        assert_eq!(sort("xdp").kind, ProgramKind::Xdp);
        assert_eq!(sort("cgroup_skb/egress").kind, ProgramKind::CgroupSkbEgress);
        assert_eq!(sort("sk_skb").kind, ProgramKind::SkSkb);
        let found = sort("lsm.s/file_open");
        assert_eq!(
            (found.kind, found.sleepable, found.target),
            (ProgramKind::Lsm, true, Some("file_open"))
        );
        assert!(sort("syscall").context(None, None).unwrap().sleepable);
        assert!(sort("map_trace/flows/UPDATE_ELEM").context(None, None).is_ok());
        assert!(sort("map_trace/flows/EVICT_ELEM").context(None, None).is_ok());
        assert!(Sort::of(SectionKind::of("nothing")).is_err());
    }

    #[test]
    fn every_section_has_a_sort() {
        for ty in tables::program_types::all() {
            let section = match ty.kind {
                ProgramKind::MapTrace => "map_trace/flows/UPDATE_ELEM",
                ProgramKind::Hook => "hook/request",
                _ => ty.section,
            };
            assert_eq!(sort(section).kind, ty.kind, "{section}");
        }
    }

    #[test]
    fn who_may_lock() {
        let spec = MapSpec {
            map_type: 2,
            value_size: 16,
            spin_lock: Some(0),
            ..MapSpec::default()
        };
        let map = map_facts(&spec, None, None).unwrap();
        assert!(forbidden_map(ProgramKind::Kprobe, &map).is_some());
        assert!(forbidden_map(ProgramKind::SocketFilter, &map).is_some());
        assert_eq!(forbidden_map(ProgramKind::Tc, &map), None);
        let timed = MapSpec {
            spin_lock: None,
            timer: Some(0),
            ..spec
        };
        let timer = map_facts(&timed, None, None).unwrap();
        assert!(forbidden_map(ProgramKind::Kprobe, &timer).is_some());
        assert_eq!(forbidden_map(ProgramKind::SocketFilter, &timer), None);
    }

    #[test]
    fn what_sleepers_use() {
        assert!(forbidden_to_sleepers(MapKind::ProgArray).is_some());
        assert!(forbidden_to_sleepers(MapKind::LpmTrie).is_some());
        assert_eq!(forbidden_to_sleepers(MapKind::TaskStorage), None);
    }

    #[test]
    fn members_that_are_not_supported() {
        let sort = Sort::of(SectionKind::of("struct_ops.s/test_2")).unwrap();
        let context = sort.context(Some("bpf_dummy_ops.test_2"), None);
        assert!(matches!(context, Err(ContextError::UnsupportedMember { .. })));
        let context = sort.context(Some("bpf_dummy_ops.test_sleepable"), None);
        assert!(matches!(context, Err(ContextError::NoTypes { .. })));
    }

    #[test]
    fn frozen_data_is_whole() {
        let spec = MapSpec {
            map_type: 2,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: F_RDONLY_PROG,
            data: Some(vec![7]),
            frozen: true,
            ..MapSpec::default()
        };
        assert_eq!(map_facts(&spec, None, None).unwrap().frozen, Some(vec![7, 0, 0, 0]));
        let writable = MapSpec { flags: 0, ..spec };
        assert_eq!(map_facts(&writable, None, None).unwrap().frozen, None);
        assert!(map_facts(&MapSpec::default(), None, None).is_err());
    }
}
