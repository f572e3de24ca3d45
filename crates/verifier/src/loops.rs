//! Loops whose number of turns something bounds while the program runs: the counter of `may_goto`, helpers that call a
//! function of the program back, and open-coded iterators.
//!
//! # Why a path may end at a state that is not complete
//!
//! A state knows how many turns were counted on the way to it: of `may_goto`, over the whole run
//! ([`State::turns`](crate::state::State)), and of each call of a helper that is calling back
//! ([`Frame::calling`](crate::state::Frame)) and each iterator. Such a *counter* has a name that no other has, given where
//! the path comes to the call or makes the iterator, and is forgotten where the path goes on behind the call, or loses the
//! iterator. A path ends at a kept state *N* that is not complete if every machine state of its own is one of *N*'s, whether
//! its numbers matter or not, and there are the same counters, by name, and no fewer turns of any were counted (nor of
//! `may_goto`), and
//!
//! - *N* lies on the path, and more turns of something were counted; or
//! - every path that left *N* has ended.
//!
//! All paths from *N* are followed or the program is refused, so each step of a run is one of a path from some state that
//! was followed: requirements hold. Could a run go on for ever? It would follow paths and go over from their ends to other
//! states. It goes over to complete ones only so often: what can be reached from those was complete before. Else it is the
//! first case or the second. In the second *N* had ended before the path did, and the states that follow *N* end before *N*
//! does; only the first case leads back to what ends later. So there is a state *N* to which the run comes back for ever by
//! the first case, and after some time it only goes through states that follow *N*.
//!
//! Take a counter at *N*. Its name was given before *N*, so no state that follows *N* gives it anew, and going over changes
//! no names. If the helper returned, or the iterator was lost, the run could not come back to *N*. So it is one and the same
//! call or iterator at run time, which makes only so many turns; `may_goto` does, too. Each time the run comes back to *N*,
//! the number of turns of one of these has become less by going over, and it never becomes greater so. Hence a turn was made
//! for each, and there are only so many.
//!
//! What lies within a loop that was left is no argument for a loop around it: its name is forgotten, and the path has
//! counted nothing. (Linux asks less, and accepts some loops that never end around loops that do.)
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
