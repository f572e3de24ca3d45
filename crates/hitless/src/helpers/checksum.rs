//! The Internet checksum (RFC 1071): sums of 16-bit words in ones' complement.
//!
//! Sums are kept in 32 bits, as the kernel's `__wsum`, and folded to 16 when they are stored. A sum has several
//! representations; where programs get to see one, it is the one that the kernel has.

use hitless_verifier::tables::helpers::number;

use super::Helper;
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[Helper::new(number("bpf_csum_diff"), csum_diff)];

unsafe extern "C" fn csum_diff(_: &mut RunEnv<'_>, from: u64, from_len: u64, to: u64, to_len: u64, seed: u64) -> u64 {
    let [from_len, to_len] = [from_len as u32 as usize, to_len as u32 as usize];
    // SAFETY: the verifier proved so much readable memory.
    let (from, to) = unsafe { (SharedBytes::from_raw(from, from_len), SharedBytes::from_raw(to, to_len)) };
    diff(from, to, seed as u32).into()
}

/// Adds two sums.
pub(super) fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u32::from(carry)
}

/// Takes one sum from another.
pub(super) fn sub(a: u32, b: u32) -> u32 {
    add(a, !b)
}

/// How many bytes are copied at once from memory that others may write.
const CHUNK: usize = 64;

/// The sum of bytes that others may write meanwhile, added to another.
pub(super) fn of_shared(bytes: SharedBytes<'_>, mut sum: u32) -> u32 {
    let mut chunk = [0; CHUNK];
    for at in (0..bytes.len()).step_by(CHUNK) {
        let chunk = &mut chunk[..CHUNK.min(bytes.len() - at)];
        bytes.part(at, chunk.len()).read(chunk);
        sum = of(chunk, sum);
    }
    sum
}

/// The sum of bytes that begin at an even offset, added to another. An odd byte at the end counts as if a zero followed.
pub(super) fn of(bytes: &[u8], sum: u32) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words = words.iter().map(|word| u64::from(u16::from_ne_bytes(*word)));
    let last = rest.first().map_or(0, |byte| u64::from(u16::from_ne_bytes([*byte, 0])));
    let total = u64::from(sum) + words.sum::<u64>() + last;
    // Twice, since the first time may carry.
    let once = (total & 0xffff_ffff) + (total >> 32);
    ((once & 0xffff_ffff) + (once >> 32)) as u32
}

/// A sum in 16 bits, not complemented.
pub(super) fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// `bpf_csum_diff()`: what a sum becomes when some bytes take the place of others.
pub(super) fn diff(from: SharedBytes<'_>, to: SharedBytes<'_>, seed: u32) -> u16 {
    fold(match (from.len(), to.len()) {
        (0, _) => of_shared(to, seed),
        (_, 0) => !of_shared(from, !seed),
        _ => sub(of_shared(to, seed), of_shared(from, 0)),
    })
}

/// The field of a checksum, after the sum of what it covers has changed by a difference.
pub(super) fn replaced(field: u16, diff: u32) -> u16 {
    !fold(add(diff, !u32::from(field)))
}

/// The field after 32 bits of what it covers have changed.
pub(super) fn replaced_u32(field: u16, from: u32, to: u32) -> u16 {
    !fold(add(sub(!u32::from(field), from), to))
}

/// The field after 16 bits of what it covers have changed.
pub(super) fn replaced_u16(field: u16, from: u16, to: u16) -> u16 {
    let add = |a: u16, b: u16| {
        let (sum, carry) = a.overflowing_add(b);
        sum + u16::from(carry)
    };
    !add(add(!field, !from), to)
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        // The example of RFC 1071.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(of(&bytes, 0)), u16::from_be(0xddf2));
        assert_eq!(
            fold(of(&bytes[..7], 0)),
            fold(of(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0], 0))
        );
        assert_eq!(of(&[], 7), 7);
        assert_eq!(fold(u32::MAX), u16::MAX);
    }

    fn diff(from: &[u8], to: &[u8], seed: u32) -> u16 {
        super::diff(SharedBytes::from_slice(from), SharedBytes::from_slice(to), seed)
    }

    #[test]
    fn sums_of_memory_of_others() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in [0, 1, 63, 64, 65, 255, 256] {
            let shared = SharedBytes::from_slice(&bytes[..len]);
            assert_eq!(fold(of_shared(shared, 9)), fold(of(&bytes[..len], 9)), "{len}");
        }
    }

    #[test]
    fn differences() {
        let (old, new) = ([1u8, 2, 3, 4], [9u8, 8, 7, 6]);
        let seed = of(&old, 0);
        assert_eq!(diff(&old, &new, seed), fold(of(&new, 0)));
        assert_eq!(diff(&[], &new, 5), fold(of(&new, 5)));
        assert_eq!(diff(&old, &[], seed), 0);
        assert_eq!(diff(&[], &[], 0x0001_0002), 3);
    }

    #[test]
    fn a_field_follows_what_it_covers() {
        let mut header = [0x45, 0, 0, 60, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let field = !fold(of(&header, 0));
        let (old, new) = ([64, 6, 0, 0], [63, 6, 0, 0]);
        let [from, to] = [old, new].map(u32::from_ne_bytes);
        header[8..12].copy_from_slice(&new);
        let expected = !fold(of(&header, 0));
        assert_eq!(replaced(field, diff(&old, &new, 0).into()), expected);
        assert_eq!(replaced_u32(field, from, to), expected);
        assert_eq!(replaced_u16(field, from as u16, to as u16), expected);
    }
}
