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

    /// The key's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: any initialised words are as many initialised bytes, and these hold `len` bytes.
        unsafe { std::slice::from_raw_parts(self.words().as_ptr().cast(), self.len) }
    }

    /// The key as an array index, for maps whose key is one.
    pub(crate) fn index(&self) -> u32 {
        (self.words()[0] & 0xffff_ffff) as u32
    }

    /// A seeded hash: multiply, fold, multiply, over the words.
    #[inline]
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let mut hash = seed;
        for word in self.words() {
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ (hash >> 32)
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
