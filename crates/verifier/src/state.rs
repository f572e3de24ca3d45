//! What is known at one point of one path: the registers and stacks of all active frames, the lock and the references
//! held.

use std::rc::Rc;

use hitless_isa::Reg;

use crate::domain::pointer::{Id, Pointer, PointerKind};
use crate::domain::stack::Stack;
use crate::domain::value::Value;
use crate::facts::{Trust, ValueFields};
use crate::places::Places;
use crate::program::Program;

/// The most frames that may be active at once (the kernel's `MAX_CALL_FRAMES`).
pub(crate) const MAX_FRAMES: usize = 8;

/// What is special about a frame that a helper made: it calls the subprogram back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Callback {
    /// Not while the helper runs but some time later, with a stack of its own.
    pub(crate) asynchronous: bool,
    /// What it may return, both included.
    pub(crate) returns: (i32, i32),
    /// Whether a lock is held while it runs, which it has to leave alone.
    pub(crate) locked: bool,
}

/// A helper that is calling back, or an iterator, and how many turns of it were counted (see `loops`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counted {
    /// Names this call of the helper on this path.
    pub(crate) id: Id,
    pub(crate) turns: u32,
}

/// How the turns that were counted on the way to one state compare with those on the way to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turns {
    /// They are turns of other loops, or fewer of some.
    Other,
    /// As many of each loop.
    Same,
    /// No fewer of any loop, and more of some.
    More,
}

/// One active subprogram.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its index in the list of subprograms.
    pub(crate) subprog: usize,
    /// Slot of the call that made the frame.
    pub(crate) call_pc: usize,
    /// If a helper made it.
    pub(crate) callback: Option<Callback>,
    /// The helper that it has called, if that calls back: as long as the path is inside of it, or at its call.
    pub(crate) calling: Option<Counted>,
    /// `r0` to `r9`.
    regs: [Value; 10],
    /// Its stack.
    pub(crate) stack: Rc<Stack>,
}

impl Frame {
    pub(crate) fn new(subprog: usize, call_pc: usize) -> Frame {
        Frame {
            subprog,
            call_pc,
            callback: None,
            calling: None,
            regs: [Value::Uninit; 10],
            stack: Rc::default(),
        }
    }

    /// A register other than `r10`.
    pub(crate) fn reg(&self, index: usize) -> &Value {
        &self.regs[index]
    }

    /// Sets a register other than `r10`.
    pub(crate) fn set(&mut self, reg: Reg, value: Value) {
        self.regs[reg.index()] = value;
    }

    /// Forgets `r0` to `r5`, which calls clobber.
    pub(crate) fn clobber_caller_saved(&mut self) {
        self.regs[..6].fill(Value::Uninit);
    }
}

/// A held `struct bpf_spin_lock`: that of one map value, or of one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeldLock {
    pub(crate) owner: LockOwner,
    /// Names the value: the lookup that it comes from; or the object: the reference that it is.
    pub(crate) id: Id,
}

/// What a lock is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockOwner {
    /// A value of this map.
    Map(u32),
    /// An object that the program allocated.
    Object,
}

/// The regions that a program is in because of kfuncs that it called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Regions {
    /// Whether it is in a read-side critical section of RCU.
    pub(crate) rcu: bool,
    /// How often it has said that it wants to keep its processor.
    pub(crate) preempt: u32,
}

impl Regions {
    /// The innermost call that is to be undone, as the kernel names it.
    pub(crate) fn open(self) -> Option<&'static str> {
        match self {
            Regions { rcu: true, .. } => Some("bpf_rcu_read_lock"),
            Regions { preempt: 1.., .. } => Some("bpf_preempt_disable"),
            Regions { .. } => None,
        }
    }
}

/// The most references that may be held at once. Linux has no limit but memory.
pub(crate) const MAX_REFERENCES: usize = 256;

/// Something that the program has to give back before it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    pub(crate) id: Id,
    /// Slot of the call that it comes from.
    pub(crate) pc: usize,
}

/// A set of machine states at one instruction. Clones share what neither has changed.
#[derive(Clone, Debug)]
pub(crate) struct State {
    frames: Vec<Rc<Frame>>,
    pub(crate) lock: Option<HeldLock>,
    pub(crate) regions: Regions,
    /// The references held, in the order in which they were acquired. They belong to no frame: what one acquires another
    /// may release.
    references: Rc<Vec<Reference>>,
    /// How many turns of `may_goto` were counted on the way here (see `loops`). No part of the set.
    pub(crate) turns: u32,
    /// Whether slices were made on the way here that may lie in the stack. No part of the set.
    pub(crate) has_stack_slices: bool,
}

impl State {
    /// On entry to the program.
    pub(crate) fn entry() -> State {
        let mut main = Frame::new(0, 0);
        main.set(Reg::R1, Value::Pointer(Pointer::to(PointerKind::Context)));
        State::with(main)
    }

    /// On entry to a global function, of which the argument registers hold `args`. What its callers hold is not its to
    /// release, so it begins with no references.
    pub(crate) fn entry_of(subprog: usize, args: impl Iterator<Item = (Reg, Value)>) -> State {
        let mut frame = Frame::new(subprog, 0);
        args.for_each(|(reg, value)| frame.set(reg, value));
        State::with(frame)
    }

    /// With one frame, and nothing held.
    pub(crate) fn with(frame: Frame) -> State {
        State {
            frames: vec![Rc::new(frame)],
            lock: None,
            regions: Regions::default(),
            references: Rc::default(),
            turns: 0,
            has_stack_slices: false,
        }
    }

    /// Whether what RCU protects stays while the program goes on: it does in all programs that may not sleep, and where others
    /// say so.
    pub(crate) fn in_rcu(&self, program: &Program<'_>) -> bool {
        self.regions.rcu || !program.input.context.sleepable
    }

    /// The references held.
    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Acquires a reference by the call at `pc`.
    pub(crate) fn acquire(&mut self, id: Id, pc: usize) {
        Rc::make_mut(&mut self.references).push(Reference { id, pc });
    }

    /// Whether a reference is held.
    pub(crate) fn holds(&self, id: Id) -> bool {
        self.references.iter().any(|reference| reference.id == id)
    }

    /// A reference is held no longer. Pointers that are part of it stay what they are.
    pub(crate) fn forget_reference(&mut self, id: Id) {
        Rc::make_mut(&mut self.references).retain(|reference| reference.id != id);
    }

    /// A dynptr on the stack of a frame ends, and the reference if it is one: its slices are numbers now.
    pub(crate) fn end_dynptr(&mut self, frame: u8, id: Id) {
        self.stack_mut(frame).unmake_dynptr(id);
        self.release(id);
    }

    /// Releases a reference: what pointed to it is a number now.
    pub(crate) fn release(&mut self, id: Id) {
        self.forget_reference(id);
        let part = |value: &Value| {
            let pointer = value.as_pointer();
            pointer.and_then(|pointer| pointer.kind.reference()) == Some(id)
        };
        self.for_each_value(part, |value| *value = Value::UNKNOWN);
    }

    /// A reference is given to a list or tree: what pointed to it stays good until the lock is released.
    pub(crate) fn lend(&mut self, id: Id) {
        self.forget_reference(id);
        let is_part = |value: &Value| value.as_object().is_some_and(|object| object.reference == id);
        self.for_each_value(is_part, |value| {
            if let Value::Pointer(pointer) = value
                && let PointerKind::Object(object) = &mut pointer.kind
            {
                object.reference = 0;
                object.trust = Trust::Locked;
            }
        });
    }

    /// Releases the lock: what only the lock kept may be gone, and so may, for Linux, everything that a list or tree may
    /// hold and that is no reference.
    pub(crate) fn unlock(&mut self, program: &Program<'_>) {
        self.lock = None;
        let was_kept = |value: &Value| {
            let object = value.as_object().filter(|object| object.reference == 0);
            object.is_some_and(|object| {
                object.trust == Trust::Locked
                    || object.trust == Trust::Rcu && program.own_fields(object.ty).is_some_and(ValueFields::has_node)
            })
        };
        self.for_each_value(was_kept, |value| *value = Value::UNKNOWN);
    }

    /// Ends a read-side critical section of RCU: what was protected may be gone.
    pub(crate) fn end_rcu(&mut self) {
        self.regions.rcu = false;
        let is_protected = |value: &Value| value.as_object().is_some_and(|object| object.trust == Trust::Rcu);
        self.for_each_value(is_protected, |value| {
            if let Value::Pointer(pointer) = value
                && let PointerKind::Object(object) = &mut pointer.kind
            {
                object.trust = Trust::Untrusted;
                object.nullable = false;
                object.id = 0;
            }
        });
    }

    pub(crate) fn frames(&self) -> &[Rc<Frame>] {
        &self.frames
    }

    /// Index of the current frame.
    pub(crate) fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frames[self.depth()]
    }

    pub(crate) fn frame_mut(&mut self) -> &mut Frame {
        let depth = self.depth();
        Rc::make_mut(&mut self.frames[depth])
    }

    pub(crate) fn push_frame(&mut self, frame: Frame) {
        self.frames.push(Rc::new(frame));
    }

    /// Leaves the current frame, or returns `None` in the main program.
    pub(crate) fn pop_frame(&mut self) -> Option<Rc<Frame>> {
        if self.frames.len() > 1 { self.frames.pop() } else { None }
    }

    /// A register of the current frame.
    pub(crate) fn reg(&self, reg: Reg) -> Value {
        if reg == Reg::R10 {
            return Value::Pointer(Pointer::to(PointerKind::Stack {
                frame: self.depth() as u8,
            }));
        }
        *self.frame().reg(reg.index())
    }

    pub(crate) fn set(&mut self, reg: Reg, value: Value) {
        self.frame_mut().set(reg, value);
    }

    pub(crate) fn stack(&self, frame: u8) -> &Stack {
        &self.frames[usize::from(frame)].stack
    }

    pub(crate) fn stack_mut(&mut self, frame: u8) -> &mut Stack {
        Rc::make_mut(&mut Rc::make_mut(&mut self.frames[usize::from(frame)]).stack)
    }

    /// Applies `change` to every register and spilled value of every frame for which `concerns` holds.
    pub(crate) fn for_each_value(&mut self, concerns: impl Fn(&Value) -> bool, mut change: impl FnMut(&mut Value)) {
        for frame in &mut self.frames {
            if frame.regs.iter().any(&concerns) {
                Rc::make_mut(frame)
                    .regs
                    .iter_mut()
                    .filter(|value| concerns(value))
                    .for_each(&mut change);
            }
            if frame.stack.spills().any(|(_, value)| concerns(value)) {
                let stack = Rc::make_mut(&mut Rc::make_mut(frame).stack);
                stack.spills_mut(&concerns).for_each(&mut change);
            }
        }
    }

    /// The helper that is about to be called calls back: `id` names the call, unless it is under way already.
    pub(crate) fn begin_calling(&mut self, id: impl FnOnce() -> Id) {
        if self.frame().calling.is_none() {
            self.frame_mut().calling = Some(Counted { id: id(), turns: 0 });
        }
    }

    /// The loops that are under way whose turns are counted, and how many were.
    fn loops(&self) -> impl Iterator<Item = Counted> + '_ {
        self.frames.iter().flat_map(|frame| {
            let iterators = frame.stack.all_iterators().iter();
            let iterators = iterators.map(|iterator| Counted {
                id: iterator.id,
                turns: iterator.turns,
            });
            frame.calling.into_iter().chain(iterators)
        })
    }

    /// How the turns counted on the way here compare with those on the way to `earlier`.
    pub(crate) fn turns_since(&self, earlier: &State) -> Turns {
        if self.turns < earlier.turns {
            return Turns::Other;
        }
        let mut more = self.turns > earlier.turns;
        let (mut new, mut old) = (self.loops(), earlier.loops());
        loop {
            match (new.next(), old.next()) {
                (Some(new), Some(old)) if new.id == old.id && new.turns >= old.turns => more |= new.turns > old.turns,
                (None, None) => return if more { Turns::More } else { Turns::Same },
                _ => return Turns::Other,
            }
        }
    }

    /// Whether turns of a loop were counted since `earlier`, which lies on the way here.
    pub(crate) fn turned_since(&self, earlier: &State) -> bool {
        let more = |new: Counted| earlier.loops().any(|old| new.id == old.id && new.turns > old.turns);
        self.turns > earlier.turns || self.loops().any(more)
    }

    /// The most turns that were counted of a loop that is under way.
    pub(crate) fn current_turns(&self) -> u32 {
        self.loops().map(|counted| counted.turns).fold(self.turns, u32::max)
    }

    /// Whether the same calls lead to both.
    pub(crate) fn same_calls(&self, other: &State) -> bool {
        let calls = |state: &State| state.frames.iter().map(|frame| frame.call_pc).collect::<Vec<_>>();
        self.frames.len() == other.frames.len() && calls(self) == calls(other)
    }

    /// Forgets numbers that are others than in `earlier`, which the same calls lead to, but for those in `kept`,
    /// of these perhaps constants only.
    pub(crate) fn widen(&mut self, earlier: &State, kept: &Places, constants_only: bool) {
        for ((frame, earlier), kept) in self.frames.iter_mut().zip(&earlier.frames).zip(&kept.frames) {
            let forget = |kept: bool, new: &Value, old: &Value| match (new, old) {
                (Value::Scalar(new, _), Value::Scalar(old, _)) => {
                    new != old && (!kept || constants_only && new.as_constant().is_none())
                }
                _ => false,
            };
            for index in 0..10 {
                if forget(kept.regs & 1 << index != 0, &frame.regs[index], &earlier.regs[index]) {
                    Rc::make_mut(frame).regs[index] = Value::UNKNOWN;
                }
            }
            let slots = frame.stack.spilled_in_both(&earlier.stack);
            let slots: Vec<usize> = slots
                .filter(|(slot, new, old)| forget(kept.slots & 1 << slot != 0, new, old))
                .map(|(slot, ..)| slot)
                .collect();
            if !slots.is_empty() {
                let stack = Rc::make_mut(&mut Rc::make_mut(frame).stack);
                slots.into_iter().for_each(|slot| stack.forget_number(slot));
            }
        }
    }

    /// The places of the values of all frames for which `concerns` holds.
    pub(crate) fn places(&self, concerns: impl Fn(&Value) -> bool) -> Places {
        let mut places = Places::default();
        for (frame, set) in self.frames.iter().zip(&mut places.frames) {
            for (index, value) in frame.regs.iter().enumerate() {
                set.regs |= u16::from(concerns(value)) << index;
            }
            for (slot, value) in frame.stack.spills() {
                set.slots |= u64::from(concerns(value)) << slot;
            }
        }
        places
    }
}
