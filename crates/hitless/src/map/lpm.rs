//! `BPF_MAP_TYPE_LPM_TRIE`: the value of the longest prefix that matches.
//!
//! ```text
//! 0     magic                                           written once
//! 64    lock, root, free list, fresh, count, version    u32 each
//! 128   which node is at a position                     u32 each, as many as nodes
//! ...   nodes: {child 0, child 1, state, next free, place, -: u32; key; value}   2 * max_entries + 1, 8-byte aligned
//! ```
//!
//! A binary trie whose paths are compressed. A key is its prefix length (`u32`) and as many bits as the map has; a node's
//! children extend its prefix by a 0 or a 1. Where two prefixes part and there is no element, a node stands in between, which
//! has always two children. Links are indices plus one.
//!
//! Changes are made under the lock, and each becomes visible by a single store: of the link that leads to a new or a
//! remaining node, or of the state that turns an element into a node in between. Readers take no lock. A node that left the
//! trie says so, and a reader that comes to stand on it starts again. Before it is used again the version changes: a reader
//! that sees another version in the end than in the beginning starts again, too. A signal handler that interrupts a change
//! sees one version, and nothing half-done.
//!
//! A replacement of an element's value is another node, which takes over its position in traversals: who visits each position once
//! meets each key once. `place` is that position,
//! less the node's index, so that it is zero in untouched memory.

use super::audit::{Audit, Bits, FindingKind};
use super::common::{Common, calls_by_ops};
use super::key::Seed;
use super::{Creation, Elem, Key, MapCalls, MapCreateError, MapError, MapFlags, MapOps, Put, Rule};
use crate::lock::lock;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes, round_up_8};
use crate::run::Run;

const MAGIC: u64 = u64::from_le_bytes(*b"hitlesl1");
const LOCK: usize = 64;
const ROOT: usize = 68;
const FREE: usize = 72;
const FRESH: usize = 76;
const COUNT: usize = 80;
const VERSION: usize = 84;
const POSITIONS: usize = 128;
const NODE_HEADER: usize = 24;

/// Bytes of the prefix length in a key.
const LENGTH: usize = 4;
/// `LPM_DATA_SIZE_MAX` and its prefix length.
const MAX_KEY_SIZE: u32 = 256 + LENGTH as u32;
/// The greatest value that Linux has memory for.
const MAX_VALUE_SIZE: u32 = (4 << 20) - 280;
/// Links are indices plus one.
const MAX_NODES: u64 = u32::MAX as u64 - 1;

/// What a node is.
const UNUSED: u32 = 0;
const ELEMENT: u32 = 1;
const BETWEEN: u32 = 2;

#[derive(Debug)]
struct LpmTrie {
    common: Common,
    region: Region,
    nodes_at: usize,
    key_words: usize,
    nodes: u32,
    stride: usize,
}

/// What stands where a key would be.
enum Place<'a> {
    /// The node at this link has the key's prefix.
    Same(&'a AtomicU32, u32),
    /// The link leads nowhere.
    Nothing(&'a AtomicU32),
    /// The node at this link has a prefix that begins with the key's, or parts from it after so many bits.
    Below(&'a AtomicU32, u32, u32),
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    let sizes = 5..=MAX_KEY_SIZE;
    creation.check(
        sizes.contains(&def.key_size),
        "key_size",
        def.key_size,
        "5 to 260 for an LPM trie",
    )?;
    creation.check(def.value_size > 0, "value_size", def.value_size, "at least 1")?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    let unreserved = def.flags.contains(MapFlags::NO_PREALLOC);
    creation.check(
        unreserved,
        "map_flags",
        def.flags.bits(),
        "BPF_F_NO_PREALLOC among them",
    )?;
    let key_words = (def.key_size as usize).div_ceil(8);
    let stride = NODE_HEADER + key_words * 8 + round_up_8(def.value_size as usize);
    if def.value_size > MAX_VALUE_SIZE {
        return Err(creation.too_large(stride as u64));
    }
    // Between n elements stand at most n - 1 nodes; a replacement needs one more. Linux has no other limit than memory, so a
    // map for more elements than there are indices is no error.
    let nodes = (2 * u64::from(def.max_entries) + 1).min(MAX_NODES);
    let nodes_at = (POSITIONS as u64 + 4 * nodes).next_multiple_of(8);
    let region = creation.reserve(stride as u64, nodes_at + nodes * stride as u64)?;
    region.word64(0).store(MAGIC, Relaxed);
    Ok(Box::new(LpmTrie {
        common: Common::new(def),
        region,
        nodes_at: nodes_at as usize,
        key_words,
        nodes: nodes as u32,
        stride,
    }))
}

impl LpmTrie {
    fn root(&self) -> &AtomicU32 {
        self.region.word32(ROOT)
    }

    fn count(&self) -> &AtomicU32 {
        self.region.word32(COUNT)
    }

    fn version(&self) -> &AtomicU32 {
        self.region.word32(VERSION)
    }

    fn offset(&self, node: u32) -> usize {
        self.nodes_at + node as usize * self.stride
    }

    fn child(&self, node: u32, side: u32) -> &AtomicU32 {
        self.region.word32(self.offset(node) + 4 * side as usize)
    }

    fn state(&self, node: u32) -> &AtomicU32 {
        self.region.word32(self.offset(node) + 8)
    }

    fn next_free(&self, node: u32) -> &AtomicU32 {
        self.region.word32(self.offset(node) + 12)
    }

    /// How far the node's position is from its index.
    fn place_word(&self, node: u32) -> &AtomicU32 {
        self.region.word32(self.offset(node) + 16)
    }

    /// The node at a position, less the position.
    fn node_word(&self, position: u32) -> &AtomicU32 {
        self.region.word32(POSITIONS + 4 * position as usize)
    }

    fn position(&self, node: u32) -> u32 {
        node.wrapping_add(self.place_word(node).load(Relaxed))
    }

    fn set_position(&self, node: u32, position: u32) {
        self.place_word(node).store(position.wrapping_sub(node), Relaxed);
    }

    fn node_at(&self, position: u32) -> u32 {
        position.wrapping_add(self.node_word(position).load(Acquire))
    }

    fn set_node(&self, position: u32, node: u32) {
        self.node_word(position).store(node.wrapping_sub(position), Release);
    }

    fn key_word(&self, node: u32, word: usize) -> &AtomicU64 {
        self.region.word64(self.offset(node) + NODE_HEADER + word * 8)
    }

    fn value_at(&self, node: u32) -> usize {
        self.offset(node) + NODE_HEADER + self.key_words * 8
    }

    fn prefix_len(&self, node: u32) -> u32 {
        prefix_len(self.key_word(node, 0).load(Relaxed))
    }

    /// The longest prefix that a key may have, in bits.
    fn max_prefix_len(&self) -> u32 {
        (self.common.key_size - LENGTH as u32) * 8
    }

    fn full(&self) -> MapError {
        MapError::NoRoom {
            max_entries: self.common.max_entries,
        }
    }

    fn check_prefix(&self, key: &Key) -> Result<(), MapError> {
        let (found, limit) = (prefix_len(key.words()[0]), self.max_prefix_len());
        if found > limit {
            Err(MapError::PrefixLength { found, limit })
        } else {
            Ok(())
        }
    }

    /// How many bits a key and a node's key have in common, at most as many as either prefix has.
    fn common(&self, node: u32, key: &Key) -> u32 {
        let limit = self.prefix_len(node).min(prefix_len(key.words()[0]));
        let mut off = 0;
        for (i, word) in key.words().iter().enumerate() {
            let mut differs = (self.key_word(node, i).load(Relaxed) ^ word).to_be();
            if i == 0 {
                differs &= u64::from(u32::MAX);
            }
            if differs != 0 {
                return limit.min(off + differs.leading_zeros() - 32);
            }
            off += 64;
            if off - 32 >= limit {
                break;
            }
        }
        limit
    }

    /// Runs a walk over the trie until no node was used again meanwhile, and it did not come to stand on one that had left the
    /// trie (`None`). The walk ends, whatever it meets.
    fn walk<T>(&self, mut walk: impl FnMut() -> Option<T>) -> T {
        loop {
            let version = self.version().load(Acquire);
            let result = walk();
            std::sync::atomic::fence(Acquire);
            if let Some(result) = result
                && self.version().load(Relaxed) == version
            {
                return result;
            }
        }
    }

    /// The element with the longest prefix that the key begins with. `None` where a node has left the trie: what took its place is
    /// found from the root. A walk whose prefixes do not grow has been led astray.
    fn matching(&self, key: &Key) -> Option<Option<u32>> {
        let mut found = None;
        let mut link = self.root().load(Acquire);
        let mut shortest = 0;
        while let Some(node) = node(link) {
            let common = self.common(node, key);
            if common != self.prefix_len(node) || common < shortest {
                break;
            }
            match self.state(node).load(Relaxed) {
                ELEMENT => found = Some(node),
                BETWEEN => {}
                _ => return None,
            }
            if common == prefix_len(key.words()[0]) {
                break;
            }
            shortest = common + 1;
            link = self.child(node, bit(key, common)).load(Acquire);
        }
        Some(found)
    }

    /// Where a key is, or would be, for a writer that holds the lock; with the link to the node above, if there is one.
    fn place(&self, key: &Key) -> (Place<'_>, Option<(&AtomicU32, u32)>) {
        let mut link = self.root();
        let mut above = None;
        loop {
            let Some(node) = node(link.load(Relaxed)) else {
                return (Place::Nothing(link), above);
            };
            let common = self.common(node, key);
            if common < self.prefix_len(node) {
                return (Place::Below(link, node, common), above);
            }
            if common == prefix_len(key.words()[0]) {
                return (Place::Same(link, node), above);
            }
            above = Some((link, node));
            link = self.child(node, bit(key, common));
        }
    }

    /// A node that is not in the trie, without children.
    fn take_node(&self) -> Option<u32> {
        let free = self.region.word32(FREE);
        if let Some(index) = node(free.load(Relaxed)) {
            free.store(self.next_free(index).load(Relaxed), Relaxed);
            let version = self.version();
            version.store(version.load(Relaxed).wrapping_add(1), Relaxed);
            // Whoever sees the node's new content sees the new version.
            std::sync::atomic::fence(Release);
            self.child(index, 0).store(0, Relaxed);
            self.child(index, 1).store(0, Relaxed);
            return Some(index);
        }
        let fresh = self.region.word32(FRESH);
        let index = fresh.load(Relaxed);
        if index == self.nodes {
            return None;
        }
        fresh.store(index + 1, Relaxed);
        self.child(index, 0).store(0, Relaxed);
        self.child(index, 1).store(0, Relaxed);
        Some(index)
    }

    fn free_node(&self, node: u32) {
        let free = self.region.word32(FREE);
        // Who sees this sees which node took over its position.
        self.state(node).store(UNUSED, Release);
        self.next_free(node).store(free.load(Relaxed), Relaxed);
        free.store(node + 1, Relaxed);
    }

    fn fill(&self, node: u32, key: &Key, value: SharedBytes<'_>) {
        for (i, word) in key.words().iter().enumerate() {
            self.key_word(node, i).store(*word, Relaxed);
        }
        // SAFETY: memory of this map's region, which is writable.
        unsafe {
            self.region
                .bytes(self.value_at(node), self.common.value_size as usize)
                .write(value)
        };
        self.state(node).store(ELEMENT, Relaxed);
    }

    /// Puts another node in the place of one with the same prefix. Its position goes to the new one.
    fn replace(&self, link: &AtomicU32, old: u32, new: u32) {
        for side in [0, 1] {
            self.child(new, side)
                .store(self.child(old, side).load(Relaxed), Relaxed);
        }
        let (from, to) = (self.position(new), self.position(old));
        self.set_position(new, to);
        link.store(new + 1, Release);
        self.set_node(to, new);
        self.set_position(old, from);
        self.set_node(from, old);
        self.free_node(old);
    }

    /// Links a new element where none has its prefix.
    fn insert(&self, place: &Place<'_>, key: &Key, value: SharedBytes<'_>) -> Result<u32, MapError> {
        if self.count().load(Relaxed) >= self.common.max_entries {
            return Err(self.full());
        }
        let new = self.take_node().ok_or(self.full())?;
        self.fill(new, key, value);
        match *place {
            Place::Same(link, old) => {
                // A node in between.
                self.replace(link, old, new);
            }
            Place::Nothing(link) => link.store(new + 1, Release),
            Place::Below(link, below, common) if common == prefix_len(key.words()[0]) => {
                self.child(new, self.bit(below, common)).store(below + 1, Relaxed);
                link.store(new + 1, Release);
            }
            Place::Below(link, below, common) => {
                let Some(between) = self.take_node() else {
                    self.free_node(new);
                    return Err(self.full());
                };
                let first = key.words()[0];
                self.key_word(between, 0).store(with_prefix_len(first, common), Relaxed);
                for (i, word) in key.words().iter().enumerate().skip(1) {
                    self.key_word(between, i).store(*word, Relaxed);
                }
                let side = bit(key, common);
                self.child(between, side).store(new + 1, Relaxed);
                self.child(between, 1 - side).store(below + 1, Relaxed);
                self.state(between).store(BETWEEN, Relaxed);
                link.store(between + 1, Release);
            }
        }
        self.count().store(self.count().load(Relaxed) + 1, Relaxed);
        Ok(new)
    }

    /// The bit of a node's key at a position.
    fn bit(&self, node: u32, at: u32) -> u32 {
        bit_of(|i| self.key_word(node, i).load(Relaxed), at)
    }

    /// Removes an element that was found; `above` is the node above it, with the link to that.
    fn unlink(&self, link: &AtomicU32, node: u32, above: Option<(&AtomicU32, u32)>) {
        let children = [0, 1].map(|side| self.child(node, side).load(Relaxed));
        self.count().store(self.count().load(Relaxed) - 1, Relaxed);
        match (children, above) {
            ([0, 0], Some((to_above, between))) if self.state(between).load(Relaxed) == BETWEEN => {
                // The node above stood between this one and its sibling, which takes its place.
                let side = u32::from(self.child(between, 0).load(Relaxed) == node_link(node));
                to_above.store(self.child(between, side).load(Relaxed), Release);
                self.free_node(node);
                self.free_node(between);
            }
            ([0, only], _) | ([only, 0], _) => {
                link.store(only, Release);
                self.free_node(node);
            }
            // The node stays, in between its children.
            _ => self.state(node).store(BETWEEN, Release),
        }
    }

    /// The element that has a node's key now, if the node is or was one.
    fn current(&self, node: u32) -> Option<u32> {
        let key = self.key_of(Elem(node))?;
        self.walk(|| {
            let found = self.matching(&key)?;
            Some(found.filter(|found| self.prefix_len(*found) == prefix_len(key.words()[0])))
        })
    }
}

impl MapOps for LpmTrie {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        if prefix_len(key.words()[0]) > self.max_prefix_len() {
            return None;
        }
        self.walk(|| self.matching(key)).map(Elem)
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        self.check_prefix(key)?;
        let _guard = lock(run, self.region.word32(LOCK))?;
        let (place, _) = self.place(key);
        let found = match place {
            Place::Same(link, node) if self.state(node).load(Relaxed) == ELEMENT => Some((link, node)),
            _ => None,
        };
        match (found, put.rule) {
            (Some(_), Rule::NoExist) => Err(MapError::Exists),
            (None, Rule::Exist) => Err(MapError::NotFound),
            (None, _) => self.insert(&place, key, value).map(Elem),
            (Some((link, old)), _) => {
                let new = self.take_node().ok_or(self.full())?;
                self.fill(new, key, value);
                self.replace(link, old, new);
                Ok(Elem(new))
            }
        }
    }

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.check_prefix(key)?;
        let _guard = lock(run, self.region.word32(LOCK))?;
        match self.place(key) {
            (Place::Same(link, node), above) if self.state(node).load(Relaxed) == ELEMENT => {
                self.unlink(link, node, above);
                Ok(())
            }
            _ => Err(MapError::NotFound),
        }
    }

    fn indices(&self) -> u32 {
        self.nodes
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        self.walk(|| {
            let is_element = self.state(elem.0).load(Acquire) == ELEMENT;
            Some(is_element.then(|| {
                Key::from_words(self.common.key_size as usize, |i| {
                    self.key_word(elem.0, i).load(Relaxed)
                })
            }))
        })
    }

    fn value(&self, elem: Elem, _slot: u32) -> SharedBytes<'_> {
        self.region
            .bytes(self.value_at(elem.0), self.common.value_size as usize)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?.checked_sub(self.nodes_at)?;
        let index = u32::try_from(off / self.stride).ok()?;
        let inside = (off % self.stride).checked_sub(NODE_HEADER + self.key_words * 8)?;
        (index < self.nodes && inside + len <= self.common.value_size as usize).then_some(Elem(index))
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        Seed::FIXED.hash(key) >> 32
    }

    fn positions(&self) -> u64 {
        // Nodes that were never used have positions of their own.
        self.region.word32(FRESH).load(Acquire).into()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        let position = position as u32;
        loop {
            let node = self.node_at(position);
            let current = self.current(node).filter(|current| self.position(*current) == position);
            // While one replaces another, either is found here; the key leads to the one that is in the trie.
            if current.is_some() || self.node_at(position) == node {
                return current.map(Elem);
            }
        }
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        let found = self.lookup(key)?;
        (self.prefix_len(found.0) == prefix_len(key.words()[0])).then(|| (self.position(found.0).into(), found))
    }

    fn recover(&mut self, audit: &mut Audit) {
        let lock = self.region.word32(LOCK);
        if lock.load(Relaxed) != 0 {
            audit.note(FindingKind::Lock, 0u32);
            lock.store(0, Relaxed);
        }
        let used = self.recover_trie(audit);
        self.recover_free(&used, audit);
        self.recover_places(audit);
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        calls_by_ops(self)
    }
}

/// Mending what another process has left: the lock, a count that is behind or ahead, nodes that were taken and not linked, or
/// unlinked and not given back, and a position that one node was about to take over from another.
impl LpmTrie {
    /// Looks at every node of the trie; cuts off what cannot be there. The nodes that are in use.
    fn recover_trie(&self, audit: &mut Audit) -> Bits {
        let mut used = Bits::new(self.nodes);
        // Links that are to be looked at, with the node and the side that they are of.
        let mut links = vec![(self.root(), None)];
        while let Some((link, above)) = links.pop() {
            let Some(node) = node(link.load(Relaxed)) else {
                continue;
            };
            let problem = if node >= self.nodes {
                Some(FindingKind::Reference)
            } else if used.contains(node) {
                Some(FindingKind::Shared)
            } else {
                self.misfit(node, above)
            };
            if let Some(problem) = problem {
                audit.note(problem, node);
                link.store(0, Relaxed);
                continue;
            }
            used.insert(node);
            let state = self.state(node);
            let is_element = state.load(Relaxed) == ELEMENT;
            if is_element && audit.elements < self.common.max_entries.into() {
                audit.elements += 1;
            } else if state.load(Relaxed) != BETWEEN {
                let problem = if is_element {
                    FindingKind::Excess
                } else {
                    FindingKind::Form
                };
                audit.note(problem, node);
                state.store(BETWEEN, Relaxed);
            }
            links.extend([0, 1].map(|side| (self.child(node, side), Some((node, side)))));
        }
        let count = self.count();
        if u64::from(count.load(Relaxed)) != audit.elements {
            audit.note(FindingKind::Count, count.load(Relaxed));
            count.store(audit.elements as u32, Relaxed);
        }
        used
    }

    /// What is wrong with the key of a node that has been found on a side of another one.
    fn misfit(&self, node: u32, above: Option<(u32, u32)>) -> Option<FindingKind> {
        let key = Key::from_words(self.common.key_size as usize, |i| self.key_word(node, i).load(Relaxed));
        if self.prefix_len(node) > self.max_prefix_len() || !key.is_padded() {
            return Some(FindingKind::Key);
        }
        let (above, side) = above?;
        let len = self.prefix_len(above);
        let extends = self.prefix_len(node) > len && self.common(above, &key) == len && bit(&key, len) == side;
        (!extends).then_some(FindingKind::Misplaced)
    }

    /// Finds out which nodes are free.
    fn recover_free(&self, used: &Bits, audit: &mut Audit) {
        let (free, fresh) = (self.region.word32(FREE), self.region.word32(FRESH));
        let mut known = Bits::new(self.nodes);
        let mut next = node(free.load(Relaxed));
        while let Some(index) = next.filter(|index| *index < self.nodes && known.insert(*index)) {
            next = node(self.next_free(index).load(Relaxed));
        }
        if fresh.load(Relaxed) > self.nodes {
            audit.note(FindingKind::Reference, fresh.load(Relaxed));
        }
        let last = (0..self.nodes).rev().find(|index| used.contains(*index));
        let least = last.map_or(0, |index| index + 1);
        let end = fresh.load(Relaxed).clamp(least, self.nodes);
        fresh.store(end, Relaxed);
        free.store(0, Relaxed);
        for index in (0..end).rev().filter(|index| !used.contains(*index)) {
            if !known.contains(index) {
                audit.note(FindingKind::Leaked, index);
            }
            self.free_node(index);
        }
    }

    /// Lets every node have its own position: nobody is on the way through them.
    fn recover_places(&self, audit: &mut Audit) {
        let end = self.region.word32(FRESH).load(Relaxed);
        for index in 0..self.nodes {
            let position = self.position(index);
            let is_found = position < end && self.node_at(position) == index;
            if index < end && !is_found {
                audit.note(FindingKind::Place, index);
            }
        }
        for index in 0..self.nodes {
            for word in [self.place_word(index), self.node_word(index)] {
                if word.load(Relaxed) != 0 {
                    word.store(0, Relaxed);
                }
            }
        }
    }
}

fn node_link(node: u32) -> u32 {
    node + 1
}

/// The index of the node that a link leads to.
fn node(link: u32) -> Option<u32> {
    link.checked_sub(1)
}

/// The prefix length in the first word of a key.
fn prefix_len(word: u64) -> u32 {
    (word & u64::from(u32::MAX)) as u32
}

fn with_prefix_len(word: u64, len: u32) -> u64 {
    word & !u64::from(u32::MAX) | u64::from(len)
}

/// A bit of a key, whose bits are counted from the highest of the first byte behind the prefix length.
fn bit(key: &Key, at: u32) -> u32 {
    bit_of(|i| key.words()[i], at)
}

fn bit_of(word: impl Fn(usize) -> u64, at: u32) -> u32 {
    let at = at as usize + 8 * LENGTH;
    (word(at / 64).to_be() >> (63 - at % 64) & 1) as u32
}
