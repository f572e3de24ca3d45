//! Ordered trees (`struct bpf_rb_root`), in map values and in objects: red-black trees, balanced as the textbooks do it. Whoever
//! touches one holds the lock beside it.
//!
//! ```text
//! root   node   first                       addresses of nodes; 0 if there are none
//! node   left   right   parent   owner      the lowest bit of the parent: black; owner: the root that it is linked by, or 0
//! ```
//!
//! The order is the program's: a function of its says of two nodes which one is less. The references of what is in a tree are
//! the tree's.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::list::NOBODY;
use super::{Heap, Released, word};

/// A side of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

const FIRST: u64 = 8;
const PARENT: u64 = 16;
const OWNER: u64 = 24;
const BLACK: u64 = 1;

impl Side {
    fn off(self) -> u64 {
        match self {
            Side::Left => 0,
            Side::Right => 8,
        }
    }

    fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// A tree whose lock is held.
pub(crate) struct Tree {
    root: u64,
}

/// Nodes by their addresses; 0 is none, and black.
impl Tree {
    /// # Safety
    /// There is a root, whose lock is held, or which nobody else has, as long as this is used. Nodes that methods are given are
    /// in it, or are to be.
    pub(crate) unsafe fn at(root: u64) -> Tree {
        Tree { root }
    }

    fn load(at: u64) -> u64 {
        // SAFETY: a word of the root or of a node of this tree, by the promise of `at`.
        unsafe { word(at) }.load(Relaxed)
    }

    fn store(at: u64, value: u64) {
        // SAFETY: as above.
        unsafe { word(at) }.store(value, Relaxed);
    }

    /// The node at the top, or 0.
    pub(crate) fn top(&self) -> u64 {
        Self::load(self.root)
    }

    /// The first node in order, or 0.
    pub(crate) fn first(&self) -> u64 {
        Self::load(self.root + FIRST)
    }

    /// A node's child, or 0.
    pub(crate) fn child(&self, node: u64, side: Side) -> u64 {
        Self::load(node + side.off())
    }

    /// Whether a node is in this tree.
    pub(crate) fn owns(&self, node: u64) -> bool {
        // SAFETY: a node, by the promise of `at`.
        unsafe { word(node + OWNER) }.load(Acquire) == self.root
    }

    fn parent(&self, node: u64) -> u64 {
        Self::load(node + PARENT) & !BLACK
    }

    fn is_red(&self, node: u64) -> bool {
        node != 0 && Self::load(node + PARENT) & BLACK == 0
    }

    fn set_red(&self, node: u64, red: bool) {
        Self::store(node + PARENT, self.parent(node) | u64::from(!red));
    }

    fn set_parent(&self, node: u64, parent: u64) {
        let color = Self::load(node + PARENT) & BLACK;
        Self::store(node + PARENT, parent | color);
    }

    fn set_child(&self, node: u64, side: Side, child: u64) {
        Self::store(node + side.off(), child);
    }

    /// Which child of its parent a node is.
    fn side(&self, parent: u64, node: u64) -> Side {
        if self.child(parent, Side::Left) == node {
            Side::Left
        } else {
            Side::Right
        }
    }

    /// Puts `new` where `old` is below `parent`, or at the top.
    fn replace_below(&self, parent: u64, old: u64, new: u64) {
        match parent {
            0 => Self::store(self.root, new),
            _ => self.set_child(parent, self.side(parent, old), new),
        }
        if new != 0 {
            self.set_parent(new, parent);
        }
    }

    /// Turns a node down to one side; its child on the other side takes its place.
    fn rotate(&self, node: u64, down: Side) {
        let up = self.child(node, down.other());
        let moved = self.child(up, down);
        self.set_child(node, down.other(), moved);
        if moved != 0 {
            self.set_parent(moved, node);
        }
        self.replace_below(self.parent(node), node, up);
        self.set_child(up, down, node);
        self.set_parent(node, up);
    }

    /// The first node of what is below a node, and itself.
    fn least(&self, mut node: u64) -> u64 {
        loop {
            match self.child(node, Side::Left) {
                0 => return node,
                left => node = left,
            }
        }
    }

    /// The node behind another one, or 0.
    fn next(&self, mut node: u64) -> u64 {
        let right = self.child(node, Side::Right);
        if right != 0 {
            return self.least(right);
        }
        loop {
            let parent = self.parent(node);
            if parent == 0 || self.child(parent, Side::Left) == node {
                return parent;
            }
            node = parent;
        }
    }

    /// Puts an object in, by the order that `less(new, other)` says; false if it is in a tree already, and the reference is gone.
    ///
    /// # Safety
    /// It is a node of an object of the heap, to which the caller has a reference.
    pub(crate) unsafe fn insert(&self, heap: &Heap, node: u64, mut less: impl FnMut(u64, u64) -> bool) -> bool {
        // SAFETY: as for this function.
        unsafe {
            if word(node + OWNER).compare_exchange(0, NOBODY, AcqRel, Relaxed).is_err() {
                heap.release(heap.object_of(node));
                return false;
            }
        }
        let (mut parent, mut side, mut is_first) = (0, Side::Left, true);
        let mut at = self.top();
        while at != 0 {
            parent = at;
            side = if less(node, parent) { Side::Left } else { Side::Right };
            is_first &= side == Side::Left;
            at = self.child(parent, side);
        }
        self.set_child(node, Side::Left, 0);
        self.set_child(node, Side::Right, 0);
        Self::store(node + PARENT, parent);
        match parent {
            0 => Self::store(self.root, node),
            _ => self.set_child(parent, side, node),
        }
        if is_first {
            Self::store(self.root + FIRST, node);
        }
        self.balance_inserted(node);
        // SAFETY: as for this function.
        unsafe { word(node + OWNER) }.store(self.root, Release);
        true
    }

    /// A new node is red; no red node has a red child.
    fn balance_inserted(&self, mut node: u64) {
        loop {
            let parent = self.parent(node);
            if !self.is_red(parent) {
                break;
            }
            // One that is red is not at the top.
            let above = self.parent(parent);
            let side = self.side(above, parent);
            let uncle = self.child(above, side.other());
            if self.is_red(uncle) {
                self.set_red(parent, false);
                self.set_red(uncle, false);
                self.set_red(above, true);
                node = above;
                continue;
            }
            let parent = if self.side(parent, node) == side {
                parent
            } else {
                self.rotate(parent, side);
                node
            };
            self.set_red(parent, false);
            self.set_red(above, true);
            self.rotate(above, side.other());
            break;
        }
        self.set_red(self.top(), false);
    }

    /// Takes an object out, if it is in; its reference is the caller's then.
    pub(crate) fn remove(&self, node: u64) -> bool {
        if !self.owns(node) {
            return false;
        }
        if self.first() == node {
            Self::store(self.root + FIRST, self.next(node));
        }
        let (left, right) = (self.child(node, Side::Left), self.child(node, Side::Right));
        let parent = self.parent(node);
        if left != 0 && right != 0 {
            let next = self.least(right);
            let was_red = self.is_red(next);
            let below = self.child(next, Side::Right);
            let hole = match self.parent(next) {
                direct if direct == node => next,
                above => {
                    self.replace_below(above, next, below);
                    self.set_child(next, Side::Right, right);
                    self.set_parent(right, next);
                    above
                }
            };
            self.set_child(next, Side::Left, left);
            self.set_parent(left, next);
            let red = self.is_red(node);
            self.replace_below(parent, node, next);
            self.set_red(next, red);
            self.balance_removed(was_red, hole, below);
        } else {
            let below = left | right;
            let was_red = self.is_red(node);
            self.replace_below(parent, node, below);
            self.balance_removed(was_red, parent, below);
        }
        // SAFETY: a node of the tree, by the promise of `at`.
        unsafe { word(node + OWNER) }.store(0, Release);
        true
    }

    /// Where a black node was taken out, `node` has taken its place below `parent`: the paths through it have one black node less.
    fn balance_removed(&self, was_red: bool, mut parent: u64, mut node: u64) {
        if was_red {
            return;
        }
        while parent != 0 && !self.is_red(node) {
            let side = self.side(parent, node);
            let mut sibling = self.child(parent, side.other());
            if self.is_red(sibling) {
                self.set_red(sibling, false);
                self.set_red(parent, true);
                self.rotate(parent, side);
                sibling = self.child(parent, side.other());
            }
            let (near, far) = (self.child(sibling, side), self.child(sibling, side.other()));
            if !self.is_red(near) && !self.is_red(far) {
                self.set_red(sibling, true);
                node = parent;
                parent = self.parent(node);
                continue;
            }
            if !self.is_red(far) {
                self.set_red(near, false);
                self.set_red(sibling, true);
                self.rotate(sibling, side.other());
                sibling = near;
            }
            self.set_red(sibling, self.is_red(parent));
            self.set_red(parent, false);
            self.set_red(self.child(sibling, side.other()), false);
            self.rotate(parent, side);
            return;
        }
        if node != 0 {
            self.set_red(node, false);
        }
    }

    /// Takes everything out, and lets go of it. What was taken out is not looked at again: somebody else may put it elsewhere.
    pub(super) fn clear(&self, released: &mut Released<'_>) {
        let mut node = self.top();
        while node != 0 {
            let below = match self.child(node, Side::Left) {
                0 => self.child(node, Side::Right),
                left => left,
            };
            if below != 0 {
                node = below;
                continue;
            }
            let parent = self.parent(node);
            self.replace_below(parent, node, 0);
            // SAFETY: a node of the tree, whose reference was the tree's.
            unsafe {
                word(node + OWNER).store(0, Release);
                released.add_node(node);
            }
            node = parent;
        }
        Self::store(self.root + FIRST, 0);
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Memory for nodes: a root, then nodes with a number.
    struct Nodes {
        memory: Box<[u64]>,
        count: usize,
    }

    impl Nodes {
        fn new(count: usize) -> Nodes {
            Nodes {
                memory: vec![0; 2 + 5 * count].into_boxed_slice(),
                count,
            }
        }

        fn base(&self) -> u64 {
            self.memory.as_ptr().expose_provenance() as u64
        }

        fn node(&self, index: usize) -> u64 {
            self.base() + 8 * (2 + 5 * index as u64)
        }

        fn number(node: u64) -> u64 {
            Tree::load(node + 32)
        }
    }

    /// How many black nodes each path below a node has, if the tree is in order.
    fn check(tree: &Tree, node: u64, found: &mut Vec<u64>) -> usize {
        if node == 0 {
            return 1;
        }
        let [left, right] = [Side::Left, Side::Right].map(|side| tree.child(node, side));
        for child in [left, right].into_iter().filter(|child| *child != 0) {
            assert_eq!(tree.parent(child), node);
            assert!(!(tree.is_red(node) && tree.is_red(child)), "two red nodes");
        }
        let before = check(tree, left, found);
        found.push(Nodes::number(node));
        let behind = check(tree, right, found);
        assert_eq!(before, behind, "black nodes on the way down");
        before + usize::from(!tree.is_red(node))
    }

    #[test]
    fn trees_stay_in_order_and_balanced() {
        let nodes = Nodes::new(200);
        let slots = std::sync::Arc::new(crate::run::Slots::new(0, 1, Box::default()));
        let heap = Heap::start(&slots).unwrap();
        // SAFETY: the memory is this test's.
        let tree = unsafe { Tree::at(nodes.base()) };
        let mut model: BTreeMap<u64, usize> = BTreeMap::new();
        let mut state = 7u64;
        for turn in 0..4000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = (state >> 33) as usize % nodes.count;
            let node = nodes.node(index);
            if tree.owns(node) {
                model.remove(&Nodes::number(node));
                assert!(tree.remove(node) && !tree.remove(node));
            } else {
                let number = state >> 20;
                Tree::store(node + 32, number);
                model.insert(number, index);
                let less = |a: u64, b: u64| Nodes::number(a) < Nodes::number(b);
                // SAFETY: it is in no tree, so nothing is asked of the heap.
                assert!(unsafe { tree.insert(&heap, node, less) });
            }
            if turn % 7 == 0 {
                let mut found = Vec::new();
                assert!(!tree.is_red(tree.top()));
                check(&tree, tree.top(), &mut found);
                assert_eq!(found, model.keys().copied().collect::<Vec<_>>());
                let first = model.values().next().map_or(0, |index| nodes.node(*index));
                assert_eq!(tree.first(), first);
            }
        }
        heap.stop();
    }
}
