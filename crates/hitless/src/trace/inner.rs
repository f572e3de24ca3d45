//! Traced maps in maps of maps: who holds a map of maps may write every map in it.
//!
//! Which map holds which is kept in the graph (`graph.rs`), from before a map is put in until a grace period after it was
//! taken out. Before a traced map is put in, the programs that write the maps in there are switched to their traced variant, and a
//! grace period passes: nobody finds it who would not trace what he writes.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use crate::map::{Map, MapError};
use crate::program::{BuildError, Program};
use crate::runtime::{Control, Inner};

use super::TraceState;

/// A map on its way out of a map of maps, to be dropped a grace period after it was taken out.
#[derive(Debug)]
pub(crate) struct Taken {
    map: Arc<Map>,
    _hold: Hold,
}

impl Taken {
    /// The map was taken out of `outer`, into which [`hold`] let it.
    pub(crate) fn new(outer: &Map, map: Arc<Map>) -> Taken {
        let hold = Hold::new(outer, &map);
        Taken { map, _hold: hold }
    }
}

impl Deref for Taken {
    type Target = Arc<Map>;

    fn deref(&self) -> &Arc<Map> {
        &self.map
    }
}

/// That one map holds another; dropped, it does no more.
#[derive(Debug)]
#[must_use = "dropped, the map counts as taken out"]
pub(crate) struct Hold {
    runtime: Weak<Inner>,
    outer: u32,
    inner: u32,
}

impl Hold {
    fn new(outer: &Map, inner: &Map) -> Hold {
        Hold {
            runtime: Weak::clone(outer.inner_runtime()),
            outer: outer.id(),
            inner: inner.id(),
        }
    }

    /// The map is in there now.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.upgrade() {
            let mut control = runtime.control();
            control.graph.remove_held(self.outer, self.inner);
            // Programs may go back to their plain variant, which was compiled when they were loaded.
            let switched = control.choose_variants();
            debug_assert!(switched.is_ok());
        }
    }
}

/// Prepares for `inner` to be put into `outer`.
pub(crate) fn hold(outer: &Map, inner: &Map) -> Result<Hold, MapError> {
    let hold = Hold::new(outer, inner);
    let Some(runtime) = hold.runtime.upgrade() else {
        // Nobody runs any more.
        return Ok(hold);
    };
    let mut control = runtime.control();
    let closes_loop = control.graph.closes_loop(outer.id(), &[inner.id()]);
    control.graph.add_held(outer.id(), inner.id());
    let traced = inner.trace().is_some_and(TraceState::is_armed);
    let switched = if traced { control.choose_variants() } else { Ok(()) };
    drop(control);
    if closes_loop {
        return Err(MapError::TraceLoop);
    }
    switched.map_err(|_| MapError::TraceVariant)?;
    #[cfg(hitless_model)]
    if crate::model::fault(crate::model::Fault::NoInnerGrace) {
        return Ok(hold);
    }
    if traced {
        runtime.wait_for_change().map_err(|_| MapError::Overdue)?;
    }
    Ok(hold)
}

impl Control {
    /// Chooses the variant of each program, by what is traced now.
    pub(crate) fn choose_variants(&self) -> Result<(), BuildError> {
        let outers = self.outers_of_traced();
        self.live_programs()
            .try_for_each(|program| program.choose_variant(&outers))
    }

    /// Chooses the variant of one program.
    pub(crate) fn choose_variant(&self, program: &Program) -> Result<(), BuildError> {
        program.choose_variant(&self.outers_of_traced())
    }

    /// The maps of maps that hold a map that is traced, or about to be.
    fn outers_of_traced(&self) -> BTreeSet<u32> {
        let is_traced = |id: u32| {
            let map = self.maps.get(&id).and_then(|map| map.get());
            map.is_some_and(|map| map.trace().is_some_and(TraceState::is_armed))
        };
        let held = self.graph.held().filter(|(_, inner)| is_traced(*inner));
        held.map(|(outer, _)| outer).collect()
    }
}
