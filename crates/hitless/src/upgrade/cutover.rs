//! The cutover: the one moment at which nothing runs.
//!
//! The gate closes; invocations that arrive wait, those nested in a run go on with it. When every run that had begun has
//! left, the mirrors hold what the old maps hold. Small maps are copied, every link of the old programs gets its new
//! program by publishing one pointer, the old maps are sealed, and the gate opens. If a run does not end in time, the gate
//! opens under the old programs, and it is tried again later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{MapAction, MapPlan, Moving, Options, Plan, PlanError, Progress, Refusal, UpgradeError};
use crate::hook::Snapshot;
use crate::load::Collection;
use crate::map::{Elem, Map, MapError, MapHandle, UpdateFlags};
use crate::primitive::Retired;
use crate::program::Program;
use crate::region::SharedBytes;
use crate::run::{Run, SyncError};
use crate::runtime::{Attachment, Control, Inner};
use crate::sys::SignalsBlocked;
use crate::trace::Cell;

/// What the cutover cost.
pub(super) struct Cutover {
    pub(super) gate_closed: Duration,
    pub(super) longest_wait: Duration,
    pub(super) attempts: u32,
    /// Entries copied at cutover, by map.
    pub(super) copied: BTreeMap<String, u64>,
}

/// The first wait between two attempts; it doubles each time.
const BACK_OFF: Duration = Duration::from_millis(1);
const LONGEST_BACK_OFF: Duration = Duration::from_millis(100);

pub(super) fn cutover(
    inner: &Arc<Inner>,
    plan: &Plan,
    (old, new): (&Collection, &Collection),
    moving: &BTreeMap<String, Moving>,
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Cutover, UpgradeError> {
    let mut gate_closed = Duration::ZERO;
    let mut longest_wait = Duration::ZERO;
    let mut back_off = BACK_OFF;
    let mut attempt = 1;
    loop {
        progress(Progress::Cutover { attempt });
        // A handler on this thread would be admitted.
        let signals = SignalsBlocked::new();
        let gate = inner.slots.close_gate();
        let left = inner.slots.wait_at_gate(options.gate_deadline);
        let swapped = left
            .map_err(UpgradeError::Sync)
            .and_then(|()| swap(inner, plan, (old, new), moving));
        gate_closed = gate_closed.max(gate.elapsed());
        drop(gate);
        drop(signals);
        longest_wait = longest_wait.max(inner.slots.gate().longest_wait());
        match swapped {
            Ok((before, copied)) => {
                // The new programs run, whether or not a grace period comes about.
                let _ = inner.free_later(before);
                return Ok(Cutover {
                    gate_closed,
                    longest_wait,
                    attempts: attempt,
                    copied,
                });
            }
            Err(UpgradeError::Sync(last @ SyncError::TimedOut { .. })) => {
                if attempt >= options.cutover_attempts {
                    return Err(UpgradeError::Gate {
                        attempts: attempt,
                        last,
                    });
                }
                std::thread::sleep(back_off);
                back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What is to be freed: the snapshot, and the extensions.
type Before = (Retired<Snapshot>, Vec<Option<Arc<Program>>>);

/// What is done while nothing runs. If it fails, nothing has been swapped. Returns what is to be freed.
fn swap(
    inner: &Inner,
    plan: &Plan,
    (old, new): (&Collection, &Collection),
    moving: &BTreeMap<String, Moving>,
) -> Result<(Before, BTreeMap<String, u64>), UpgradeError> {
    for map in moving.values() {
        map.check_poison()?;
    }
    let mut copied = BTreeMap::new();
    inner.slots.run(|run| {
        for map in plan.maps.iter().filter(|map| map.action == MapAction::CopyAtCutover) {
            if let (Some(old), Some(to)) = (&map.old, new.map(&map.name)) {
                let count = copy_whole(run, map, old, to).map_err(|source| UpgradeError::Copy {
                    map: map.name.clone(),
                    source,
                })?;
                copied.insert(map.name.clone(), count);
            }
        }
        Ok::<(), UpgradeError>(())
    })??;
    let mut control = inner.control();
    let mut refusals = plan.open_writers(&control, old);
    let extensions = successors(&control, plan, new);
    for (link, successor) in &extensions {
        if let Err(source) = control.check_extension(*link, successor) {
            let program = successor.name().to_owned();
            refusals.push(Refusal::Extension { program, source });
        }
    }
    refusals.extend(check_iterators(&control, plan, new));
    if !refusals.is_empty() {
        return Err(UpgradeError::Refused(PlanError { refusals }));
    }
    let mut before_iterators = Vec::new();
    let Control { links, hooks, .. } = &mut *control;
    for (link, attachment) in links {
        let Some(successor) = attachment.program().and_then(|program| successor(program, plan, new)) else {
            continue;
        };
        match attachment {
            Attachment::Hook { hook, program, .. } => {
                *program = Arc::clone(successor);
                hooks[*hook].chain.exchange(*link, successor.id());
            }
            Attachment::Iter { program, map } => {
                *program = Arc::clone(successor);
                if let Some(to) = map.as_ref().and_then(|map| moved(map, plan, new)) {
                    before_iterators.extend(map.replace(to.clone()));
                }
            }
            // Extensions are exchanged below.
            Attachment::Extension { .. } | Attachment::Trace { .. } => {}
        }
    }
    let replaced = extensions.iter().map(|(link, successor)| {
        // Checked above.
        control.exchange_extension(*link, successor).ok().flatten()
    });
    let replaced: Vec<_> = replaced.collect();
    let before = inner.slots.publish(control.snapshot());
    for map in plan.maps.iter().filter(|map| map.action != MapAction::Share) {
        if let Some(old) = &map.old {
            old.seal();
        }
    }
    // What they hold may take the lock when it goes.
    drop(control);
    drop(before_iterators);
    Ok(((before, replaced), copied))
}

/// The links of old extensions, with what takes their place.
fn successors(control: &Control, plan: &Plan, new: &Collection) -> Vec<(u32, Arc<Program>)> {
    let successor = |(link, attachment): (&u32, &Attachment)| {
        let Attachment::Extension { program, .. } = attachment else {
            return None;
        };
        let replaced = plan.programs.iter().find(|plan| plan.old.id() == program.id())?;
        Some((*link, Arc::clone(new.program(&replaced.new_name)?)))
    };
    control.links.iter().filter_map(successor).collect()
}

/// What takes the place of an attached program.
fn successor<'a>(program: &Program, plan: &Plan, new: &'a Collection) -> Option<&'a Arc<Program>> {
    let replaced = plan.programs.iter().find(|plan| plan.old.id() == program.id())?;
    new.program(&replaced.new_name)
}

/// What takes the place of a map.
fn moved<'a>(map: &Map, plan: &Plan, new: &'a Collection) -> Option<&'a MapHandle> {
    let is_it = |plan: &&MapPlan| plan.old.as_ref().is_some_and(|old| old.id() == map.id());
    new.map(&plan.maps.iter().find(is_it)?.name)
}

/// Programs of iterators that would not fit the maps that they are to walk.
fn check_iterators(control: &Control, plan: &Plan, new: &Collection) -> Vec<Refusal> {
    let refusal = |attachment: &Attachment| {
        let Attachment::Iter { program, map } = attachment else {
            return None;
        };
        let successor = successor(program, plan, new)?;
        let map = map.as_ref().map(|map| moved(map, plan, new).unwrap_or(map));
        let source = control.check_iterator(successor, map).err()?;
        let program = successor.name().to_owned();
        Some(Refusal::Iterator { program, source })
    };
    control.links.values().filter_map(refusal).collect()
}

/// Copies every element of an array. Fields that the old layout does not have keep what the new object says.
fn copy_whole(run: &Run<'_>, plan: &MapPlan, old: &Map, new: &Map) -> Result<u64, MapError> {
    let mut old_value = vec![0; plan.value.old_size()];
    let mut new_value = vec![0; plan.value.new_size()];
    let mut initial = vec![0; plan.value.new_size()];
    for elem in (0..old.ops().indices()).map(Elem) {
        let Some(key) = old.ops().key_of(elem) else { continue };
        old.read_element(run, Cell::own(old, run, elem), &mut old_value)?;
        plan.value.apply(&old_value, &mut new_value);
        new.read_element(run, Cell::own(new, run, elem), &mut initial)?;
        for place in plan.new_fields() {
            new_value[place.clone()].copy_from_slice(&initial[place]);
        }
        new.update_untraced(run, &key, SharedBytes::from_slice(&new_value), UpdateFlags::ANY)?;
    }
    Ok(old.ops().indices().into())
}
