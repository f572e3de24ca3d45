//! For the model check only: faults that it puts in, to show that it would find their consequences.

use std::sync::atomic::{AtomicU32, Ordering};

/// A rule of the protocol that can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Fault {
    /// None.
    None = 0,
    /// Stripes are not taken: neither by changes nor by the bulk copy.
    NoStripes = 1,
    /// The cutover does not wait for the runs that had begun.
    NoGate = 2,
    /// Attaching does not wait for runs of the plain variant.
    NoAttachGrace = 3,
    /// A flush does not look again whether the element is live once it has the stripe.
    NoSecondLook = 4,
    /// A lookup believes what it found, or did not, though its bucket has changed.
    NoBucketVersion = 5,
    /// What does not fit into the list of a run is forgotten, instead of being marked in the bitmap of its map.
    NoBitmap = 6,
    /// A map is full as soon as the slot's own share is used up.
    NoStealing = 7,
    /// A traced map is put into a map of maps without waiting for the programs that write the maps in there.
    NoInnerGrace = 8,
    /// Two reservations in a ring buffer are made at once.
    NoReserveLock = 9,
    /// What was taken out of a map of maps is dropped at once, and the host's call returns.
    NoRetireGrace = 10,
    /// A run that has marked something in a bitmap does not wait for others that have taken its marks.
    NoBitmapWait = 11,
    /// An element is evicted before its stripe is taken.
    NoVictimStripe = 12,
}

static FAULT: AtomicU32 = AtomicU32::new(0);

/// Takes a rule out, for the whole process.
pub fn set_fault(fault: Fault) {
    FAULT.store(fault as u32, Ordering::Relaxed);
}

pub(crate) fn fault(fault: Fault) -> bool {
    FAULT.load(Ordering::Relaxed) == fault as u32
}
