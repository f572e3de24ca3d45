//! Kept states and the paths between them.
//!
//! The kept states of a path form a chain, each with the steps that led to it from the one before. Paths that fork share
//! what lies before the fork, so the chains form a tree. What is found out later on a path is noted in the kept states
//! that it came through: numbers that mattered ([`Marks::precise`]) and stack slots that were read ([`Marks::read`]).

use std::cell::{Cell, Ref, RefCell};
use std::rc::{Rc, Weak};

use crate::domain::stack::Slots;
use crate::history::Segment;
use crate::places::Places;
use crate::state::{MAX_FRAMES, State};

/// What the paths that left a state made of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    /// The numbers that decided something.
    pub(crate) precise: Places,
    /// The stack slots that were read before they were overwritten, by frame.
    pub(crate) read: [Slots; MAX_FRAMES],
}

/// How the path came to a state.
#[derive(Debug, Default)]
struct Before {
    node: Option<Rc<Node>>,
    segment: Segment,
}

/// A kept state.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pc: usize,
    pub(crate) state: State,
    pub(crate) marks: RefCell<Marks>,
    /// Nothing, once the state is complete: nobody walks back through it any more.
    before: RefCell<Before>,
    /// How many paths through it are still being followed.
    paths: Cell<usize>,
    /// The state on the way to it that it waits for before it is complete (see `loops`).
    waits_for: RefCell<Option<Weak<Node>>>,
    /// Whether others wait for it.
    pub(crate) is_root: Cell<bool>,
    /// How often it was of use, and how often not.
    pub(crate) hits: Cell<u32>,
    pub(crate) misses: Cell<u32>,
}

impl Node {
    /// Keeps a state to which one path has come.
    pub(crate) fn new(pc: usize, state: State, before: Option<Rc<Node>>, segment: Segment) -> Rc<Node> {
        Rc::new(Node {
            pc,
            state,
            marks: RefCell::default(),
            before: RefCell::new(Before { node: before, segment }),
            paths: Cell::new(1),
            waits_for: RefCell::default(),
            is_root: Cell::new(false),
            hits: Cell::new(0),
            misses: Cell::new(0),
        })
    }

    /// One more path through it.
    pub(crate) fn path_forked(&self) {
        self.paths.set(self.paths.get() + 1);
    }

    /// One path less; returns whether that was the last.
    pub(crate) fn path_ended(&self) -> bool {
        let left = self.paths.get() - 1;
        self.paths.set(left);
        left == 0
    }

    /// Whether every path that left it has ended, and its marks change no more.
    pub(crate) fn is_complete(&self) -> bool {
        self.paths.get() == 0 && !self.is_waiting()
    }

    /// Whether every path that left it has ended, but its marks may still change.
    pub(crate) fn is_held(&self) -> bool {
        self.paths.get() == 0 && self.is_waiting()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waits_for.borrow().is_some()
    }

    /// Makes it wait for `root`, unless it waits for something that does.
    pub(crate) fn wait_for(&self, root: &Rc<Node>) {
        self.waits_for.borrow_mut().get_or_insert_with(|| Rc::downgrade(root));
    }

    /// What it waits for in the end: perhaps itself.
    pub(crate) fn root(node: &Rc<Node>) -> Rc<Node> {
        let mut root = Rc::clone(node);
        loop {
            // It lies on the way to this one, which keeps it alive.
            let next = root.waits_for.borrow().as_ref().and_then(Weak::upgrade);
            match next {
                Some(next) => root = next,
                None => return root,
            }
        }
    }

    /// It is complete: nobody walks back through it any more. Returns the kept state before it.
    pub(crate) fn release(&self) -> Option<Rc<Node>> {
        self.waits_for.take();
        self.before.take().node
    }

    /// The kept state before it.
    pub(crate) fn previous(&self) -> Option<Rc<Node>> {
        self.before.borrow().node.clone()
    }

    /// The steps from there.
    pub(crate) fn segment(&self) -> Ref<'_, Segment> {
        Ref::map(self.before.borrow(), |before| &before.segment)
    }
}

/// Slots of the stack of `frame` were read by a path that has overwritten those in `written` since it left `node`.
pub(crate) fn note_read(node: Option<&Rc<Node>>, written: Slots, frame: usize, slots: Slots) {
    let mut slots = slots & !written;
    let mut current = node.cloned();
    while let Some(node) = current.filter(|_| slots != 0) {
        let known = &mut node.marks.borrow_mut().read[frame];
        slots &= !*known;
        *known |= slots;
        slots &= !node.segment().written[frame];
        current = node.previous();
    }
}

impl Drop for Node {
    /// Chains are long; they are taken apart without recursion.
    fn drop(&mut self) {
        let mut previous = self.before.get_mut().node.take();
        while let Some(mut node) = previous.and_then(Rc::into_inner) {
            previous = node.before.get_mut().node.take();
        }
    }
}
