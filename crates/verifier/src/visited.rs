//! The states seen at checkpoints, found again by what a covering state must have in common with the one it covers.
//!
//! A kept state covers another only if its known constants and pointer offsets are the other's too. So the states of a
//! checkpoint are grouped by *which* live registers hold such a thing, and within a group hashed by *what* they hold. A
//! loop with a counter then finds the one state that had the same count, among thousands.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::domain::pointer::PointerKind;
use crate::domain::value::{IdMap, Value};
use crate::program::Program;
use crate::prune::covers;
use crate::state::State;

/// The most states kept at a time. Beyond it, arrivals are compared but not kept: slower, not less sound.
const KEPT_LIMIT: usize = 32_768;

/// The most states compared with one arrival, newest first in each group.
const COMPARED_LIMIT: usize = 64;

/// The most groups at a checkpoint.
const GROUP_LIMIT: usize = 32;

/// How many paths through a kept state are still being followed. Kept states on one path form a chain.
#[derive(Debug)]
pub(crate) struct Progress {
    paths: Cell<usize>,
    previous: Option<Rc<Progress>>,
}

impl Progress {
    /// One path.
    pub(crate) fn begin(previous: Option<&Rc<Progress>>) -> Rc<Progress> {
        Rc::new(Progress {
            paths: Cell::new(1),
            previous: previous.cloned(),
        })
    }

    /// One more path.
    pub(crate) fn path_forked(&self) {
        self.paths.set(self.paths.get() + 1);
    }

    /// One path has ended.
    pub(crate) fn path_ended(self: &Rc<Progress>) {
        let mut current = Some(self);
        while let Some(progress) = current {
            let left = progress.paths.get() - 1;
            progress.paths.set(left);
            if left > 0 {
                return;
            }
            current = progress.previous.as_ref();
        }
    }

    fn is_complete(&self) -> bool {
        self.paths.get() == 0
    }
}

impl Drop for Progress {
    /// Chains are long; they are taken apart without recursion.
    fn drop(&mut self) {
        let mut previous = self.previous.take();
        while let Some(mut progress) = previous.and_then(Rc::into_inner) {
            previous = progress.previous.take();
        }
    }
}

/// A state that was at a checkpoint.
struct Kept {
    state: State,
    progress: Rc<Progress>,
    hits: u32,
    misses: u32,
}

/// What a register holds, as far as a state that covers another must hold the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Mark {
    #[default]
    Ignored,
    Constant(u64),
    Pointer(std::mem::Discriminant<PointerKind>, i64),
}

type Marks = [Mark; 10];

/// The states with marks in the same registers.
struct Group {
    registers: u16,
    states: HashMap<Marks, Vec<Kept>>,
}

/// What earlier states say about an arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// Nothing.
    New,
    /// Everything that can follow has been followed.
    Covered,
    /// The path has been here before.
    Loop,
}

/// All kept states.
pub(crate) struct Visited {
    checkpoints: Vec<Vec<Group>>,
    id_map: IdMap,
    count: usize,
}

fn mark(value: &Value) -> Option<Mark> {
    match value {
        Value::Scalar(scalar, _) => scalar.as_constant().map(Mark::Constant),
        Value::Pointer(pointer) => Some(Mark::Pointer(std::mem::discriminant(&pointer.kind), pointer.fixed)),
        Value::Uninit => None,
    }
}

/// The marks of some registers, or `None` if one of them has none.
fn marks(state: &State, registers: u16) -> Option<Marks> {
    let mut marks = Marks::default();
    for (index, slot) in marks.iter_mut().enumerate() {
        if registers & 1 << index != 0 {
            *slot = mark(state.frame().reg(index))?;
        }
    }
    Some(marks)
}

impl Visited {
    pub(crate) fn new(slots: usize) -> Visited {
        Visited {
            checkpoints: (0..slots).map(|_| Vec::new()).collect(),
            id_map: IdMap::default(),
            count: 0,
        }
    }

    /// How many states are kept.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Compares a state that arrives at a checkpoint with those kept there.
    pub(crate) fn compare(&mut self, program: &Program<'_>, pc: usize, state: &State) -> Seen {
        let ids = &mut self.id_map;
        let mut budget = COMPARED_LIMIT;
        for group in &mut self.checkpoints[pc] {
            let Some(states) = marks(state, group.registers).and_then(|marks| group.states.get_mut(&marks)) else {
                continue;
            };
            for index in (0..states.len()).rev().take(budget) {
                budget -= 1;
                let kept = &mut states[index];
                let complete = kept.progress.is_complete();
                if covers(program, pc, &kept.state, state, ids) {
                    if complete {
                        kept.hits += 1;
                        return Seen::Covered;
                    }
                    if covers(program, pc, state, &kept.state, ids) {
                        return Seen::Loop;
                    }
                }
                kept.misses += 1;
                // Complete states that never help only cost comparisons.
                if complete && kept.misses > 16 * (kept.hits + 1) {
                    states.remove(index);
                    self.count -= 1;
                }
            }
        }
        Seen::New
    }

    /// Keeps a state, if there is room; `progress` is that of the path that comes with it.
    pub(crate) fn keep(&mut self, program: &Program<'_>, pc: usize, state: &State, progress: &Rc<Progress>) -> bool {
        if self.count >= KEPT_LIMIT {
            return false;
        }
        let live = (0..10).filter(|index| program.live[pc] & 1 << index != 0);
        let registers = live
            .filter(|&index| mark(state.frame().reg(index)).is_some())
            .map(|index| 1 << index)
            .sum();
        let Some(marks) = marks(state, registers) else {
            return false;
        };
        let groups = &mut self.checkpoints[pc];
        let index = match groups.iter().position(|group| group.registers == registers) {
            Some(index) => index,
            None if groups.len() >= GROUP_LIMIT => return false,
            None => {
                groups.push(Group {
                    registers,
                    states: HashMap::new(),
                });
                groups.len() - 1
            }
        };
        let kept = Kept {
            state: state.clone(),
            progress: Rc::clone(progress),
            hits: 0,
            misses: 0,
        };
        groups[index].states.entry(marks).or_default().push(kept);
        self.count += 1;
        true
    }
}
