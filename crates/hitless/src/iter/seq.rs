//! What iterator programs print into: the kernel's `struct seq_file`, as far as its text goes.
//!
//! The buffer never grows. What does not fit sets *overflow*, which is kept as a full buffer, as in the kernel: programs see
//! the counts, and the rest of an element's output is lost on purpose, since all of it is taken back and asked for again
//! (`reader.rs`).

use hitless_btf::{Builder, TypeId};

/// How many bytes of output there may be at once: eight pages, as in Linux.
pub(super) const ROOM: usize = 8 * 4096;

/// Output of an iterator. Programs see it as a `struct seq_file`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Seq {
    /// The address of the buffer, for programs.
    buf: u64,
    size: u64,
    /// Where what was not yet read begins.
    from: u64,
    /// How many bytes there are; `size` after an overflow.
    count: u64,
    bytes: Box<[u8]>,
}

impl Seq {
    pub(super) fn new() -> Seq {
        let bytes = vec![0; ROOM].into_boxed_slice();
        Seq {
            buf: bytes.as_ptr() as u64,
            size: ROOM as u64,
            from: 0,
            count: 0,
            bytes,
        }
    }

    /// `struct seq_file`.
    pub(super) fn describe(types: &mut Builder) -> TypeId {
        let byte = types.int("char", 1, hitless_btf::IntEncoding::Signed);
        let (text, size) = (types.pointer(byte), types.unsigned(8));
        let members = [
            ("buf", text, std::mem::offset_of!(Seq, buf)),
            ("size", size, std::mem::offset_of!(Seq, size)),
            ("from", size, std::mem::offset_of!(Seq, from)),
            ("count", size, std::mem::offset_of!(Seq, count)),
        ];
        super::objects::structure(types, "seq_file", size_of::<Seq>(), &members)
    }

    /// How many bytes there are.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// Takes back what came behind the first `count` bytes.
    pub(super) fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count as u64);
    }

    /// Whether something did not fit.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.count == self.size
    }

    /// Where the next output goes; empty after an overflow.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.count as usize..]
    }

    /// So many bytes were put where the next output goes, or would have been put there if there was room. One byte stays
    /// free, as in the kernel, where text has a zero at its end.
    pub(crate) fn advance(&mut self, len: usize) {
        self.count = match self.count.saturating_add(len as u64) {
            count if count < self.size => count,
            _ => self.size,
        };
    }

    /// Copies what was printed and not yet read; says how many bytes.
    pub(super) fn take(&mut self, to: &mut [u8]) -> usize {
        let (from, len) = (self.from as usize, to.len().min(self.count()));
        to[..len].copy_from_slice(&self.bytes[from..from + len]);
        self.from += len as u64;
        self.count -= len as u64;
        len
    }

    /// Begins anew, when all has been read.
    pub(super) fn restart(&mut self) {
        debug_assert_eq!(self.count, 0);
        self.from = 0;
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    fn write(seq: &mut Seq, bytes: &[u8]) {
        let room = seq.room();
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        seq.advance(bytes.len());
    }

    #[test]
    fn what_was_printed_is_read_in_pieces() {
        let mut seq = Seq::new();
        write(&mut seq, b"one two");
        let mut to = [0; 4];
        assert_eq!((seq.take(&mut to), &to), (4, b"one "));
        assert_eq!((seq.take(&mut to), &to[..3]), (3, &b"two"[..]));
        assert_eq!(seq.take(&mut to), 0);
        seq.restart();
        write(&mut seq, b"more");
        assert_eq!((seq.take(&mut to), &to), (4, b"more"));
    }

    #[test]
    fn one_byte_stays_free() {
        let mut seq = Seq::new();
        write(&mut seq, &[b'x'; ROOM - 1]);
        assert!(!seq.has_overflowed());
        seq.truncate(0);
        write(&mut seq, &[b'x'; ROOM]);
        assert!(seq.has_overflowed());
        assert!(seq.room().is_empty());
        seq.advance(1);
        seq.truncate(3);
        assert_eq!((seq.count(), seq.has_overflowed()), (3, false));
    }
}
