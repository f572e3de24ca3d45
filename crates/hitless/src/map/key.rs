//! A key, copied out of whoever's memory it came from.

use crate::region::SharedBytes;

/// The kernel's limit on hash keys is the BPF stack, since programs build them there.
pub(crate) const MAX_KEY_SIZE: usize = 512;
const WORDS: usize = MAX_KEY_SIZE / 8;

/// A key: a private copy, so that nobody changes it between being hashed and being stored. Padded with zeros to a
/// whole number of words, in which form it is stored, compared and hashed.
#[derive(Clone)]
pub(crate) struct Key {
    words: [u64; WORDS],
    len: usize,
}

impl Key {
    /// Copies a key of at most [`MAX_KEY_SIZE`] bytes, which creation of a map has checked.
    pub(crate) fn new(bytes: SharedBytes<'_>) -> Key {
        let mut key = Key {
            words: [0; WORDS],
            len: bytes.len(),
        };
        bytes.read(key.bytes_mut());
        key
    }

    /// Fills a key word by word.
    pub(crate) fn from_words(len: usize, word: impl Fn(usize) -> u64) -> Key {
        let mut key = Key { words: [0; WORDS], len };
        for (i, slot) in key.words[..len.div_ceil(8)].iter_mut().enumerate() {
            *slot = word(i);
        }
        key
    }

    /// The words that hold the key.
    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        &self.words[..self.len.div_ceil(8)]
    }

    /// The key's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: any initialised words are as many initialised bytes, and `len` is at most the array's size.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(self.len <= MAX_KEY_SIZE, "key of {} bytes", self.len);
        // SAFETY: as in `bytes`; the borrow is exclusive, and any bytes make valid words.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.len) }
    }

    /// The key as an array index, for maps whose key is one.
    pub(crate) fn index(&self) -> u32 {
        (self.words[0] & 0xffff_ffff) as u32
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

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.bytes()).finish()
    }
}
