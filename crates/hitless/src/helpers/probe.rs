//! Reads from addresses that may be anything: a bad address is an error, not a signal (`fault`).

use super::errno::{EFAULT, Errno};
use crate::fault;
use crate::region::SharedBytes;

/// Strings are read in pieces that end at multiples of this, so that no piece lies in two pages.
const PIECE: usize = 64;

/// Copies to `to` from an address, all or, as far as anybody may tell, nothing.
///
/// # Safety
/// `to` is writable.
pub(super) unsafe fn copy(from: u64, to: SharedBytes<'_>) -> Result<(), Errno> {
    // What is tested here has no runtime.
    #[cfg(test)]
    fault::install();
    // SAFETY: the destination is writable by the caller's word.
    if unsafe { fault::copy(to.address(), from, to.len()) } {
        Ok(())
    } else {
        Err(EFAULT)
    }
}

/// Fills `to` from an address. If that fails, what `to` holds is not specified.
pub(super) fn read(from: u64, to: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: an exclusive slice.
    unsafe { copy(from, SharedBytes::from_mut(to)) }
}

/// Copies a string with the zero at its end, or as much as there is room for, with a zero in the place of the last byte.
/// Returns how many bytes that is.
///
/// # Safety
/// `to` is writable.
pub(super) unsafe fn copy_string(from: u64, to: SharedBytes<'_>) -> Result<usize, Errno> {
    let mut done = 0;
    while done < to.len() {
        let at = from.wrapping_add(done as u64);
        let len = (PIECE - at as usize % PIECE).min(to.len() - done);
        let mut piece = [0; PIECE];
        read(at, &mut piece[..len])?;
        let end = piece[..len].iter().position(|byte| *byte == 0);
        let taken = end.map_or(len, |end| end + 1);
        // SAFETY: part of what the caller vouches for.
        unsafe { to.part(done, taken).write(SharedBytes::from_slice(&piece[..taken])) };
        done += taken;
        if end.is_some() {
            return Ok(done);
        }
    }
    if let Some(last) = done.checked_sub(1) {
        // SAFETY: as above.
        unsafe { to.part(last, 1).fill(0) };
    }
    Ok(done)
}

/// As [`copy_string`], into a buffer.
pub(super) fn read_string(from: u64, to: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: an exclusive slice.
    unsafe { copy_string(from, SharedBytes::from_mut(to)) }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn strings_end_where_they_end() {
        let text = b"0123456789".repeat(20);
        let terminated = [&text[..], b"\0behind"].concat();
        for skip in 0..70 {
            let from = terminated[skip..].as_ptr() as u64;
            let mut to = [b'#'; 300];
            let len = text.len() - skip + 1;
            assert_eq!(read_string(from, &mut to), Ok(len));
            assert_eq!((&to[..len - 1], to[len - 1], to[len]), (&text[skip..], 0, b'#'));
            let mut short = [b'#'; 10];
            assert_eq!(read_string(from, &mut short), Ok(10));
            assert_eq!((&short[..9], short[9]), (&text[skip..skip + 9], 0));
        }
        assert_eq!(read_string(text.as_ptr() as u64, &mut []), Ok(0));
    }

    #[test]
    fn bad_addresses_are_errors() {
        let mut to = [0; 16];
        for from in [0, 8, 1 << 47, u64::MAX - 3, 0xdead_0000_0000_0000] {
            assert_eq!(read(from, &mut to), Err(EFAULT), "{from:#x}");
            assert_eq!(read_string(from, &mut to), Err(EFAULT), "{from:#x}");
        }
        assert_eq!(read(0, &mut []), Ok(()));
    }

    #[test]
    fn a_string_may_end_before_what_is_not_there() {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
        // SAFETY: it has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: a new mapping, of which nothing else knows.
        unsafe {
            let start = mmap_anonymous(
                std::ptr::null_mut(),
                2 * page,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
            .unwrap();
            let end = start.cast::<u8>().add(page);
            end.sub(3).copy_from(c"ab".as_ptr().cast(), 3);
            mprotect(end.cast(), page, MprotectFlags::empty()).unwrap();
            let mut to = [b'#'; 16];
            assert_eq!(read_string(end as u64 - 3, &mut to), Ok(3));
            assert_eq!(&to[..4], b"ab\0#");
            assert_eq!(read(end as u64 - 3, &mut to[..4]), Err(EFAULT));
            end.sub(1).write(b'c');
            assert_eq!(read_string(end as u64 - 3, &mut to), Err(EFAULT));
            assert_eq!(read_string(end as u64 - 3, &mut to[..3]), Ok(3));
            munmap(start, 2 * page).unwrap();
        }
    }
}
