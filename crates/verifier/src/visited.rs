//! The states kept at checkpoints, and which of them are worth keeping.

use std::rc::Rc;

use crate::domain::value::IdMap;
use crate::node::Node;
use crate::program::Program;
use crate::prune::{EXACT, covers, same};
use crate::state::{State, Turns};

/// A kept state that was of use `hits` times is dropped after `MISSES * (hits + 1)` comparisons in vain.
const MISSES: u32 = 3;
/// One after so many where turns are counted and some of its turns are still to be followed: they come back to it.
const TURN_MISSES: u32 = 64;

/// What earlier states say about an arrival.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Nothing.
    New {
        /// Whether the path has been at this checkpoint before, in another state.
        again: bool,
    },
    /// Everything that can follow has been followed from this state.
    Covered(Rc<Node>),
    /// This state, which is not complete, stands for all that can be here, and what loops there are have an end.
    Turn(Rc<Node>),
    /// The path has been here before.
    Loop,
}

/// All kept states.
pub(crate) struct Visited {
    /// Those at each checkpoint that has any. The first has none: it stands for all slots without.
    checkpoints: Vec<Vec<Rc<Node>>>,
    /// For each slot which of them it has.
    numbers: Vec<u32>,
    id_map: IdMap,
    count: usize,
}

impl Visited {
    pub(crate) fn new(slots: usize) -> Visited {
        Visited {
            checkpoints: vec![Vec::new()],
            numbers: vec![0; slots],
            id_map: IdMap::default(),
            count: 0,
        }
    }

    /// How many states are kept.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How many states are kept at a checkpoint.
    pub(crate) fn count_at(&self, pc: usize) -> usize {
        self.checkpoints[self.numbers[pc] as usize].len()
    }

    /// Compares a state that arrives at a checkpoint with those kept there, newest first.
    pub(crate) fn compare(&mut self, program: &Program<'_>, pc: usize, state: &State) -> Seen {
        let ids = &mut self.id_map;
        let mut again = false;
        for node in self.checkpoints[self.numbers[pc] as usize].iter().rev() {
            if node.is_complete() {
                if covers(program, pc, &node.state, &node.marks.borrow(), state, ids) {
                    node.hits.set(node.hits.get() + 1);
                    return Seen::Covered(Rc::clone(node));
                }
            } else if node.is_held() {
                let no_fewer = state.turns_since(&node.state) != Turns::Other;
                if no_fewer && covers(program, pc, &node.state, &EXACT, state, ids) {
                    return Seen::Turn(Rc::clone(node));
                }
            } else {
                let more = program.counts_turns(pc) && state.turns_since(&node.state) == Turns::More;
                if more && covers(program, pc, &node.state, &EXACT, state, ids) {
                    return Seen::Turn(Rc::clone(node));
                }
                if !state.turned_since(&node.state) && same(program, pc, &node.state, state, ids) {
                    return Seen::Loop;
                }
                again = true;
            }
        }
        Seen::New { again }
    }

    /// Keeps the state that was just compared in vain, and drops those that were compared in vain too often.
    pub(crate) fn keep(&mut self, program: &Program<'_>, pc: usize, node: &Rc<Node>) {
        let counts_turns = program.counts_turns(pc);
        let number = &mut self.numbers[pc];
        if *number == 0 {
            // There are no more checkpoints than slots.
            *number = self.checkpoints.len() as u32;
            self.checkpoints.push(Vec::new());
        }
        let nodes = &mut self.checkpoints[*number as usize];
        let before = nodes.len();
        nodes.retain(|node| {
            let misses = node.misses.get() + 1;
            node.misses.set(misses);
            let returns = counts_turns && !node.is_complete();
            let bearable = if returns { TURN_MISSES } else { MISSES };
            misses <= bearable * (node.hits.get() + 1)
        });
        nodes.push(Rc::clone(node));
        self.count = self.count + nodes.len() - before;
    }
}
