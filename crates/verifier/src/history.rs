//! What a path did since a state of it was last kept, in as much detail as it takes to walk back along it.

use std::rc::Rc;

use crate::domain::stack::Slots;
use crate::places::Places;
use crate::state::MAX_FRAMES;
use crate::uses::{StackSlot, Uses};

/// What an instruction did that depends on the state it ran in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Nothing of the sort.
    None,
    /// A load took a spilled number from this slot, or a store spilled one to it.
    Spill(StackSlot),
    /// A helper called a subprogram back, or that returned to it.
    Callback,
    /// A branch narrowed linked numbers together: index of the places in the segment.
    Linked(u16),
    /// It left the frame, by a tail call: another program ran in its place.
    Replaced,
}

/// One instruction on a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) pc: u32,
    /// Which of all steps of the search it is.
    pub(crate) at: u32,
    pub(crate) effect: Effect,
}

/// Consecutive steps of a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) steps: Vec<Step>,
    linked: Vec<Rc<Places>>,
    /// Stack slots of each frame that were overwritten in these steps.
    pub(crate) written: [Slots; MAX_FRAMES],
}

impl Segment {
    /// Adds a step that took notice of `uses`.
    pub(crate) fn push(&mut self, pc: usize, at: usize, uses: &mut Uses) {
        let effect = match (uses.spill, uses.linked.take()) {
            _ if uses.callback => Effect::Callback,
            (Some(slot), _) => Effect::Spill(slot),
            (None, Some(places)) => {
                self.linked.push(Rc::from(places));
                // A segment ends before it has so many steps.
                Effect::Linked((self.linked.len() - 1) as u16)
            }
            (None, None) => Effect::None,
        };
        self.steps.push(Step {
            pc: pc as u32,
            at: at as u32,
            effect,
        });
        if uses.stack {
            for (written, new) in self.written.iter_mut().zip(uses.written) {
                *written |= new;
            }
        }
    }

    /// The last step was a tail call that left the frame.
    pub(crate) fn replaced(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.effect = Effect::Replaced;
        }
    }

    /// In its last step the helper has called back, into a new frame at `depth`.
    pub(crate) fn calls_back(&mut self, depth: usize) {
        if let Some(step) = self.steps.last_mut() {
            step.effect = Effect::Callback;
        }
        self.written[depth] = Slots::MAX;
    }

    /// The places that a step narrowed together.
    pub(crate) fn linked(&self, step: &Step) -> Option<&Places> {
        match step.effect {
            Effect::Linked(index) => Some(&self.linked[usize::from(index)]),
            _ => None,
        }
    }
}
