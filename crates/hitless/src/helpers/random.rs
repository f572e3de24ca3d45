//! `bpf_get_prandom_u32()`: numbers without a pattern, not for secrets.
//!
//! Each slot has a sequence of its own (SplitMix64), begun at a random place. A signal handler that interrupts the step of its
//! own slot gets the same number as the interrupted code, which does not matter.

use hitless_verifier::tables::helpers::number;

use super::Helper;
use crate::env::RunEnv;
use crate::primitive::Ordering::Relaxed;
use crate::primitive::Padded;
use crate::primitive::atomic::AtomicU64;

pub(super) const HELPERS: &[Helper] = &[Helper::new(number("bpf_get_prandom_u32"), get_prandom_u32)];

/// The sequences.
#[derive(Debug)]
pub(super) struct Random {
    slots: Box<[Padded<AtomicU64>]>,
}

impl Random {
    pub(super) fn new(slots: usize) -> Random {
        let mut seed = [0; 8];
        // Where the kernel has no random numbers yet, any sequence will do.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::NONBLOCK);
        let seed = u64::from_ne_bytes(seed);
        let begin = |slot: u64| Padded(AtomicU64::new(mix(seed ^ mix(slot))));
        Random {
            slots: (0..slots as u64).map(begin).collect(),
        }
    }

    fn next(&self, slot: u32) -> u32 {
        let state = &self.slots[slot as usize].0;
        let next = state.load(Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.store(next, Relaxed);
        (mix(next) >> 32) as u32
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

unsafe extern "C" fn get_prandom_u32(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.shared().random.next(env.slot()).into()
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn sequences_differ_and_do_not_stand_still() {
        let random = Random::new(2);
        let mut numbers: Vec<_> = (0..2)
            .flat_map(|slot| (0..100).map(move |_| slot))
            .map(|slot| random.next(slot))
            .collect();
        let bits = numbers.iter().fold((u32::MAX, 0), |(and, or), x| (and & x, or | x));
        assert_eq!(bits, (0, u32::MAX));
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.len() > 195);
    }
}
