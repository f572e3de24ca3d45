//! The plan of an upgrade: what becomes of every map and program, and why; or every reason why it cannot be done.
//!
//! It is made from the running object, the description of the new one, and what else is loaded and attached; it changes
//! nothing, and is deterministic.

use std::fmt;
use std::sync::Arc;

use hitless_btf::layout::{Fate, FieldChange, LayoutDiff, Transform, compare};
use hitless_btf::{Btf, TypeId};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};
use hitless_verifier::MapKind;

use super::refusal::{PlanError, Refusal};
use crate::load::Collection;
use crate::load_maps::{map_def, owned_fields};
use crate::map::{Map, MapDef, kind_name};
use crate::objects::Owned;
use crate::program::Program;
use crate::program_type::ProgramType;
use crate::region::round_up_8;
use crate::runtime::{Attachment, Control, Runtime};

/// The most bytes that are copied while the gate is closed, for each map.
pub const CUTOVER_COPY_LIMIT: u64 = 1 << 20;

/// What becomes of a map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapAction {
    /// The new object uses the old object's map.
    Share,
    /// Copied while no program runs.
    CopyAtCutover,
    /// Changes are mirrored into the new map while its content is copied, element by element.
    TraceAndCopy,
    /// The new map starts with what its object says.
    Fresh,
    /// The old map has no successor.
    Drop,
}

impl fmt::Display for MapAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MapAction::Share => "share",
            MapAction::CopyAtCutover => "copy at cutover",
            MapAction::TraceAndCopy => "trace and copy",
            MapAction::Fresh => "fresh",
            MapAction::Drop => "drop",
        })
    }
}

/// The plan for one map.
#[derive(Clone, Debug)]
pub struct MapPlan {
    /// The map's name, in the new object if it is there.
    pub name: String,
    /// What becomes of it.
    pub action: MapAction,
    /// Why.
    pub reason: String,
    /// What becomes of the key's fields; empty unless something is copied.
    pub key_fields: Vec<FieldChange>,
    /// What becomes of the value's fields; empty unless something is copied.
    pub value_fields: Vec<FieldChange>,
    pub(crate) old: Option<Arc<Map>>,
    pub(crate) key: Transform,
    pub(crate) value: Transform,
}

/// The plan for one program that is attached to hooks.
#[derive(Clone, Debug)]
pub struct ProgramPlan {
    /// Its name in the old object.
    pub old_name: String,
    /// The name of its successor.
    pub new_name: String,
    /// The hooks that it is attached to, and the functions whose place it takes.
    pub hooks: Vec<String>,
    pub(crate) old: Arc<Program>,
}

/// What an upgrade will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every map: those of the new object in its order, then old ones that are dropped.
    pub maps: Vec<MapPlan>,
    /// Every attached program of the old object.
    pub programs: Vec<ProgramPlan>,
}

/// Makes the plan.
pub(super) fn plan(
    runtime: &Runtime,
    old: &Collection,
    new: &ObjectSpec,
    always_copy: bool,
) -> Result<Plan, PlanError> {
    let foreign = old.maps().iter().any(|map| map.runtime() != runtime.id());
    if foreign || old.programs().iter().any(|program| program.runtime() != runtime.id()) {
        return Err(PlanError {
            refusals: vec![Refusal::OtherRuntime],
        });
    }
    let host = runtime.btf();
    let control = runtime.inner().control();
    let slots = runtime.inner().slots.count();
    let mut refusals = Vec::new();
    let mut maps = Vec::new();
    for spec in &new.maps {
        match plan_map(
            spec,
            new.btf.as_ref(),
            old.map(&spec.name).map(|map| &**map),
            (always_copy, slots, host.btf()),
        ) {
            Ok(plan) => maps.push(plan),
            Err(found) => refusals.extend(found),
        }
    }
    for map in old.maps().iter().filter(|map| new.map(map.name()).is_none()) {
        if map.is_frozen() {
            maps.push(MapPlan::without_copy(
                map.name(),
                MapAction::Drop,
                "constants of the old object",
                Some(map),
            ));
        } else {
            refusals.push(Refusal::Lost {
                map: map.name().to_owned(),
            });
        }
    }
    let plan = Plan {
        maps,
        programs: plan_programs(&control, old, new),
    };
    refusals.extend(plan.open_writers(&control, old));
    if plan.programs.is_empty() && refusals.is_empty() {
        refusals.push(Refusal::NothingAttached);
    }
    if refusals.is_empty() {
        Ok(plan)
    } else {
        Err(PlanError { refusals })
    }
}

impl Plan {
    /// Who would go on writing a map that moves, or trace it, after the cutover: programs that are not upgraded, tracers, and
    /// old programs at hooks that the plan does not know of. Asked again at the cutover, since all of them may have come
    /// meanwhile.
    pub(super) fn open_writers(&self, control: &Control, old: &Collection) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let is_old = |program: &Program| old.programs().iter().any(|known| known.id() == program.id());
        for map in self
            .maps
            .iter()
            .filter(|plan| plan.action.moves())
            .filter_map(|plan| plan.old.as_ref())
        {
            let name = || map.name().to_owned();
            for program in control
                .live_programs()
                .filter(|program| program.written_maps().contains(&map.id()))
            {
                if !is_old(&program) {
                    let (program, id) = (program.name().to_owned(), program.id());
                    refusals.push(Refusal::OutsideWriter {
                        map: name(),
                        program,
                        id,
                    });
                }
            }
        }
        let moving = || {
            self.maps
                .iter()
                .filter(|plan| plan.action.moves())
                .filter_map(|plan| plan.old.as_ref())
        };
        for (link, attachment) in &control.links {
            let Attachment::Trace {
                map: traced,
                program: Some(tracer),
            } = attachment
            else {
                continue;
            };
            let written = tracer.written_maps();
            let maps = moving().filter(|map| map.id() == traced.id() || written.contains(&map.id()));
            let maps: Vec<&str> = maps.map(|map| map.name()).collect();
            if !maps.is_empty() {
                refusals.push(Refusal::Traced {
                    maps: maps.join(", "),
                    program: tracer.name().to_owned(),
                    link: *link,
                });
            }
        }
        for (link, attachment) in &control.links {
            if let Attachment::Extension { target, program, .. } = attachment
                && is_old(target)
            {
                refusals.push(Refusal::Extended {
                    program: target.name().to_owned(),
                    extension: program.name().to_owned(),
                    link: *link,
                });
            }
            let (Some(hook), Some(program)) = (place(control, attachment), attachment.program()) else {
                continue;
            };
            if is_old(program) && !self.programs.iter().any(|plan| plan.old.id() == program.id()) {
                refusals.push(Refusal::NoSuccessor {
                    program: program.name().to_owned(),
                    hook,
                });
            }
        }
        refusals
    }
}

impl MapAction {
    /// Whether the content goes to another map.
    fn moves(self) -> bool {
        matches!(self, MapAction::CopyAtCutover | MapAction::TraceAndCopy)
    }
}

impl MapPlan {
    /// Where the new value has what the old one has not, new fields and the ends of arrays that have grown: byte ranges of the
    /// new value. Those inside the elements of an array are left out.
    pub(crate) fn new_fields(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.value_fields
            .iter()
            .filter(|field| !field.path.contains("[]"))
            .filter_map(|field| {
                let place = field.new.as_ref().filter(|place| place.bits.is_none())?;
                let kept = match field.fate {
                    Fate::ZeroFilled => 0,
                    Fate::Grown { from, to } => place.size / to * from,
                    _ => return None,
                };
                Some((place.offset + kept) as usize..(place.offset + place.size) as usize)
            })
    }

    fn without_copy(name: &str, action: MapAction, reason: &str, old: Option<&Arc<Map>>) -> MapPlan {
        MapPlan {
            name: name.to_owned(),
            action,
            reason: reason.to_owned(),
            key_fields: Vec::new(),
            value_fields: Vec::new(),
            old: old.cloned(),
            key: Transform::identity(0),
            value: Transform::identity(0),
        }
    }
}

fn plan_map(
    spec: &MapSpec,
    btf: Option<&Btf>,
    old: Option<&Arc<Map>>,
    (always_copy, slots, host): (bool, usize, &Btf),
) -> Result<MapPlan, Vec<Refusal>> {
    let def = map_def(spec, slots).map_err(|error| vec![Refusal::Unsupported(error)])?;
    let fresh = |reason| Ok(MapPlan::without_copy(&spec.name, MapAction::Fresh, reason, old));
    let Some(old) = old else {
        return fresh("not in the old object");
    };
    if spec.frozen || old.is_frozen() {
        return fresh("constants of the new object");
    }
    if def.kind != old.def().kind {
        return Err(vec![Refusal::TypeChanged {
            map: spec.name.clone(),
            found: kind_name(def.kind),
            expected: kind_name(old.def().kind),
        }]);
    }
    if def.kind == MapKind::ProgArray {
        return plan_prog_array(spec, old);
    }
    let mut refusals = Vec::new();
    if def.max_entries < old.def().max_entries {
        refusals.push(Refusal::Smaller {
            map: spec.name.clone(),
            found: def.max_entries,
            expected: old.def().max_entries,
        });
    }
    let key = layout(old, old.key_type(), (btf, spec.key_type), Part::key(old, &def));
    let value = layout(old, old.value_type(), (btf, spec.value_type), Part::value(old, &def));
    let (key, value) = match (key, value) {
        (Ok(key), Ok(value)) => (key, value),
        (key, value) => {
            refusals.extend(key.err());
            refusals.extend(value.err());
            return Err(refusals);
        }
    };
    for (part, way) in [("key", &key), ("value", &value)] {
        refusals.extend(
            way.fields
                .iter()
                .filter(|field| field.fate.is_lossy())
                .map(|field| Refusal::Lossy {
                    map: spec.name.clone(),
                    part,
                    field: if field.path.is_empty() {
                        part.to_owned()
                    } else {
                        field.path.clone()
                    },
                    change: match field.fate {
                        Fate::Dropped => format!(
                            "dropped; if it has another name now, tag the new field was:{}",
                            field.path
                        ),
                        _ => field.fate.to_string(),
                    },
                }),
        );
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let same = key.is_same() && value.is_same() && same_shape(&def, old.def());
    let objects = owned_fields(btf, spec, host);
    let same_objects = old.owned().map(Owned::description) == objects.as_ref().map(|(_, text)| text.as_str());
    let why = || match (same_objects, old.owned()) {
        (_, None) => why(same, &key, &value, &def, old.def()),
        (true, Some(_)) => why(same, &key, &value, &def, old.def()) + ", without the objects that it refers to",
        (false, Some(_)) => "values refer to objects of another layout, which are let go of".to_owned(),
    };
    let (same, copyable) = (same && same_objects, can_be_copied(def.kind));
    if !same && !copyable {
        return Err(vec![Refusal::NotCopied {
            map: spec.name.clone(),
            kind: kind_name(def.kind),
            change: why(),
        }]);
    }
    if same && !(always_copy && copyable) {
        return Ok(MapPlan::without_copy(
            &spec.name,
            MapAction::Share,
            "same layout",
            Some(old),
        ));
    }
    let bytes = u64::from(def.max_entries) * round_up_8(def.value_size as usize) as u64;
    let (action, reason) = match def.kind {
        MapKind::Array if bytes <= CUTOVER_COPY_LIMIT => {
            (MapAction::CopyAtCutover, format!("{}, {bytes} bytes", why()))
        }
        _ => (MapAction::TraceAndCopy, why()),
    };
    Ok(MapPlan {
        name: spec.name.clone(),
        action,
        reason,
        key_fields: key.fields,
        value_fields: value.fields,
        old: Some(Arc::clone(old)),
        key: key.transform,
        value: value.transform,
    })
}

/// Whether maps of a kind are moved element by element: those whose keys have one value each, and keep it until they are deleted.
/// Others are shared, or there is no way.
fn can_be_copied(kind: MapKind) -> bool {
    matches!(kind, MapKind::Hash | MapKind::Array)
}

/// A prog array is made anew, with the programs of the new object: those in the old one are the old object's. What the host has
/// put in has no successor.
fn plan_prog_array(spec: &MapSpec, old: &Arc<Map>) -> Result<MapPlan, Vec<Refusal>> {
    let held = old.programs().into_iter().flat_map(|programs| programs.indices());
    let without: Vec<_> = held
        .filter(|index| !spec.values.iter().any(|value| value.index == *index))
        .map(|index| Refusal::NoProgram {
            map: spec.name.clone(),
            index,
        })
        .collect();
    if !without.is_empty() {
        return Err(without);
    }
    Ok(MapPlan::without_copy(
        &spec.name,
        MapAction::Fresh,
        "programs of the new object",
        Some(old),
    ))
}

fn same_shape(new: &MapDef, old: &MapDef) -> bool {
    let inner = |def: &MapDef| {
        let inner = def.inner.as_deref()?;
        Some((
            inner.kind,
            inner.key_size,
            inner.value_size,
            inner.max_entries,
            inner.flags,
        ))
    };
    (
        new.key_size,
        new.value_size,
        new.max_entries,
        new.spin_lock,
        new.flags,
        new.map_extra,
    ) == (
        old.key_size,
        old.value_size,
        old.max_entries,
        old.spin_lock,
        old.flags,
        old.map_extra,
    ) && inner(new) == inner(old)
}

/// What makes it necessary to copy.
fn why(same: bool, key: &Way, value: &Way, new: &MapDef, old: &MapDef) -> String {
    if same {
        return "same layout, copied on request".to_owned();
    }
    let mut reasons = Vec::new();
    for (part, way) in [("key", key), ("value", value)] {
        if !way.identity {
            reasons.push(format!("{part} layout changed"));
        } else if way.renamed {
            reasons.push(format!("{part} fields renamed"));
        }
    }
    if new.max_entries != old.max_entries {
        reasons.push(format!("max_entries {} to {}", old.max_entries, new.max_entries));
    }
    if reasons.is_empty() && new.inner != old.inner {
        reasons.push("maps in it changed".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("map flags changed".to_owned());
    }
    reasons.join(", ")
}

/// The key or the value of a map, for messages.
struct Part<'a> {
    map: &'a str,
    name: &'static str,
    old_size: u32,
    new_size: u32,
}

impl<'a> Part<'a> {
    fn key(old: &'a Map, new: &MapDef) -> Part<'a> {
        Part {
            map: old.name(),
            name: "key",
            old_size: old.def().key_size,
            new_size: new.key_size,
        }
    }

    fn value(old: &'a Map, new: &MapDef) -> Part<'a> {
        Part {
            map: old.name(),
            name: "value",
            old_size: old.def().value_size,
            new_size: new.value_size,
        }
    }
}

/// The way from an old key or value to the new one.
struct Way {
    fields: Vec<FieldChange>,
    transform: Transform,
    /// Whether the same bytes serve both.
    identity: bool,
    /// Whether a field has another name. The map is then made anew, with the new names: the next upgrade goes by them.
    renamed: bool,
}

impl Way {
    fn is_same(&self) -> bool {
        self.identity && !self.renamed
    }
}

impl From<LayoutDiff> for Way {
    fn from(diff: LayoutDiff) -> Way {
        Way {
            identity: diff.is_identity(),
            renamed: diff.fields.iter().any(|field| field.renamed_from.is_some()),
            fields: diff.fields,
            transform: diff.transform,
        }
    }
}

fn layout(
    old: &Map,
    old_type: Option<TypeId>,
    new: (Option<&Btf>, Option<TypeId>),
    part: Part<'_>,
) -> Result<Way, Refusal> {
    match (old.btf(), old_type, new) {
        (Some(old_btf), Some(old_type), (Some(new_btf), Some(new_type))) => {
            let diff = compare((old_btf, old_type), (new_btf, new_type));
            diff.map(Way::from).map_err(|reason| Refusal::Layout {
                map: part.map.to_owned(),
                part: part.name,
                reason,
            })
        }
        _ if part.old_size == part.new_size => Ok(Way {
            fields: Vec::new(),
            transform: Transform::identity(part.old_size),
            identity: true,
            renamed: false,
        }),
        _ => Err(Refusal::NoBtf {
            map: part.map.to_owned(),
            part: part.name,
            found: part.new_size,
            expected: part.old_size,
        }),
    }
}

/// The attached programs of the old object, each with its successor: the new program of its name, else the only one of its
/// type. One that has none is left out; [`Plan::open_writers`] finds it.
fn plan_programs(control: &Control, old: &Collection, new: &ObjectSpec) -> Vec<ProgramPlan> {
    let mut plans = Vec::new();
    for program in old.programs() {
        let is_its = |attachment: &&Attachment| attachment.program().is_some_and(|other| other.id() == program.id());
        let attached = control.links.values().filter(is_its);
        let hooks: Vec<String> = attached.filter_map(|attachment| place(control, attachment)).collect();
        let is_kin =
            |spec: &&ProgramSpec| spec.autoload && ProgramType::of(spec).is_ok_and(|ty| ty == *program.program_type());
        let mut kin = new.programs.iter().filter(is_kin);
        let successor = match new.program(program.name()) {
            Some(_) => kin.find(|spec| spec.name == program.name()),
            None => kin.next().filter(|_| kin.next().is_none()),
        };
        if let (false, Some(spec)) = (hooks.is_empty(), successor) {
            plans.push(ProgramPlan {
                old_name: program.name().to_owned(),
                new_name: spec.name.clone(),
                hooks,
                old: Arc::clone(program),
            });
        }
    }
    plans
}

/// Where a program is attached that an upgrade replaces, in words: at a hook, or in the place of a function.
fn place(control: &Control, attachment: &Attachment) -> Option<String> {
    match attachment {
        Attachment::Hook { hook, .. } => Some(control.hook_name(*hook).to_owned()),
        Attachment::Extension { target, function, .. } => {
            Some(format!("{} of program {}", function.name(), target.name()))
        }
        Attachment::Iter { program, .. } => Some(program.program_type().to_string()),
        Attachment::Trace { .. } => None,
    }
}
