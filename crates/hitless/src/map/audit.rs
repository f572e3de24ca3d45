//! What is found in the region of a map that another process has left.
//!
//! A process that is killed leaves traces that are no damage: locks that it held, elements on their way in or out. Every change
//! becomes visible by one store, so what was completed is there, whole. Whoever opens the region looks at all of it, mends those
//! traces, and finds out what is free (`MapOps::recover`). What no instant of the code could have left is *damage*: of a disk, or of
//! somebody else who has written the file. It is mended, too, by giving up what is in doubt, but only if that is asked for.
//!
//! Nothing in a region is believed before it was looked at: not an index, not a link, not a count.

use std::fmt;

/// What was found in a map's region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How many elements there are, once everything found was mended: also records of a ring buffer, values of a queue; 0 for a
    /// bloom filter, which cannot tell.
    pub elements: u64,
    /// What was not as it should be, in the order in which it was met first.
    pub findings: Vec<Finding>,
}

/// Something that was not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// How often.
    pub count: u64,
    /// Where it was met first: the number of a bucket, element, node, value or byte, as the kind says.
    pub first: u64,
}

/// What may be found in a map's region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// A lock of a bucket, or of the whole map, that is held. Left by a process that was killed.
    Lock,
    /// The spin lock in an element's value that is held. Left by a process that was killed.
    SpinLock,
    /// A bucket that says that more, or fewer, keys went past it than did. Left by a process that was killed.
    Passed,
    /// An empty bucket behind another one. Left by a process that was killed.
    EmptyBucket,
    /// A node that is neither in use nor free. Left by a process that was killed.
    Leaked,
    /// A count of elements that is not how many there are. Left by a process that was killed.
    Count,
    /// A node that traversals do not find at its place. Left by a process that was killed.
    Place,
    /// A record that was reserved and not committed: it is discarded. Left by a process that was killed.
    Uncommitted,
    /// An index, a link or a position that leads to nowhere: damage.
    Reference,
    /// An element that is in two places: damage.
    Shared,
    /// A key that is where nobody would look for it: damage.
    Misplaced,
    /// A key that is no key of the map: damage.
    Key,
    /// A key that is there twice: damage.
    Duplicate,
    /// An element beyond `max_entries`: damage.
    Excess,
    /// A node that is neither an element nor in between, or a record that is none: damage.
    Form,
}

impl FindingKind {
    /// Whether it is more than what a process that was killed leaves: then something is lost.
    #[must_use]
    pub const fn is_damage(self) -> bool {
        match self {
            FindingKind::Lock
            | FindingKind::SpinLock
            | FindingKind::Passed
            | FindingKind::EmptyBucket
            | FindingKind::Leaked
            | FindingKind::Count
            | FindingKind::Place
            | FindingKind::Uncommitted => false,
            FindingKind::Reference
            | FindingKind::Shared
            | FindingKind::Misplaced
            | FindingKind::Key
            | FindingKind::Duplicate
            | FindingKind::Excess
            | FindingKind::Form => true,
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::Lock => "lock held",
            FindingKind::SpinLock => "spin lock held",
            FindingKind::Passed => "wrong count of keys that went past",
            FindingKind::EmptyBucket => "empty bucket behind another",
            FindingKind::Leaked => "node neither in use nor free",
            FindingKind::Count => "wrong count of elements",
            FindingKind::Place => "node not at its place in traversals",
            FindingKind::Uncommitted => "record not committed",
            FindingKind::Reference => "reference to nowhere",
            FindingKind::Shared => "element in two places",
            FindingKind::Misplaced => "key in the wrong place",
            FindingKind::Key => "malformed key",
            FindingKind::Duplicate => "key that is there twice",
            FindingKind::Excess => "element beyond max_entries",
            FindingKind::Form => "malformed node or record",
        }
    }
}

impl Audit {
    /// Whether something was found that no process leaves that was killed.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.is_damage())
    }

    /// Notes what was met at a place.
    pub(super) fn note(&mut self, kind: FindingKind, at: impl Into<u64>) {
        match self.findings.iter_mut().find(|finding| finding.kind == kind) {
            Some(finding) => finding.count += 1,
            None => self.findings.push(Finding {
                kind,
                count: 1,
                first: at.into(),
            }),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { kind, count, first } = self;
        write!(f, "{} ({count}, first at {first})", kind.as_str())
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            write!(f, "{}{finding}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A set of numbers below a bound.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(bound: u32) -> Bits {
        Bits(vec![0; bound.div_ceil(64) as usize])
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.0[number as usize / 64] & 1 << (number % 64) != 0
    }

    pub(super) fn remove(&mut self, number: u32) {
        self.0[number as usize / 64] &= !(1 << (number % 64));
    }

    /// Adds a number; false if it was there.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let word = &mut self.0[number as usize / 64];
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}
