//! Makes a state of a loop's next turn so large that the turns after it are no larger.
//!
//! Numbers that differ from turn to turn and have decided nothing so far become any number; after many turns also those
//! that have, if they are not constants: bounds that shrink or wander from turn to turn need not come to an end. A larger state stands for
//! more machine states, so this can only make the proof harder; which numbers to choose is a matter of cost.

use std::rc::Rc;

use crate::node::Node;
use crate::state::State;

/// The kept state of the turn before that of `node`: at the same instruction, reached by the same calls.
pub(crate) fn previous_turn(node: &Rc<Node>) -> Option<Rc<Node>> {
    last_at(node.previous().as_ref(), node.pc, &node.state)
}

/// The latest kept state on the way to `state`, at `node` or before it, that was at `pc` by the same calls.
pub(crate) fn last_at(node: Option<&Rc<Node>>, pc: usize, state: &State) -> Option<Rc<Node>> {
    let mut current = node.cloned();
    while let Some(node) = current {
        if node.pc == pc && node.state.same_calls(state) {
            return Some(node);
        }
        current = node.previous();
    }
    None
}

/// After so many turns only constants are kept.
const MANY_TURNS: u32 = 8;

/// Widens `state`, which follows that of the turn before, `earlier`.
pub(crate) fn widen(state: &mut State, earlier: &Node) {
    let marks = earlier.marks.borrow();
    let constants_only = state.current_turns() > MANY_TURNS;
    state.widen(&earlier.state, &marks.precise, constants_only);
}
