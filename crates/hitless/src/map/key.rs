//! A key, copied out of whoever's memory it came from.

use std::mem::MaybeUninit;

use crate::region::SharedBytes;

/// The kernel's limit on hash keys is the BPF stack, since programs build them there.
pub(crate) const MAX_KEY_SIZE: usize = 512;
const WORDS: usize = MAX_KEY_SIZE / 8;

/// A key: a private copy, so that nobody changes it between being hashed and being stored. Padded with zeros to a
/// whole number of words, in which form it is stored, compared and hashed.
pub(crate) struct Key {
    /// The words of the key are initialised; what follows them is not, as most keys are short.
    words: [MaybeUninit<u64>; WORDS],
    len: usize,
}

impl Key {
    /// Copies a key of at most [`MAX_KEY_SIZE`] bytes, which creation of a map has checked.
    pub(crate) fn new(bytes: SharedBytes<'_>) -> Key {
        let len = bytes.len();
        let mut key = Key::from_words(len, |_| 0);
        // SAFETY: `from_words` has initialised as many words as hold `len` bytes; the borrow is exclusive, and any bytes make
        // valid words.
        bytes.read(unsafe { std::slice::from_raw_parts_mut(key.words.as_mut_ptr().cast(), len) });
        key
    }

    /// Fills a key word by word.
    pub(crate) fn from_words(len: usize, word: impl Fn(usize) -> u64) -> Key {
        let mut words = [MaybeUninit::uninit(); WORDS];
        for (i, slot) in words[..len.div_ceil(8)].iter_mut().enumerate() {
            slot.write(word(i));
        }
        Key { words, len }
    }

    /// The words that hold the key.
    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        let words = &self.words[..self.len.div_ceil(8)];
        // SAFETY: `from_words`, by which every key is made, has initialised these.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
    }

    /// Whether what follows the bytes in its last word is zero, as it is in every key that was copied from bytes.
    pub(crate) fn is_padded(&self) -> bool {
        let over = self.len % 8;
        over == 0
            || self
                .words()
                .last()
                .is_none_or(|word| word.to_ne_bytes()[over..] == [0; 8][over..])
    }

    /// The key's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: any initialised words are as many initialised bytes, and these hold `len` bytes.
        unsafe { std::slice::from_raw_parts(self.words().as_ptr().cast(), self.len) }
    }

    /// The key as an array index, for maps whose key is one.
    pub(crate) fn index(&self) -> u32 {
        (self.words()[0] & 0xffff_ffff) as u32
    }
}

/// Something made of words: a key.
pub(crate) trait Words {
    /// How many words there are.
    fn count(&self) -> usize;

    /// The word at an index below the count.
    fn word(&self, index: usize) -> u64;
}

impl Words for Key {
    #[inline]
    fn count(&self) -> usize {
        self.len.div_ceil(8)
    }

    #[inline]
    fn word(&self, index: usize) -> u64 {
        self.words()[index]
    }
}

/// A key of a length that the compiler knows.
#[derive(Clone, Copy)]
pub(crate) struct Short<const WORDS: usize>(pub(crate) [u64; WORDS]);

impl<const WORDS: usize> Words for Short<WORDS> {
    #[inline]
    fn count(&self) -> usize {
        WORDS
    }

    #[inline]
    fn word(&self, index: usize) -> u64 {
        self.0[index]
    }
}

/// A hash that nobody who does not know the seed can predict: multiply, fold, multiply, over the words. The multiplier is part of
/// the seed, so that no set of keys collides under most seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    start: u64,
    multiplier: u64,
}

impl Seed {
    /// The seed that every map with `BPF_F_ZERO_SEED` has; also that of the model, which replays schedules.
    pub(crate) const FIXED: Seed = Seed {
        start: 0,
        multiplier: 0x9e37_79b9_7f4a_7c15,
    };

    /// What is multiplied by at the end, whatever the seed is.
    pub(crate) const FINISH: u64 = 0xd6e8_feb8_6659_fd93;

    pub(crate) fn random() -> Seed {
        if cfg!(hitless_model) {
            return Seed::FIXED;
        }
        let mut bytes = [0; 16];
        // A short read or an error leaves zeros: a weaker seed, but never a small multiplier, and no failure.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
        let [start, multiplier] = [0, 8].map(|at| {
            let word = bytes[at..at + 8].iter();
            word.fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        });
        Seed::from_words(start, multiplier ^ Seed::FIXED.multiplier)
    }

    /// A seed of two words; of the second one only what is odd counts.
    pub(crate) fn from_words(start: u64, multiplier: u64) -> Seed {
        Seed {
            start,
            multiplier: multiplier | 1,
        }
    }

    /// The words that it is made of.
    pub(crate) fn words(self) -> [u64; 2] {
        [self.start, self.multiplier]
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &impl Words) -> u64 {
        let mut hash = self.start;
        for i in 0..key.count() {
            hash = (hash ^ key.word(i)).wrapping_mul(self.multiplier);
            hash ^= hash >> 32;
        }
        hash.wrapping_mul(Seed::FINISH)
    }

    /// The bucket, of so many, that a key with this hash belongs to.
    #[inline]
    pub(crate) fn bucket(hash: u64, buckets: u32) -> u32 {
        ((u128::from(hash) * u128::from(buckets)) >> 64) as u32
    }
}

impl Clone for Key {
    fn clone(&self) -> Key {
        Key::from_words(self.len, |i| self.words()[i])
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.bytes()).finish()
    }
}
