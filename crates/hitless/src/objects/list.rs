//! Lists (`struct bpf_list_head`), in map values and in objects. Whoever touches one holds the lock beside it.
//!
//! ```text
//! head   first  last                 addresses of nodes; 0 if there are none
//! node   next   before   owner       the head that it is linked by; 0 if by none
//! ```
//!
//! A list ends with a 0, so a head of zeros is an empty list. The references of what is in it are the list's.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use super::{Heap, Released, word};

/// Which end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Front,
    Back,
}

/// Where the address of the owner is in a node of a list.
const OWNER: u64 = 16;

/// What a node that is about to be linked has for an owner.
pub(super) const NOBODY: u64 = 1;

impl End {
    /// Where a head has the address of the node at this end, and a node that of its neighbour in the other direction.
    fn off(self) -> u64 {
        match self {
            End::Front => 0,
            End::Back => 8,
        }
    }

    fn other(self) -> End {
        match self {
            End::Front => End::Back,
            End::Back => End::Front,
        }
    }
}

/// Puts an object at an end of a list; false if it is in one already, and the reference is gone.
///
/// # Safety
/// There is a head, whose lock is held, and a node of an object of the heap, to which the caller has a reference.
pub(crate) unsafe fn push(heap: &Heap, head: u64, node: u64, end: End) -> bool {
    // SAFETY: as for this function; what is linked are nodes.
    unsafe {
        if word(node + OWNER).compare_exchange(0, NOBODY, AcqRel, Relaxed).is_err() {
            heap.release(heap.object_of(node));
            return false;
        }
        let (here, there) = (end.off(), end.other().off());
        let neighbour = word(head + here).load(Relaxed);
        // A node has the one behind it where a head has the first.
        word(node + here).store(neighbour, Relaxed);
        word(node + there).store(0, Relaxed);
        word(head + here).store(node, Relaxed);
        let back = if neighbour == 0 { head } else { neighbour };
        word(back + there).store(node, Relaxed);
        word(node + OWNER).store(head, Release);
    }
    true
}

/// Takes the object at an end of a list; its reference is the caller's then. Returns the node, or 0.
///
/// # Safety
/// There is a head, whose lock is held.
pub(crate) unsafe fn pop(head: u64, end: End) -> u64 {
    // SAFETY: as for this function; what is linked are nodes.
    unsafe {
        let (here, there) = (end.off(), end.other().off());
        let node = word(head + here).load(Relaxed);
        if node != 0 {
            let neighbour = word(node + here).load(Relaxed);
            word(head + here).store(neighbour, Relaxed);
            let back = if neighbour == 0 { head } else { neighbour };
            word(back + there).store(0, Relaxed);
            word(node + OWNER).store(0, Release);
        }
        node
    }
}

/// The node at an end of a list, or 0.
///
/// # Safety
/// There is a head, whose lock is held.
pub(crate) unsafe fn peek(head: u64, end: End) -> u64 {
    // SAFETY: as for this function.
    unsafe { word(head + end.off()) }.load(Relaxed)
}

/// Empties a list; returns its first node, from which the others can be found.
///
/// # Safety
/// There is a head, whose lock is held, or which nobody else has.
pub(super) unsafe fn detach(head: u64) -> u64 {
    // SAFETY: as for this function.
    unsafe {
        let first = word(head).load(Relaxed);
        word(head).store(0, Relaxed);
        word(head + 8).store(0, Relaxed);
        first
    }
}

/// Lets go of the objects of a list that was detached.
///
/// # Safety
/// The first node is what [`detach`] returned.
pub(super) unsafe fn release(mut node: u64, released: &mut Released<'_>) {
    while node != 0 {
        // SAFETY: as for this function; the reference was the list's. Who has another one may link the object as soon as it has
        // no owner.
        unsafe {
            let next = word(node).load(Relaxed);
            word(node + OWNER).store(0, Release);
            released.add_node(node);
            node = next;
        }
    }
}
