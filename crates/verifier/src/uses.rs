//! What one instruction, run in one state, took notice of.

use crate::domain::stack::Slots;
use crate::places::Places;
use crate::state::MAX_FRAMES;
use hitless_isa::{Operand, Reg};

/// A slot of a frame's stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StackSlot {
    pub(crate) frame: u8,
    pub(crate) slot: u8,
}

/// Collected by checks and transfer functions; the search passes it on to the kept states that the path came through.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// Registers of the current frame (bits) whose numbers decided something: they are to be precise.
    pub(crate) values: u16,
    /// Whether `read` or `written` has anything.
    pub(crate) stack: bool,
    /// Slots that were read, by frame.
    pub(crate) read: [Slots; MAX_FRAMES],
    /// Slots that were overwritten altogether, by frame.
    pub(crate) written: [Slots; MAX_FRAMES],
    /// The slot whose number decided something.
    pub(crate) slot_value: Option<StackSlot>,
    /// The constant index given to a helper that looks something up in an array. Not for the search, but for the facts.
    pub(crate) index: Option<u32>,
    /// The slot from which a register was filled, or to which one was spilled.
    pub(crate) spill: Option<StackSlot>,
    /// Whether a callback returned to the helper.
    pub(crate) callback: bool,
    /// The linked numbers that were narrowed together.
    pub(crate) linked: Option<Box<Places>>,
}

impl Uses {
    pub(crate) fn clear(&mut self) {
        self.values = 0;
        self.slot_value = None;
        self.index = None;
        self.callback = false;
        self.spill = None;
        self.linked = None;
        if self.stack {
            self.stack = false;
            self.read = [0; MAX_FRAMES];
            self.written = [0; MAX_FRAMES];
        }
    }

    /// The number in a register decided something.
    pub(crate) fn value(&mut self, reg: Reg) {
        self.values |= 1 << reg.index();
    }

    /// The operand decided something.
    pub(crate) fn operand(&mut self, operand: Operand) {
        if let Operand::Reg(reg) = operand {
            self.value(reg);
        }
    }

    pub(crate) fn read(&mut self, frame: u8, slots: Slots) {
        self.stack = true;
        self.read[usize::from(frame)] |= slots;
    }

    pub(crate) fn written(&mut self, frame: u8, slots: Slots) {
        self.stack = true;
        self.written[usize::from(frame)] |= slots;
    }
}
