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
    let mut current = node.previous();
    while let Some(earlier) = current {
        if earlier.pc == node.pc && earlier.state.same_calls(&node.state) {
            return Some(earlier);
        }
        current = earlier.previous();
    }
    None
}

/// After so many turns only constants are kept.
const MANY_TURNS: u32 = 8;

/// Widens `state`, which follows that of the turn before, `earlier`.
pub(crate) fn widen(state: &mut State, earlier: &Node) {
    let marks = earlier.marks.borrow();
    let constants_only = state.turns > MANY_TURNS;
    state.widen(&earlier.state, &marks.precise, constants_only);
}
