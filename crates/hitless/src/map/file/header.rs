//! The first page of a map's file: what the map is, so that its region can be opened without asking anybody.
//!
//! ```text
//!    0  magic             "hitlesMP"
//!    8  version           u32
//!   12  byte order        u32, 0x01020304, in that of the machine, as is the region
//!   16  checksum          u32, CRC-32 of everything before and behind it, up to the state
//!   20  length            u32, of the header: where the region begins, a multiple of the page size
//!   24  region            u64, bytes
//!   32  type, key size, value size, max_entries, flags, slots                                    u32 each
//!   56  offset of the spin lock, NUMA node: plus one, 0 if there is none                         u32 each
//!   64  map_extra         u64
//!   72  seed              u64, u64
//!   88  whether it is global data, bytes of the name                                             u32 each
//!   96  name
//! 2048  state             u32: 1 frozen, 2 sealed; changes, so it is not part of the checksum
//! ```
//!
//! All numbers but the byte order are little-endian. A change of how any kind lays out its region is a new version.

use hitless_verifier::tables::map_types::by_number;

use super::MapOpenReason;
use crate::map::key::Seed;
use crate::map::{MapDef, MapFlags};

/// What is read and written of it.
pub(super) const LEN: usize = STATE + 4;
/// What it takes up at the least.
pub(super) const MIN_SPACE: usize = 4096;
/// Where the state is.
pub(super) const STATE: usize = 2048;

const MAGIC: [u8; 8] = *b"hitlesMP";
const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;
const CHECKSUM: usize = 16;
const NAME: usize = 96;
/// The longest name.
pub(super) const MAX_NAME: usize = STATE - NAME;

/// A header, decoded.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Where the region begins.
    pub(super) at: u64,
    /// Bytes of the region.
    pub(super) region: u64,
    pub(super) slots: u32,
    pub(super) seed: Seed,
    pub(super) def: MapDef,
    pub(super) state: u32,
}

impl Header {
    /// The bytes of the header, of a map whose name has at most [`MAX_NAME`].
    pub(super) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let def = &self.def;
        let name = def.name.as_bytes();
        let plus_one = |number: Option<u32>| number.map_or(0, |number| number.wrapping_add(1));
        let small = [
            self.at as u32,
            self.region as u32,
            (self.region >> 32) as u32,
            def.kind.number(),
            def.key_size,
            def.value_size,
            def.max_entries,
            def.flags.bits(),
            self.slots,
            plus_one(def.spin_lock),
            plus_one(def.numa_node),
        ];
        let [start, multiplier] = self.seed.words();
        bytes[..8].copy_from_slice(&MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 12, ORDER.to_ne_bytes());
        for (i, number) in small.into_iter().enumerate() {
            put(&mut bytes, 20 + 4 * i, number.to_le_bytes());
        }
        for (i, number) in [def.map_extra, start, multiplier].into_iter().enumerate() {
            put(&mut bytes, 64 + 8 * i, number.to_le_bytes());
        }
        put(&mut bytes, 88, u32::from(def.global_data).to_le_bytes());
        put(&mut bytes, 92, (name.len() as u32).to_le_bytes());
        bytes[NAME..NAME + name.len()].copy_from_slice(name);
        let sum = checksum(&bytes);
        put(&mut bytes, CHECKSUM, sum.to_le_bytes());
        put(&mut bytes, STATE, self.state.to_le_bytes());
        bytes
    }

    /// What the bytes of a header say.
    pub(super) fn decode(bytes: &[u8; LEN]) -> Result<Header, MapOpenReason> {
        let small = |at: usize| u32::from_le_bytes(get(bytes, at));
        let large = |at: usize| u64::from_le_bytes(get(bytes, at));
        if bytes[..8] != MAGIC {
            return Err(MapOpenReason::Magic);
        }
        if small(8) != VERSION {
            return Err(MapOpenReason::Version {
                found: small(8),
                expected: VERSION,
            });
        }
        if u32::from_ne_bytes(get(bytes, 12)) != ORDER {
            return Err(MapOpenReason::ByteOrder);
        }
        let (found, expected) = (small(CHECKSUM), checksum(bytes));
        if found != expected {
            return Err(MapOpenReason::Checksum { found, expected });
        }
        let refused = |what, found: u32| MapOpenReason::Header {
            what,
            found: found.into(),
        };
        let kind = by_number(small(32)).ok_or(refused("map type", small(32)))?.kind;
        let len = small(92) as usize;
        let name = bytes.get(NAME..NAME + len).filter(|_| len <= MAX_NAME);
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        Ok(Header {
            at: small(20).into(),
            region: large(24),
            slots: small(52),
            seed: Seed::from_words(large(72), large(80)),
            def: MapDef {
                flags: MapFlags::from_bits(small(48)),
                map_extra: large(64),
                numa_node: small(60).checked_sub(1),
                spin_lock: small(56).checked_sub(1),
                global_data: small(88) != 0,
                ..MapDef::new(
                    name.ok_or(refused("length of the name", small(92)))?,
                    kind,
                    small(36),
                    small(40),
                    small(44),
                )
            },
            state: small(STATE),
        })
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, number: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&number);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut number = [0; N];
    number.copy_from_slice(&bytes[at..at + N]);
    number
}

fn checksum(bytes: &[u8; LEN]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[..CHECKSUM]);
    sum.update(&bytes[CHECKSUM + 4..STATE]);
    sum.finalize()
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use hitless_verifier::MapKind;

    use super::*;

    fn header() -> Header {
        Header {
            at: 4096,
            region: 1 << 33,
            slots: 4,
            seed: Seed::from_words(7, 9),
            def: MapDef {
                flags: MapFlags::NO_PREALLOC,
                map_extra: 3,
                numa_node: Some(0),
                spin_lock: Some(8),
                global_data: true,
                ..MapDef::new("flows", MapKind::Hash, 4, 16, 100)
            },
            state: 1,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let header = header();
        let read = Header::decode(&header.encode()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{header:?}"));
    }

    #[test]
    fn a_changed_bit_anywhere_is_found() {
        let bytes = header().encode();
        for at in (0..STATE).filter(|at| at % 7 == 0 || *at < 128) {
            let mut bytes = bytes;
            bytes[at] ^= 4;
            let reason = Header::decode(&bytes).unwrap_err();
            let expected = match at {
                0..8 => matches!(reason, MapOpenReason::Magic),
                8..12 => matches!(reason, MapOpenReason::Version { .. }),
                12..16 => matches!(reason, MapOpenReason::ByteOrder),
                _ => matches!(reason, MapOpenReason::Checksum { .. }),
            };
            assert!(expected, "byte {at}: {reason:?}");
        }
    }
}
