//! The first page of a hash map's region: what it is, so that it can be opened and checked.

use crate::map::key::Seed;
use crate::map::{Creation, MapCreateError, MapFlags};
use crate::primitive::Ordering::{Relaxed, Release};
use crate::region::Region;

const MAGIC: u64 = u64::from_le_bytes(*b"hitlesmp");
const VERSION: u64 = 1;

/// How the rest of the region is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pub(super) kind: u32,
    pub(super) buckets: u32,
    /// Buckets that others overflow into.
    pub(super) overflow: u32,
    /// Elements outside of buckets.
    pub(super) elements: u32,
}

impl Layout {
    /// `inline/`, keys of up to four bytes.
    pub(super) const INLINE: u32 = 1;
    /// `inline/`, keys of up to eight bytes.
    pub(super) const INLINE_WIDE: u32 = 2;
    /// `tagged/`.
    pub(super) const TAGGED: u32 = 3;
    /// `tagged/`, full buckets evict.
    pub(super) const TAGGED_LRU: u32 = 4;
}

/// The header, decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) seed: Seed,
}

impl Header {
    /// What it takes up: buckets begin on a page.
    pub(super) const LEN: usize = 4096;

    /// Reserves a region for elements of `element_size` bytes, with `body` bytes behind the header, which it writes.
    pub(super) fn reserve(
        creation: &Creation<'_>,
        layout: Layout,
        element_size: u64,
        body: u64,
    ) -> Result<(Region, Header), MapCreateError> {
        let def = creation.def;
        let len = body.checked_add(Header::LEN as u64);
        let region = creation.reserve(element_size, len.ok_or_else(|| creation.too_large(element_size))?)?;
        let seed = if def.flags.contains(MapFlags::ZERO_SEED) {
            Seed::FIXED
        } else {
            Seed::random()
        };
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let [start, multiplier] = seed.words();
        let words = [
            VERSION,
            pair(def.kind.number(), layout.kind),
            pair(def.key_size, def.value_size),
            pair(def.max_entries, creation.slots as u32),
            pair(layout.buckets, layout.overflow),
            pair(layout.elements, def.flags.bits()),
            start,
            multiplier,
        ];
        for (i, word) in (1..).zip(words) {
            region.word64(i * 8).store(word, Relaxed);
        }
        region.word64(0).store(MAGIC, Release);
        Ok((region, Header { seed }))
    }
}
