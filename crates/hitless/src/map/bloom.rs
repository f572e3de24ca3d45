//! `BPF_MAP_TYPE_BLOOM_FILTER`: values that were pushed are found; of others, some are found, too.
//!
//! The region is a bitmap. A push sets one bit for each hash function, atomically, so that neither side takes a lock. The
//! size follows Linux: 7/5 bits for each value and hash function, rounded up to a power of two, which makes the share of
//! false positives the least that so much memory allows.

use super::keyless::{self, Keyless};
use super::values::ValueOps;
use super::{Audit, Creation, MapCreateError, MapError, MapOps, Special};
use crate::primitive::Ordering::Relaxed;
use crate::region::{Region, SharedBytes};
use crate::run::Run;

/// How many hash functions there are if `map_extra` does not say it.
const DEFAULT_HASHES: u64 = 5;
const MAX_HASHES: u64 = 15;
/// The greatest value that Linux has memory for.
const MAX_VALUE_SIZE: u32 = 4 << 20;

#[derive(Debug)]
struct Bloom {
    region: Region,
    mask: u32,
    hashes: u64,
    seed: u64,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(def.key_size == 0, "key_size", def.key_size, "0 for a bloom filter")?;
    creation.check(def.value_size > 0, "value_size", def.value_size, "at least 1")?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    let known = def.map_extra <= MAX_HASHES;
    creation.check(
        known,
        "map_extra",
        def.map_extra,
        "at most 15, the number of hash functions",
    )?;
    if def.value_size > MAX_VALUE_SIZE {
        return Err(creation.too_large(def.value_size.into()));
    }
    let hashes = if def.map_extra == 0 {
        DEFAULT_HASHES
    } else {
        def.map_extra
    };
    let bits = bits(def.max_entries, hashes);
    let bloom = Bloom {
        region: creation.reserve(1, bits / 8)?,
        mask: (bits - 1) as u32,
        hashes,
        seed: creation.seed.words()[0],
    };
    Ok(keyless::make(creation, bloom))
}

impl Keyless for Bloom {
    const REFUSAL: MapError = MapError::Unsupported;

    fn special(&self) -> Special<'_> {
        Special::Values(self)
    }

    /// Any bits are a filter; a value of which some are set is as good as not there.
    fn recover(&mut self, _audit: &mut Audit) {}
}

impl Bloom {
    /// Word and bit for each hash function. The functions are two, combined, which is as good as that many.
    fn bits(&self, value: SharedBytes<'_>) -> impl Iterator<Item = (usize, u64)> {
        let (first, step) = hash(value, self.seed);
        (0..self.hashes).map(move |n| {
            let bit = (first.wrapping_add(n.wrapping_mul(step)) >> 32) as u32 & self.mask;
            (bit as usize / 64 * 8, 1 << (bit % 64))
        })
    }
}

/// How many bits the filter has: a power of two from 64 to 2^32.
fn bits(max_entries: u32, hashes: u64) -> u64 {
    let wanted = u64::from(max_entries) * hashes / 5 * 7;
    wanted.clamp(64, 1 << 32).next_power_of_two()
}

/// Two hashes of a value, the second odd.
fn hash(value: SharedBytes<'_>, seed: u64) -> (u64, u64) {
    const CHUNK: usize = 64;
    let mut hash = seed ^ value.len() as u64;
    let mut buffer = [0; CHUNK];
    let mut off = 0;
    while off < value.len() {
        let len = CHUNK.min(value.len() - off);
        buffer[len..].fill(0);
        value.part(off, len).read(&mut buffer[..len]);
        for word in buffer[..len.next_multiple_of(8)].chunks_exact(8) {
            let word = word.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        off += len;
    }
    let first = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let second = (first ^ first >> 32).wrapping_mul(0xa076_1d64_78bd_642f);
    (first ^ first >> 32, (second ^ second >> 29) | 1)
}

impl ValueOps for Bloom {
    fn push(&self, _run: &Run<'_>, value: SharedBytes<'_>, flags: u64) -> Result<(), MapError> {
        if flags != 0 {
            return Err(MapError::InvalidFlags { flags });
        }
        for (word, bit) in self.bits(value) {
            self.region.word64(word).fetch_or(bit, Relaxed);
        }
        Ok(())
    }

    unsafe fn pop(&self, _run: &Run<'_>, _value: SharedBytes<'_>) -> Result<(), MapError> {
        Err(MapError::Unsupported)
    }

    unsafe fn peek(&self, _run: &Run<'_>, value: SharedBytes<'_>) -> Result<(), MapError> {
        let found = self
            .bits(value)
            .all(|(word, bit)| self.region.word64(word).load(Relaxed) & bit != 0);
        if found { Ok(()) } else { Err(MapError::NotFound) }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_linux() {
        assert_eq!(bits(1, 5), 64);
        assert_eq!(bits(100, 5), 1024);
        assert_eq!(bits(65536, 5), 524_288);
        assert_eq!(bits(u32::MAX, 15), 1 << 32);
    }
}
