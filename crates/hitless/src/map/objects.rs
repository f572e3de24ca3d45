//! Elements that are no bytes: the host's calls that put programs into prog arrays, maps into maps of maps, and buffers into
//! perf event arrays.

use std::sync::Arc;

use super::inner::check_fits;
use super::{Creation, Map, MapCreateError, MapDef, MapError, PerfBuffer, Special, UpdateFlags};
use crate::program::Program;
use crate::trace::{self, Cell, Event, Taken};

/// Refuses flags: what is put into an array takes the place of what is there.
fn check_any(flags: UpdateFlags) -> Result<(), MapError> {
    if flags == UpdateFlags::ANY {
        Ok(())
    } else {
        Err(MapError::InvalidFlags { flags: flags.bits() })
    }
}

impl Map {
    fn check_runtime(&self, other: u64) -> Result<(), MapError> {
        if other == self.runtime() {
            Ok(())
        } else {
            Err(MapError::OtherRuntime)
        }
    }

    /// Puts a program into a prog array: tail calls to this index go to it from now on. Programs that run go on with what
    /// they found.
    ///
    /// # Errors
    /// [`MapError::IncompatibleProgram`] unless it is of the type of the programs that are there, or use the array;
    /// [`MapError::IndexTooLarge`]; [`MapError::OtherKind`] for another type of map; [`MapError::OtherRuntime`]; and as
    /// [`Map::update`].
    pub fn insert_program(&self, index: u32, program: &Arc<Program>) -> Result<(), MapError> {
        let programs = self.programs().ok_or(self.lacks("insert_program"))?;
        self.check_permitted()?;
        self.check_runtime(program.runtime())?;
        let before = self.slots.run(|_| {
            self.check_writable()?;
            programs.insert(index, program)
        })??;
        self.slots.retire(before);
        Ok(())
    }

    /// Puts a map into a map of maps, in place of what has the key. When it returns, no program uses the map that was there
    /// before: it waits for a grace period.
    ///
    /// # Errors
    /// [`MapError::OtherInnerMap`] unless the map is like the template; [`MapError::TraceLoop`] if the map is traced by a program
    /// that leads back to this one; [`MapError::TraceVariant`] and [`MapError::Overdue`] if it is traced; [`MapError::InRun`];
    /// [`MapError::OtherKind`] for another type of map; [`MapError::OtherRuntime`]; and as [`Map::update`].
    pub fn insert_map(&self, key: &[u8], inner: &Arc<Map>, flags: UpdateFlags) -> Result<(), MapError> {
        let before = self.swap_map(key, inner, flags)?;
        self.slots.retire(before);
        Ok(())
    }

    /// Like [`Map::insert_map`], but leaves the grace period to the caller, who then drops what was there before.
    pub(crate) fn swap_map(&self, key: &[u8], inner: &Arc<Map>, flags: UpdateFlags) -> Result<Option<Taken>, MapError> {
        let maps = self.inner_maps().ok_or(self.lacks("insert_map"))?;
        self.check_permitted()?;
        self.check_runtime(inner.runtime())?;
        let template = self.def.inner.as_deref().ok_or(self.lacks("insert_map"))?;
        let key = self.check_key(key)?;
        let put = flags.of_host(false, None)?;
        if self.is_indexed() {
            check_any(flags)?;
            self.check_index(key.index())?;
        }
        check_fits(template, &inner.def)?;
        if inner.owned().is_some() {
            return Err(MapError::OtherInnerMap {
                what: "number of fields that refer to objects",
                found: 1,
                expected: 0,
            });
        }
        if self.slots.in_run() {
            return Err(MapError::InRun);
        }
        let hold = trace::hold(self, inner)?;
        let before = self.slots.run(|run| {
            self.check_writable()?;
            let stripe = self.count_busy(self.lock_stripe(run, &key))?;
            let inserted = maps.insert(run, &key, inner, put.rule)?;
            if let Some(stripe) = stripe {
                let cell = Cell::own(self, run, inserted.elem);
                stripe.run_tracers(run, self, Event::Update { cell, flags });
            }
            Ok::<_, MapError>(inserted.before)
        })??;
        hold.keep();
        Ok(before.map(|before| Taken::new(self, before)))
    }

    /// Takes a map out of a map of maps, and leaves the grace period to the caller, who then drops it.
    pub(super) fn take_map(&self, key: &[u8]) -> Result<Taken, MapError> {
        let maps = self.inner_maps().ok_or(self.lacks("delete"))?;
        let key = self.check_key(key)?;
        if self.slots.in_run() {
            return Err(MapError::InRun);
        }
        self.slots.run(|run| {
            self.check_writable()?;
            let stripe = self.count_busy(self.lock_stripe(run, &key))?;
            let before = maps.remove(run, &key)?;
            if let Some(stripe) = stripe {
                stripe.run_tracers(run, self, Event::Delete);
            }
            Ok(Taken::new(self, before))
        })?
    }

    /// The map that a map of maps has under a key.
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for another type of map; [`MapError::KeySize`]; [`MapError::Forked`].
    pub fn inner_map(&self, key: &[u8]) -> Result<Option<Arc<Map>>, MapError> {
        let maps = self.inner_maps().ok_or(self.lacks("inner_map"))?;
        let key = self.check_key(key)?;
        let found = self.slots.run(|run| maps.get(run, self.ops.lookup(&key)?))?;
        Ok(found)
    }

    /// Makes a buffer for records of the programs that run on a slot, of `pages` pages, a power of two. It gets them once it
    /// is in a perf event array ([`Map::insert_buffer`]), as a rule at the slot's index.
    ///
    /// # Errors
    /// [`MapCreateError`], by variant.
    pub fn perf_buffer(&self, slot: u32, pages: u32) -> Result<Arc<PerfBuffer>, MapCreateError> {
        let def = MapDef::new(self.name(), self.def.kind, 0, 0, 0);
        let creation = Creation::new(&def, self.slots.count(), &self.budget);
        PerfBuffer::new(&creation, slot, pages).map(Arc::new)
    }

    /// Puts a buffer into a perf event array.
    ///
    /// # Errors
    /// [`MapError::IndexTooLarge`]; [`MapError::OtherKind`] for another type of map; and as [`Map::update`].
    pub fn insert_buffer(&self, index: u32, buffer: &Arc<PerfBuffer>) -> Result<(), MapError> {
        let events = self.events().ok_or(self.lacks("insert_buffer"))?;
        self.check_permitted()?;
        let before = self.slots.run(|_| {
            self.check_writable()?;
            events.insert(index, buffer)
        })??;
        self.slots.retire(before);
        Ok(())
    }

    /// Takes a buffer out of a perf event array again, if it is still at its slot's index.
    pub(crate) fn remove_buffer(&self, buffer: &Arc<PerfBuffer>) -> Result<(), MapError> {
        let events = self.events().ok_or(self.lacks("remove_buffer"))?;
        let before = self.slots.run(|run| events.take(run, buffer))?;
        self.slots.retire(before);
        Ok(())
    }

    /// Deletes an element that is no bytes.
    pub(super) fn delete_object(&self, key: &[u8]) -> Result<(), MapError> {
        let index = self.check_key(key)?.index();
        match self.ops.special() {
            Special::Programs(programs) => {
                let before = self.slots.run(|_| {
                    self.check_writable()?;
                    programs.remove(index)
                })??;
                self.slots.retire(before);
            }
            Special::Events(events) => {
                let before = self.slots.run(|_| {
                    self.check_writable()?;
                    events.remove(index)
                })??;
                self.slots.retire(before);
            }
            _ => self.slots.retire(self.take_map(key)?),
        }
        Ok(())
    }

    /// Lets go of what the map refers to on behalf of its users, the last of whom is gone.
    pub(super) fn forget_objects(&self) {
        match self.ops.special() {
            Special::Programs(programs) => self.slots.retire(programs.clear()),
            Special::Events(events) if !self.def.flags.contains(super::MapFlags::PRESERVE_ELEMS) => {
                self.slots.retire(events.clear());
            }
            _ => {}
        }
    }
}
