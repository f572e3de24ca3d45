//! Loops whose number of turns something bounds while the program runs: the counter of `may_goto`.
//!
//! # Why a path may end at a state that is not complete
//!
//! A state knows how many turns were counted on the way to it ([`State::turns`](crate::state::State)). A path ends at a kept
//! state *N* that is not complete if every machine state of its own is one of *N*'s, whether its numbers matter or not, and
//!
//! - *N* lies on the path, and turns were counted since; or
//! - every path that left *N* has ended, and no fewer turns were counted on this path than on the way to *N*.
//!
//! All paths from *N* are followed or the program is refused, so each step of a run is one of a path from some state that
//! was followed: requirements hold. Could a run go round for ever without a turn being counted? It would follow paths and
//! go over from their ends to states like *N*, and come back to where it was, by steps that count no turn. In the first case
//! fewer turns were counted at *N* than at the end of the path, and nothing makes good for that. So all are of the second
//! case, where *N* had ended before the path did; and the states that follow *N* end before *N* does. Nothing leads back to
//! what ends later. So in each round a turn is counted, and there are only so many.
//!
//! # What matters in a loop
//!
//! What turns out to matter at *N* matters at the ends of these paths too, and so on the way to them. That is known only when
//! every path from *N* has ended. Until then the states between are *held*: they are not complete, although no path through
//! them is followed any more. The outermost state that some of them wait for is their *root*; when its paths have ended,
//! marks are carried over from each *N* to the ends of paths there until nothing changes any more, and all are complete.

use std::rc::Rc;

use crate::history::Segment;
use crate::node::{Marks, Node};
use crate::state::State;

/// A path that ended at a state that is not complete.
#[derive(Debug)]
pub(crate) struct End {
    /// The last state of the path that was kept, and the steps since.
    pub(crate) node: Option<Rc<Node>>,
    pub(crate) segment: Segment,
    pub(crate) state: State,
    /// The state that covers it.
    pub(crate) target: Rc<Node>,
    /// What was carried over from there.
    pub(crate) carried: Option<Marks>,
}

/// The ends of paths whose marks are not known yet.
#[derive(Debug, Default)]
pub(crate) struct Loops {
    ends: Vec<End>,
}

impl Loops {
    /// Ends a path at a state that is not complete: what lies between waits for the root.
    pub(crate) fn hold(&mut self, end: End) {
        let root = Node::root(&end.target);
        root.is_root.set(true);
        let mut current = end.node.clone();
        while let Some(node) = current.filter(|node| !Rc::ptr_eq(node, &root)) {
            node.wait_for(&root);
            current = node.previous();
        }
        self.ends.push(end);
    }

    /// The ends of paths that wait for `root`.
    pub(crate) fn take(&mut self, root: &Rc<Node>) -> Vec<End> {
        root.is_root.set(false);
        let waits = |end: &mut End| Rc::ptr_eq(&Node::root(&end.target), root);
        self.ends.extract_if(.., waits).collect()
    }
}

impl End {
    /// The states that waited are complete.
    pub(crate) fn release(self, root: &Rc<Node>) {
        let mut current = self.node;
        while let Some(node) = current.filter(|node| !Rc::ptr_eq(node, root)) {
            current = node.release();
        }
    }
}
