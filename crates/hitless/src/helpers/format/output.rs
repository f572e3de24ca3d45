//! Where text goes.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use crate::region::SharedBytes;

/// Text of which as much is kept as there is room for, and all is counted.
#[derive(Debug)]
pub(in crate::helpers) struct Output<'a> {
    start: *const AtomicU8,
    room: usize,
    len: usize,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Output<'a> {
    /// Text into a buffer of the caller's.
    pub(in crate::helpers) fn to_slice(bytes: &'a mut [u8]) -> Output<'a> {
        Output {
            start: bytes.as_mut_ptr().cast_const().cast(),
            room: bytes.len(),
            len: 0,
            memory: PhantomData,
        }
    }

    /// Text into memory that others may read and write meanwhile.
    ///
    /// # Safety
    /// The memory is writable.
    pub(in crate::helpers) unsafe fn to_shared(bytes: SharedBytes<'a>) -> Output<'a> {
        Output {
            start: bytes.address() as *const AtomicU8,
            room: bytes.len(),
            len: 0,
            memory: PhantomData,
        }
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.len < self.room
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        let kept = text.len().min(self.room.saturating_sub(self.len));
        for (i, byte) in text[..kept].iter().enumerate() {
            self.put(self.len + i, *byte);
        }
        self.len += text.len();
    }

    pub(super) fn fill(&mut self, byte: u8, count: usize) {
        let kept = count.min(self.room.saturating_sub(self.len));
        for i in 0..kept {
            self.put(self.len + i, byte);
        }
        self.len += count;
    }

    /// Ends the text with a zero, in the place of its last byte if need be. Returns how long all of it would be, without the
    /// zero.
    pub(in crate::helpers) fn finish(self) -> usize {
        if self.room > 0 {
            self.put(self.len.min(self.room - 1), 0);
        }
        self.len
    }

    fn put(&self, at: usize, byte: u8) {
        debug_assert!(at < self.room);
        // SAFETY: inside of the room, which is writable memory, by construction. Others touch it atomically, if at all.
        unsafe { (*self.start.add(at)).store(byte, Relaxed) };
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut bytes = *b"########";
        let mut out = Output::to_slice(&mut bytes[..4]);
        out.text(b"ab");
        out.fill(b'.', 3);
        out.text(b"cd");
        assert_eq!(out.finish(), 7);
        assert_eq!(bytes, *b"ab.\0####");
        assert_eq!(Output::to_slice(&mut []).finish(), 0);
    }
}
