//! Parts of global data: variables, read and written without their neighbours.

use super::{Elem, Key, Map, MapError, UpdateFlags};
use crate::region::SharedBytes;
use crate::run::Run;
use crate::trace::{Cell, Event};

/// The only element of a map of global data.
const SECTION: Elem = Elem(0);

impl Map {
    /// Copies the bytes at `offset` of the only value, under the spin lock in it if it has one.
    pub(crate) fn read_global(&self, offset: u32, to: &mut [u8]) -> Result<(), MapError> {
        self.check_bytes(offset, to.len())?;
        let from = self.ops.value(SECTION, 0).part(offset as usize, to.len());
        self.slots
            .run(|run| self.count_busy(self.with_section(run, || from.read(to))))?
    }

    /// Overwrites the bytes at `offset` of the only value, and tells the map's tracers.
    pub(crate) fn write_global(&self, offset: u32, from: &[u8]) -> Result<(), MapError> {
        self.check_bytes(offset, from.len())?;
        let key = Key::new(SharedBytes::from_slice(&0u32.to_ne_bytes()));
        let to = self.ops.value(SECTION, 0).part(offset as usize, from.len());
        self.slots.run(|run| {
            let stripe = self.count_busy(self.lock_stripe(run, &key))?;
            self.check_writable()?;
            // SAFETY: `to` is memory of this map's region, which is writable.
            let write = || unsafe { to.write(SharedBytes::from_slice(from)) };
            self.count_busy(self.with_section(run, write))?;
            if let Some(stripe) = stripe {
                let (cell, flags) = (Cell { elem: SECTION, slot: 0 }, UpdateFlags::ANY);
                stripe.run_tracers(run, self, Event::Update { cell, flags });
            }
            Ok(())
        })?
    }

    /// Refuses variables that refer to objects of programs.
    fn check_bytes(&self, offset: u32, len: usize) -> Result<(), MapError> {
        match self.owned() {
            Some(owned) if owned.fields().touches(offset as usize, len) => Err(MapError::OfPrograms),
            _ => Ok(()),
        }
    }

    fn with_section(&self, run: &Run<'_>, f: impl FnOnce()) -> Result<(), MapError> {
        match self.def.spin_lock {
            None => {
                f();
                Ok(())
            }
            Some(off) => crate::spin::with_lock(run, self.ops.value(SECTION, 0).part(off as usize, 4), f),
        }
    }
}
