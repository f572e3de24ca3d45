//! Whether one state covers another.

use crate::domain::stack::Slots;
use crate::domain::value::IdMap;
use crate::node::Marks;
use crate::places::{FramePlaces, Places};
use crate::program::Program;
use crate::state::{Frame, MAX_FRAMES, State};

/// Everything matters.
pub(crate) const EXACT: Marks = Marks {
    precise: Places {
        frames: [FramePlaces {
            regs: u16::MAX,
            slots: Slots::MAX,
        }; MAX_FRAMES],
    },
    read: [Slots::MAX; MAX_FRAMES],
};

/// Whether every machine state that `new` stands for is one for which everything was proved that was proved for `old`,
/// of which the paths that left it made `marks`. Registers that are written before they are read do not matter, stack slots
/// likewise, and of numbers only those that are precise.
pub(crate) fn covers(
    program: &Program<'_>,
    pc: usize,
    old: &State,
    marks: &Marks,
    new: &State,
    ids: &mut IdMap,
) -> bool {
    ids.clear();
    let (old_frames, new_frames) = (old.frames(), new.frames());
    if old_frames.len() != new_frames.len() {
        return false;
    }
    // A held lock is part of the state; all that is asked of it later is whether it is the lock of some pointer.
    let same_lock = match (old.lock, new.lock) {
        (None, None) => true,
        (Some(old), Some(new)) => old.owner == new.owner && ids.rename_object(old.id, new.id),
        _ => false,
    };
    // References have names of their own in either state, so this pairs them one to one.
    let (old_references, new_references) = (old.references(), new.references());
    let same_references = old_references.len() == new_references.len()
        && old_references
            .iter()
            .zip(new_references)
            .all(|(old, new)| ids.rename_object(old.id, new.id));
    if !same_lock || !same_references || old.regions != new.regions {
        return false;
    }
    // Callers go on behind their calls. The current frame comes first: it is the likeliest to differ.
    let resume = |depth: usize| match old_frames.get(depth + 1) {
        // A helper that called back may do so again.
        Some(callee) if callee.callback.is_some() => program.live[callee.call_pc],
        Some(callee) => program.live[callee.call_pc + 1],
        None => program.live[pc],
    };
    (0..old_frames.len()).rev().all(|depth| {
        let (old, new) = (&old_frames[depth], &new_frames[depth]);
        let precise = marks.precise.frames[depth];
        // From the one that called back less often more turns were followed.
        let turns = |frame: &Frame| frame.calling.map(|calling| calling.turns);
        old.call_pc == new.call_pc
            && old.subprog == new.subprog
            && old.callback == new.callback
            && turns(old) <= turns(new)
            && registers_cover(old, new, resume(depth), precise.regs, ids)
            && new.stack.leq(&old.stack, marks.read[depth], precise.slots, ids)
    })
}

/// Whether both states are the same, as far as anything that can follow depends on them.
pub(crate) fn same(program: &Program<'_>, pc: usize, old: &State, new: &State, ids: &mut IdMap) -> bool {
    covers(program, pc, old, &EXACT, new, ids) && covers(program, pc, new, &EXACT, old, ids)
}

fn registers_cover(old: &Frame, new: &Frame, live: u16, precise: u16, ids: &mut IdMap) -> bool {
    (0..10)
        .filter(|index| live & 1 << index != 0)
        .all(|index| new.reg(index).leq(old.reg(index), precise & 1 << index != 0, ids))
}
