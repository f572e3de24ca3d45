//! From element to element of what is walked.

use std::sync::Arc;

use super::Target;
use super::objects::link_type;
use crate::map::{Elem, Key, Map, MapHandle, Registered};
use crate::program::Program;
use crate::region::{SharedBytes, round_up_8};
use crate::run::{Forked, Run, Slots};
use crate::runtime::{Attachment, Inner};

/// How many positions of a map are looked at in one run: so few that a grace period does not wait for it.
const POSITIONS: u64 = 4096;

/// Where a walk is.
#[derive(Debug)]
pub(super) enum Walk {
    /// Through the elements of a map.
    Elements(Elements),
    /// Through the objects of the runtime, in the order of their ids.
    Objects {
        target: Target,
        /// The least id that the next one may have.
        next: u32,
        /// The one that it is at.
        at: Option<Object>,
    },
}

/// An object of the runtime.
#[derive(Debug)]
pub(super) enum Object {
    Map(Arc<Map>),
    Program(Arc<Program>),
    Link {
        id: u32,
        link_type: u32,
        program: Option<Arc<Program>>,
    },
}

impl Object {
    fn id(&self) -> u32 {
        match self {
            Object::Map(map) => map.id(),
            Object::Program(program) => program.id(),
            Object::Link { id, .. } => *id,
        }
    }
}

impl Walk {
    /// Goes on to the next element if it is at none, or at one that is gone. False at the end.
    pub(super) fn find(&mut self, inner: &Inner) -> Result<bool, Forked> {
        match self {
            Walk::Elements(elements) => elements.find(&inner.slots),
            Walk::Objects { target, next, at } => {
                if at.is_none() {
                    *at = inner.object(*target, *next);
                }
                Ok(at.is_some())
            }
        }
    }

    /// The element that it is at has been shown.
    pub(super) fn advance(&mut self) {
        match self {
            Walk::Elements(elements) => elements.position += 1,
            Walk::Objects { next, at, .. } => {
                if let Some(shown) = at.take() {
                    *next = shown.id() + 1;
                }
            }
        }
    }
}

impl Inner {
    /// The object with the least id that is not below this one.
    fn object(&self, target: Target, least: u32) -> Option<Object> {
        let control = self.control();
        match target {
            Target::MapElem | Target::Map => {
                let mut maps = control.maps.range(least..);
                maps.find_map(|(_, map)| Registered::get(map)).map(Object::Map)
            }
            Target::Prog => {
                let programs = control.live_programs().filter(|program| program.id() >= least);
                programs.min_by_key(|program| program.id()).map(Object::Program)
            }
            Target::Link => {
                let (id, attachment) = control.links.range(least..).next()?;
                let program = attachment.program().cloned();
                let link_type = match (attachment, &program) {
                    (Attachment::Hook { .. } | Attachment::Iter { .. }, Some(program)) => {
                        link_type(program.program_type().kind())
                    }
                    _ => link_type(hitless_verifier::ProgramKind::MapTrace),
                };
                Some(Object::Link {
                    id: *id,
                    link_type,
                    program,
                })
            }
        }
    }
}

/// A walk through the elements of a map.
#[derive(Debug)]
pub(super) struct Elements {
    pub(super) map: MapHandle,
    position: u64,
    /// Where the values of all slots are put side by side, if there is one for each.
    values: Vec<u64>,
}

impl Elements {
    pub(super) fn new(map: MapHandle) -> Elements {
        let words = if map.def().is_per_cpu() {
            map.host_value_size() / 8
        } else {
            0
        };
        Elements {
            map,
            position: 0,
            values: vec![0; words],
        }
    }

    fn find(&mut self, slots: &Slots) -> Result<bool, Forked> {
        let ops = self.map.ops();
        while self.position < ops.positions() {
            let end = ops.positions().min(self.position + POSITIONS);
            let found = slots.run(|_| (self.position..end).find(|position| self.map.live_at(*position).is_some()))?;
            self.position = found.unwrap_or(end);
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The key that it is at, if an element still is.
    pub(super) fn key(&self) -> Option<Key> {
        self.map.live_at(self.position).map(|(_, key)| key)
    }

    /// The element of this key, if that is where the walk is.
    pub(super) fn element(&self, key: &Key) -> Option<Elem> {
        let (position, elem) = self.map.ops().place_of(key)?;
        (position == self.position).then_some(elem)
    }

    /// What programs are shown as the value: where the element has it, or a copy of those of all slots.
    pub(super) fn value(&mut self, elem: Elem, run: &Run<'_>) -> SharedBytes<'_> {
        let ops = self.map.ops();
        if self.values.is_empty() {
            return ops.value(elem, run.index());
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.values);
        let size = self.map.def().value_size as usize;
        for (slot, part) in (0..).zip(bytes.chunks_exact_mut(round_up_8(size))) {
            ops.value(elem, slot).read(&mut part[..size]);
        }
        SharedBytes::from_mut(bytes)
    }
}
