//! Sets of places that hold values: registers and stack slots of the active frames.

use crate::domain::stack::Slots;
use crate::state::MAX_FRAMES;

/// Places of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FramePlaces {
    /// Bit `i` for `r<i>`.
    pub(crate) regs: u16,
    /// Slots of its stack.
    pub(crate) slots: Slots,
}

impl FramePlaces {
    pub(crate) fn is_empty(self) -> bool {
        self == FramePlaces::default()
    }

    /// The places of `self` that are not in `other`.
    fn without(self, other: FramePlaces) -> FramePlaces {
        FramePlaces {
            regs: self.regs & !other.regs,
            slots: self.slots & !other.slots,
        }
    }

    fn with(self, other: FramePlaces) -> FramePlaces {
        FramePlaces {
            regs: self.regs | other.regs,
            slots: self.slots | other.slots,
        }
    }
}

/// Places of all frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Places {
    pub(crate) frames: [FramePlaces; MAX_FRAMES],
}

impl Places {
    /// Registers of one frame.
    pub(crate) fn registers(frame: usize, regs: u16) -> Places {
        let mut places = Places::default();
        places.frames[frame].regs = regs;
        places
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.iter().all(|frame| frame.is_empty())
    }

    /// How many places there are.
    pub(crate) fn count(&self) -> u32 {
        let count = |frame: &FramePlaces| frame.regs.count_ones() + frame.slots.count_ones();
        self.frames.iter().map(count).sum()
    }

    /// Whether some place is in both.
    pub(crate) fn meets(&self, other: &Places) -> bool {
        let mut pairs = self.frames.iter().zip(&other.frames);
        pairs.any(|(a, b)| a.regs & b.regs != 0 || a.slots & b.slots != 0)
    }

    /// Removes the places that are not in `other`.
    pub(crate) fn restrict(&mut self, other: &Places) {
        for (frame, other) in self.frames.iter_mut().zip(&other.frames) {
            frame.regs &= other.regs;
            frame.slots &= other.slots;
        }
    }

    /// Adds the places of `other`.
    pub(crate) fn add(&mut self, other: &Places) {
        for (frame, other) in self.frames.iter_mut().zip(&other.frames) {
            *frame = frame.with(*other);
        }
    }

    /// Adds the places of `other`; returns those that are new.
    pub(crate) fn extend(&mut self, other: &Places) -> Places {
        let mut new = Places::default();
        for ((frame, other), new) in self.frames.iter_mut().zip(&other.frames).zip(&mut new.frames) {
            *new = other.without(*frame);
            *frame = frame.with(*other);
        }
        new
    }
}
