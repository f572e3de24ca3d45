//! The memory of a map: one flat, position-independent region, and how it is read and written.
//!
//! Most regions are private memory, in large pages where that pays, as Linux has its maps; a file is made of what others map.
//!
//! Other threads, BPF programs and (later) other processes write this memory at any time, so no `&` or `&mut` is ever made
//! to it: it is reached through atomic words alone. A value is copied in 8-byte relaxed words, as the kernel's
//! `bpf_long_memcpy` does: a concurrent reader may see a mixture of two values, but never half a word.
//!
//! [`SharedBytes`] carries the proof that some range is such memory, and stays so while the value lives. It also stands
//! for memory of a program (its stack, its packet) that is given to a BPF helper.

use std::io;
use std::marker::PhantomData;

use crate::memory::Charge;
use crate::primitive::Ordering::Relaxed;
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::primitive::schedule_point;
use crate::sys::{FilePart, Mapping, Sharing};

/// Rounds up to a multiple of eight.
pub(crate) const fn round_up_8(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// A map's region.
#[derive(Debug)]
pub(crate) struct Region {
    mapping: Mapping,
    /// Given back once the mapping is gone.
    _charge: Option<Charge>,
}

impl Region {
    /// Reserves `len` bytes of this process alone, zero-filled. They are there from the start if `populated`, else paid for by
    /// page.
    pub(crate) fn private(len: usize, populated: bool) -> io::Result<Region> {
        let len = len.max(8);
        let mapping = if populated {
            Mapping::private_populated(len)
        } else {
            Mapping::private(len)
        };
        Ok(Region {
            mapping: mapping?,
            _charge: None,
        })
    }

    /// Reserves a memory file of `len` bytes, zero-filled, for what others are to map; all of it is there from the start.
    pub(crate) fn file_of(name: &str, len: usize) -> io::Result<Region> {
        let mapping = Mapping::file_of(name, len.max(8))?;
        mapping.populate()?;
        Ok(Region { mapping, _charge: None })
    }

    /// Bytes of a file.
    pub(crate) fn of_file(part: FilePart<'_>, sharing: Sharing) -> io::Result<Region> {
        Ok(Region {
            mapping: Mapping::of_file(part, sharing)?,
            _charge: None,
        })
    }

    /// As many private bytes, and behind them bytes of files, as [`Mapping::behind`] says.
    pub(crate) fn behind(private: usize, parts: &[FilePart<'_>], sharing: Sharing) -> io::Result<Region> {
        Ok(Region {
            mapping: Mapping::behind(private, parts, sharing)?,
            _charge: None,
        })
    }

    /// Keeps what the region was charged for as long as it is there.
    pub(crate) fn charged(self, charge: Charge) -> Region {
        Region {
            _charge: Some(charge),
            ..self
        }
    }

    /// The 4-byte word at `off`, a multiple of four inside the region.
    #[inline]
    pub(crate) fn word32(&self, off: usize) -> &AtomicU32 {
        self.check(off, 4, 4);
        // SAFETY: in bounds and aligned, as just checked; mapped for the life of `self`; only ever accessed atomically.
        unsafe { &*self.mapping.start().as_ptr().add(off).cast() }
    }

    /// The 8-byte word at `off`, a multiple of eight inside the region.
    #[inline]
    pub(crate) fn word64(&self, off: usize) -> &AtomicU64 {
        self.check(off, 8, 8);
        // SAFETY: in bounds and aligned, as just checked; mapped for the life of `self`; only ever accessed atomically.
        unsafe { &*self.mapping.start().as_ptr().add(off).cast() }
    }

    /// The 4-byte word at `off`.
    ///
    /// # Safety
    /// `off` is a multiple of four inside the region.
    #[inline]
    pub(crate) unsafe fn word32_unchecked(&self, off: usize) -> &AtomicU32 {
        debug_assert!(off.is_multiple_of(4) && off + 4 <= self.mapping.len());
        // SAFETY: the caller vouches for it; mapped for the life of `self`; only ever accessed atomically.
        unsafe { &*self.mapping.start().as_ptr().add(off).cast() }
    }

    /// The 8-byte word at `off`.
    ///
    /// # Safety
    /// `off` is a multiple of eight inside the region.
    #[inline]
    pub(crate) unsafe fn word64_unchecked(&self, off: usize) -> &AtomicU64 {
        debug_assert!(off.is_multiple_of(8) && off + 8 <= self.mapping.len());
        // SAFETY: as in `word32_unchecked`.
        unsafe { &*self.mapping.start().as_ptr().add(off).cast() }
    }

    /// The 8-byte words at `off`.
    ///
    /// # Safety
    /// `off` is a multiple of eight, and all of them are inside the region.
    #[inline(always)]
    pub(crate) unsafe fn words_unchecked<const COUNT: usize>(&self, off: usize) -> &[AtomicU64; COUNT] {
        debug_assert!(off.is_multiple_of(8) && off + 8 * COUNT <= self.mapping.len());
        // SAFETY: as in `word32_unchecked`; the type is transparent.
        unsafe { &*self.mapping.start().as_ptr().add(off).cast() }
    }

    /// The `len` bytes at `off`, which must be inside the region.
    #[inline]
    pub(crate) fn bytes(&self, off: usize, len: usize) -> SharedBytes<'_> {
        self.check(off, len, 1);
        // SAFETY: in bounds, as just checked; mapped for the life of `self`; only ever accessed atomically.
        unsafe { SharedBytes::from_raw(self.address(off), len) }
    }

    /// The address of offset `off` in this process.
    #[inline]
    pub(crate) fn address(&self, off: usize) -> u64 {
        self.mapping.start().as_ptr() as u64 + off as u64
    }

    /// The offset of an address, if it lies in the region.
    #[inline]
    pub(crate) fn offset_of(&self, address: u64) -> Option<usize> {
        let off = address.wrapping_sub(self.mapping.start().as_ptr() as u64);
        (off < self.mapping.len() as u64).then_some(off as usize)
    }

    #[inline]
    fn check(&self, off: usize, len: usize, align: usize) {
        assert!(
            off.is_multiple_of(align) && off.checked_add(len).is_some_and(|end| end <= self.mapping.len()),
            "offset {off}, {len} bytes, in a region of {} bytes",
            self.mapping.len()
        );
    }
}

/// A range of bytes that others may write at any time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedBytes<'a> {
    address: u64,
    len: usize,
    memory: PhantomData<&'a Region>,
}

impl<'a> SharedBytes<'a> {
    /// The range of `len` bytes at `address`.
    ///
    /// # Safety
    /// For `'a` the range is mapped and readable, and writable if anything is copied into it; it is accessed by nothing but
    /// atomic operations and compiled BPF code, or by nobody else at all.
    pub(crate) unsafe fn from_raw(address: u64, len: usize) -> SharedBytes<'a> {
        SharedBytes {
            address,
            len,
            memory: PhantomData,
        }
    }

    /// A view of ordinary bytes, to copy out of.
    pub(crate) fn from_slice(bytes: &'a [u8]) -> SharedBytes<'a> {
        SharedBytes {
            address: bytes.as_ptr() as u64,
            len: bytes.len(),
            memory: PhantomData,
        }
    }

    /// A view of ordinary bytes, to copy into.
    pub(crate) fn from_mut(bytes: &'a mut [u8]) -> SharedBytes<'a> {
        SharedBytes {
            address: bytes.as_mut_ptr() as u64,
            len: bytes.len(),
            memory: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn address(self) -> u64 {
        self.address
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Copies everything to `to`, which has the same length.
    pub(crate) fn read(self, to: &mut [u8]) {
        assert_eq!(to.len(), self.len, "length of a copy out of shared memory");
        // SAFETY: the source is valid by construction; the destination is a live exclusive slice.
        unsafe { copy_words(self.address as *const u8, to.as_mut_ptr(), self.len) }
    }

    /// The byte at an offset.
    #[inline]
    pub(crate) fn byte(self, at: usize) -> u8 {
        use std::sync::atomic::AtomicU8;
        assert!(at < self.len, "byte {at} of {}", self.len);
        // SAFETY: inside the range, which is readable by construction.
        unsafe { (*(self.address as *const AtomicU8).add(at)).load(Relaxed) }
    }

    /// Overwrites each byte of this range.
    ///
    /// # Safety
    /// As for [`SharedBytes::write`].
    pub(crate) unsafe fn fill(self, byte: u8) {
        use std::sync::atomic::AtomicU8;
        for at in 0..self.len {
            // SAFETY: inside the range; the caller vouches that it is writable.
            unsafe { (*(self.address as *const AtomicU8).add(at)).store(byte, Relaxed) };
        }
    }

    /// The first eight bytes as a word, padded with zeros if there are fewer.
    #[inline]
    pub(crate) fn load_word(self) -> u64 {
        // SAFETY: valid by construction.
        unsafe { load_word(self.address as *const u8, self.len) }
    }

    /// Overwrites this range with `from`, which has the same length.
    ///
    /// # Safety
    /// The range is writable (see [`SharedBytes::from_raw`]); one made by [`SharedBytes::from_slice`] is not.
    pub(crate) unsafe fn write(self, from: SharedBytes<'_>) {
        assert_eq!(from.len, self.len, "length of a copy into shared memory");
        // SAFETY: both ranges are valid by construction; the caller vouches that this one is writable.
        unsafe { copy_words(from.address as *const u8, self.address as *mut u8, self.len) }
    }

    /// Like [`SharedBytes::write`], of ranges that may overlap.
    ///
    /// # Safety
    /// As for [`SharedBytes::write`].
    pub(crate) unsafe fn write_overlapping(self, from: SharedBytes<'_>) {
        use std::sync::atomic::AtomicU8;
        let behind = self.address.wrapping_sub(from.address) < from.len as u64;
        if !behind {
            // SAFETY: as for this function; what is overwritten has been read before.
            return unsafe { self.write(from) };
        }
        assert_eq!(from.len, self.len, "length of a copy into shared memory");
        for at in (0..self.len).rev() {
            // SAFETY: inside the range; the caller vouches that it is writable.
            unsafe { (*(self.address as *const AtomicU8).add(at)).store(from.byte(at), Relaxed) };
        }
    }

    /// Like [`SharedBytes::write`], but leaves the `skip.1` bytes at `skip.0` as they are.
    ///
    /// # Safety
    /// As for [`SharedBytes::write`].
    pub(crate) unsafe fn write_around(self, from: SharedBytes<'_>, skip: (usize, usize)) {
        let after = skip.0 + skip.1;
        // SAFETY: parts of ranges that the caller vouches for.
        unsafe {
            self.part(0, skip.0).write(from.part(0, skip.0));
            self.part(after, self.len - after)
                .write(from.part(after, self.len - after));
        }
    }

    /// Overwrites this range with zeros.
    ///
    /// # Safety
    /// As for [`SharedBytes::write`].
    pub(crate) unsafe fn clear(self) {
        use std::sync::atomic::{AtomicU8, AtomicU64};
        let words = if self.address.is_multiple_of(8) {
            self.len / 8
        } else {
            0
        };
        let start = self.address as *const u8;
        // SAFETY: valid by construction; the caller vouches that it is writable; words are aligned.
        unsafe {
            for i in 0..words {
                schedule_point();
                (*start.cast::<AtomicU64>().add(i)).store(0, Relaxed);
            }
            for i in words * 8..self.len {
                (*start.cast::<AtomicU8>().add(i)).store(0, Relaxed);
            }
        }
    }

    /// The `len` bytes at `off` of this range.
    pub(crate) fn part(self, off: usize, len: usize) -> SharedBytes<'a> {
        assert!(off + len <= self.len, "{len} bytes at {off} of {}", self.len);
        SharedBytes {
            address: self.address + off as u64,
            len,
            memory: PhantomData,
        }
    }
}

/// The first eight bytes, or `len` if that is less, as a word padded with zeros: read whole if they are an aligned integer.
///
/// # Safety
/// `from` is readable for `len` bytes, under the rules of [`SharedBytes`].
#[inline]
pub(crate) unsafe fn load_word(from: *const u8, len: usize) -> u64 {
    use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
    // SAFETY: readable by the caller's word, and aligned, as compared.
    unsafe {
        if len >= 8 && from.cast::<u64>().is_aligned() {
            return (*from.cast::<AtomicU64>()).load(Relaxed);
        }
        if len == 4 && from.cast::<u32>().is_aligned() {
            return (*from.cast::<AtomicU32>()).load(Relaxed).into();
        }
        let mut bytes = [0; 8];
        for (i, byte) in bytes.iter_mut().enumerate().take(len) {
            *byte = (*from.add(i).cast::<AtomicU8>()).load(Relaxed);
        }
        u64::from_ne_bytes(bytes)
    }
}

/// Copies `len` bytes, by 8-byte words where both sides are aligned, then by the widest words that are aligned on both sides;
/// each step a relaxed atomic access. So an integer that lies aligned on both sides is copied whole.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes, both under the rules of [`SharedBytes`].
unsafe fn copy_words(from: *const u8, to: *mut u8, len: usize) {
    use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
    let mut done = 0;
    macro_rules! copy {
        ($atomic:ty) => {
            let size = size_of::<$atomic>();
            if (from as usize | to as usize).is_multiple_of(size) {
                while len - done >= size {
                    schedule_point();
                    // SAFETY: inside both ranges by the caller's word; aligned, since both ends are, and what was copied before was
                    // a multiple of a wider word.
                    unsafe {
                        let word = (*from.add(done).cast::<$atomic>()).load(Relaxed);
                        (*to.add(done).cast::<$atomic>()).store(word, Relaxed);
                    }
                    done += size;
                }
            }
        };
    }
    copy!(AtomicU64);
    copy!(AtomicU32);
    copy!(AtomicU16);
    copy!(AtomicU8);
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn copies_keep_every_byte_at_any_alignment() {
        let region = Region::private(256, false).unwrap();
        let pattern: Vec<u8> = (0..64).collect();
        for off in 0..9 {
            for len in 0..40 {
                let target = region.bytes(off, len);
                // SAFETY: region memory is writable.
                unsafe { target.write(SharedBytes::from_slice(&pattern[..len])) };
                let mut back = vec![0xff; len];
                target.read(&mut back);
                assert_eq!(back, pattern[..len]);
            }
        }
    }

    #[test]
    fn overlapping_ranges_keep_every_byte() {
        for (from, to) in [(0, 3), (3, 0), (0, 8), (8, 0), (5, 5), (0, 16)] {
            let region = Region::private(64, false).unwrap();
            let pattern: Vec<u8> = (0..16).collect();
            // SAFETY: region memory is writable.
            unsafe {
                region.bytes(from, 16).write(SharedBytes::from_slice(&pattern));
                region.bytes(to, 16).write_overlapping(region.bytes(from, 16));
            }
            let mut back = [0; 16];
            region.bytes(to, 16).read(&mut back);
            assert_eq!(back, pattern[..], "{from} to {to}");
        }
    }

    #[test]
    #[should_panic(expected = "offset 252, 8 bytes")]
    fn a_word_past_the_end_is_refused() {
        Region::private(256, false).unwrap().word64(252);
    }

    #[test]
    fn writing_around_a_lock_keeps_it() {
        let region = Region::private(64, false).unwrap();
        let value = region.bytes(0, 16);
        // SAFETY: region memory is writable.
        unsafe {
            value.write(SharedBytes::from_slice(&[1; 16]));
            value.write_around(SharedBytes::from_slice(&[2; 16]), (4, 4));
        }
        let mut back = [0; 16];
        value.read(&mut back);
        assert_eq!(back, [2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
    }
}
