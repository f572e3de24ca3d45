//! Replacing a running object by a new one, whose maps may have another layout, without losing an update.
//!
//! 1. The new object is loaded, with maps of the same layout shared. A refusal ends here; the old one has noticed nothing.
//! 2. A mirror is attached to each map that moves (`mirror.rs`): from here on every change is carried over, transformed, before
//!    the program that made it exits.
//! 3. The maps are copied, element by element, each under the stripe of its key (`copy.rs`). Programs keep running.
//! 4. Cutover (`cutover.rs`): the gate closes, what runs has left (its pointer updates flushed), small maps are copied, all links
//!    are swapped as one, the gate opens. Now *new maps = transform(old maps)*, and only the new programs run.
//! 5. The mirrors are detached, and the old object is freed when its last holder lets go.

mod copy;
mod cutover;
mod mirror;
mod plan;
mod refusal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_object::ObjectSpec;

use crate::link::{AttachError, Link};
use crate::load::{Collection, LoadError};
use crate::load_options::LoadOptions;
use crate::map::{Map, MapError};
use crate::run::{Forked, SyncError};
use crate::runtime::{Inner, Runtime};
use crate::trace::Action;

pub use mirror::Poison;
pub use plan::{CUTOVER_COPY_LIMIT, MapAction, MapPlan, Plan, ProgramPlan};
pub use refusal::{PlanError, Refusal};

use copy::Pace;
use mirror::MapMirror;

/// An upgrade, to be planned or carried out.
#[derive(Debug)]
pub struct Upgrade<'a> {
    runtime: &'a Runtime,
    old: &'a Collection,
    new: &'a ObjectSpec,
    options: Options,
    load_options: LoadOptions,
}

/// How an upgrade is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most entries copied in a second, to leave the processor to the programs; as many as possible if not given,
    /// or 0.
    pub copy_rate: Option<u32>,
    /// How long the gate stays closed for runs that do not end, before it opens again under the old programs.
    pub gate_deadline: Duration,
    /// How often the cutover is tried.
    pub cutover_attempts: u32,
    /// Copy maps even if their layout has not changed, those that can be.
    pub always_copy: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            copy_rate: None,
            gate_deadline: Duration::from_millis(5),
            cutover_attempts: 100,
            always_copy: false,
        }
    }
}

/// What an upgrade is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The mirrors are being attached.
    Tracing,
    /// A map is being copied. The first report of a map that holds anything comes right after its first entry.
    Copying {
        /// The map.
        map: &'a str,
        /// Element indices visited.
        visited: u64,
        /// Element indices in all.
        total: u64,
        /// Entries copied.
        copied: u64,
    },
    /// The gate is about to be closed.
    Cutover {
        /// How often, counted from 1.
        attempt: u32,
    },
    /// The new programs run.
    Done,
}

/// What an upgrade did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Every map, in the order of the plan.
    pub maps: Vec<MapReport>,
    /// Every program that was replaced.
    pub programs: Vec<ProgramPlan>,
    /// From the first entry copied to the cutover.
    pub copy_time: Duration,
    /// The longest that the gate was closed.
    pub gate_closed: Duration,
    /// The longest that an invocation of a hook waited at the gate.
    pub longest_wait: Duration,
    /// How often the cutover was tried.
    pub attempts: u32,
}

impl Report {
    /// The longest pause that the traffic saw.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.gate_closed.max(self.longest_wait)
    }
}

/// What became of one map.
#[derive(Clone, Debug)]
pub struct MapReport {
    /// The plan for it.
    pub plan: MapPlan,
    /// Entries copied, in the background or at cutover.
    pub copied: u64,
    /// Updates mirrored.
    pub mirrored_updates: u64,
    /// Deletes mirrored.
    pub mirrored_deletes: u64,
}

/// Why an upgrade did not take place. The old object runs as before; nothing of the new one stays behind.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The plan refuses it.
    #[error("upgrade refused: {0}")]
    Refused(PlanError),
    /// The new object does not load.
    #[error("the new object does not load")]
    Load(#[source] LoadError),
    /// Another upgrade of this runtime is in progress.
    #[error("another upgrade is in progress")]
    InProgress,
    /// A mirror could not be attached.
    #[error("map {map}: cannot be traced")]
    Attach {
        /// The map.
        map: String,
        /// Why.
        source: AttachError,
    },
    /// The new map can no longer be an exact image of the old one.
    #[error("map {map}: {reason}")]
    Poisoned {
        /// The map.
        map: String,
        /// Why.
        reason: Poison,
    },
    /// A map could not be copied at cutover.
    #[error("map {map}: cannot be copied at cutover")]
    Copy {
        /// The map.
        map: String,
        /// Why.
        source: MapError,
    },
    /// A run did not end within the gate's deadline, however often it was tried.
    #[error("the cutover was given up after {attempts} attempts: {last}")]
    Gate {
        /// How often it was tried.
        attempts: u32,
        /// The last attempt's failure, which names the thread.
        last: SyncError,
    },
    /// Called from inside a run.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Called in a forked child.
    #[error(transparent)]
    Forked(#[from] Forked),
}

/// A map on its way to its successor.
struct Moving {
    old: Arc<Map>,
    mirror: Arc<MapMirror>,
    copied: u64,
    /// Detaches the mirror when dropped.
    _link: Link,
}

impl<'a> Upgrade<'a> {
    /// An upgrade of what runs as `old` to what `new` describes.
    #[must_use]
    pub fn new(runtime: &'a Runtime, old: &'a Collection, new: &'a ObjectSpec, options: Options) -> Upgrade<'a> {
        Upgrade {
            runtime,
            old,
            new,
            options,
            load_options: LoadOptions::default(),
        }
    }

    /// Loads the new object in this way. Maps that the plan shares come before those that the options give.
    #[must_use]
    pub fn load_options(mut self, options: LoadOptions) -> Upgrade<'a> {
        self.load_options = options;
        self
    }

    /// What would be done. Changes nothing.
    ///
    /// # Errors
    /// [`PlanError`] with every reason why it would be refused.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        plan::plan(self.runtime, self.old, self.new, self.options.always_copy)
    }

    /// Carries the upgrade out. Links of the old programs now attach the new ones. `progress` is called on the
    /// caller's thread, whose signals are blocked while the gate is closed.
    ///
    /// # Errors
    /// [`UpgradeError`], by variant. The old object then runs as before.
    pub fn run(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(Collection, Report), UpgradeError> {
        let inner = self.runtime.inner();
        inner.check_waitable()?;
        let _one_at_a_time = InProgress::begin(inner)?;
        let plan = self.plan().map_err(UpgradeError::Refused)?;
        let new = self.load(&plan)?;
        progress(Progress::Tracing);
        let mut moving = BTreeMap::new();
        for map in plan.maps.iter().filter(|map| map.action == MapAction::TraceAndCopy) {
            if let (Some(old), Some(to)) = (&map.old, new.map(&map.name)) {
                moving.insert(map.name.clone(), self.begin(map, old, to)?);
            }
        }
        let start = Instant::now();
        let mut pace = Pace::new(self.options.copy_rate);
        for map in moving.values_mut() {
            map.copied = copy::copy_map(&inner.slots, &map.old, &map.mirror, &mut pace, progress)?;
            map.check_poison()?;
        }
        let copy_time = start.elapsed();
        let cutover = cutover::cutover(inner, &plan, (self.old, &new), &moving, &self.options, progress)?;
        progress(Progress::Done);
        let report = |map: MapPlan| {
            let moved = moving.get(&map.name);
            MapReport {
                copied: moved.map_or_else(
                    || cutover.copied.get(&map.name).copied().unwrap_or(0),
                    |moved| moved.copied,
                ),
                mirrored_updates: moved.map_or(0, |moved| moved.mirror.updates()),
                mirrored_deletes: moved.map_or(0, |moved| moved.mirror.deletes()),
                plan: map,
            }
        };
        let report = Report {
            maps: plan.maps.into_iter().map(report).collect(),
            programs: plan.programs,
            copy_time,
            gate_closed: cutover.gate_closed,
            longest_wait: cutover.longest_wait,
            attempts: cutover.attempts,
        };
        Ok((new, report))
    }

    fn load(&self, plan: &Plan) -> Result<Collection, UpgradeError> {
        let shared = plan.maps.iter().filter(|map| map.action == MapAction::Share);
        let options = shared
            .filter_map(|map| Some((&map.name, map.old.as_ref()?)))
            .fold(self.load_options.clone(), |options, (name, map)| {
                options.replace_map(name, map)
            });
        self.runtime.load_with(self.new, &options).map_err(UpgradeError::Load)
    }

    fn begin(&self, plan: &MapPlan, old: &Arc<Map>, new: &Arc<Map>) -> Result<Moving, UpgradeError> {
        let inner = self.runtime.inner();
        let (key, value) = (plan.key.clone(), plan.value.clone());
        let mirror = Arc::new(MapMirror::new(Arc::clone(new), key, value, inner.slots.count()));
        let action = Action::Mirror(Arc::clone(&mirror) as _);
        let link = inner
            .attach_tracer(old, action, &[new.id()], None)
            .map_err(|source| UpgradeError::Attach {
                map: plan.name.clone(),
                source,
            })?;
        Ok(Moving {
            old: Arc::clone(old),
            mirror,
            copied: 0,
            _link: Link::new(Arc::clone(inner), link),
        })
    }
}

impl Moving {
    fn check_poison(&self) -> Result<(), UpgradeError> {
        match self.mirror.poison() {
            None => Ok(()),
            Some(reason) => Err(UpgradeError::Poisoned {
                map: self.old.name().to_owned(),
                reason,
            }),
        }
    }
}

/// The mark that an upgrade is in progress.
struct InProgress<'a> {
    runtime: &'a Inner,
}

impl<'a> InProgress<'a> {
    fn begin(runtime: &'a Inner) -> Result<InProgress<'a>, UpgradeError> {
        let mut control = runtime.control();
        if control.upgrading {
            return Err(UpgradeError::InProgress);
        }
        control.upgrading = true;
        Ok(InProgress { runtime })
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.runtime.control().upgrading = false;
    }
}
