//! Whether one state covers another.

use crate::domain::value::IdMap;
use crate::program::Program;
use crate::state::{Frame, State};

/// Whether every machine state that `new` stands for is one that `old` stands for, as far as anything that can follow
/// from `pc` depends on it: registers that are written before they are read do not matter.
pub(crate) fn covers(program: &Program<'_>, pc: usize, old: &State, new: &State, ids: &mut IdMap) -> bool {
    ids.clear();
    let (old_frames, new_frames) = (old.frames(), new.frames());
    if old_frames.len() != new_frames.len() {
        return false;
    }
    // A held lock is part of the state; all that is asked of it later is whether it is the lock of some pointer.
    let same_lock = match (old.lock, new.lock) {
        (None, None) => true,
        (Some(old), Some(new)) => old.map == new.map && ids.rename_object(old.id, new.id),
        _ => false,
    };
    if !same_lock {
        return false;
    }
    // Callers go on behind their calls. The current frame comes first: it is the likeliest to differ.
    let resume = |depth: usize| match old_frames.get(depth + 1) {
        Some(callee) => program.live[callee.call_pc + 1],
        None => program.live[pc],
    };
    (0..old_frames.len()).rev().all(|depth| {
        let (old, new) = (&old_frames[depth], &new_frames[depth]);
        old.call_pc == new.call_pc && old.subprog == new.subprog && frame_covers(old, new, resume(depth), ids)
    })
}

fn frame_covers(old: &Frame, new: &Frame, live: u16, ids: &mut IdMap) -> bool {
    let registers = (0..10).filter(|index| live & 1 << index != 0);
    for index in registers {
        if !new.reg(index).leq(old.reg(index), ids) {
            return false;
        }
    }
    new.stack.leq(&old.stack, ids)
}
