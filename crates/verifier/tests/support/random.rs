//! A small generator of random numbers, the same on every run.

use std::sync::OnceLock;

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Bytes of such numbers as [`Random::number`] makes, from a place in many that were made once.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        static MADE: OnceLock<Vec<u8>> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let mut random = Random::new(0);
            (0..1 << 16).map(|_| random.number() as u8).collect()
        });
        if len > made.len() / 2 {
            return (0..len).map(|_| self.number() as u8).collect();
        }
        let first = self.below((made.len() - len) as u64) as usize;
        made[first..first + len].to_vec()
    }

    /// A number, often one at which something changes.
    pub fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(70),
            1 => 1 << self.below(64),
            2 => (1u64 << self.below(64)).wrapping_sub(1),
            3 => self.below(70).wrapping_neg(),
            4 => self.next() >> 32,
            _ => self.next(),
        }
    }
}
