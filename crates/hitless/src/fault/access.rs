//! Memory by address, for whoever is handed addresses by others: what is not there is an error, never a signal.

use super::{arch, install};

/// There is nothing to read, or to write, at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no memory for {len} bytes at {address:#x}")]
pub struct BadAddress {
    /// Where.
    pub address: u64,
    /// How many bytes were to be there.
    pub len: usize,
}

/// Copies from any address of this process. Bytes that others write meanwhile come out in some state.
///
/// # Errors
/// [`BadAddress`] if not all bytes can be read; some may have been copied then.
pub fn read(address: u64, bytes: &mut [u8]) -> Result<(), BadAddress> {
    install();
    let len = bytes.len();
    // SAFETY: the bytes are the caller's alone, and so many.
    if unsafe { arch::copy(bytes.as_mut_ptr() as u64, address, len) } {
        Ok(())
    } else {
        Err(BadAddress { address, len })
    }
}

/// Copies to any address of this process.
///
/// # Errors
/// [`BadAddress`] if not all bytes can be written; some may have been then.
///
/// # Safety
/// If there is memory at the address, it may be written: it is nothing that others rely on not to change.
pub unsafe fn write(address: u64, bytes: &[u8]) -> Result<(), BadAddress> {
    install();
    let len = bytes.len();
    // SAFETY: what is written is nobody else's by the caller's word, if it is there; if not, the routine says so, whichever of the two
    // accesses it is that faults.
    if unsafe { arch::copy(address, bytes.as_ptr() as u64, len) } {
        Ok(())
    } else {
        Err(BadAddress { address, len })
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    const BAD: [u64; 4] = [0, 8, 1 << 46, u64::MAX - 3];

    #[test]
    fn what_is_not_there_is_an_error() {
        let mut bytes = [0; 9];
        for address in BAD {
            assert_eq!(read(address, &mut bytes), Err(BadAddress { address, len: 9 }));
            // SAFETY: nothing is there.
            assert_eq!(unsafe { write(address, &bytes) }, Err(BadAddress { address, len: 9 }));
            assert_eq!(read(address, &mut []), Ok(()));
        }
    }

    #[test]
    fn what_may_not_be_written_is_an_error() {
        static FIXED: [u8; 4096] = [7; 4096];
        let address = FIXED.as_ptr() as u64;
        // SAFETY: constants lie in memory that cannot be written.
        assert!(unsafe { write(address, &[8; 4]) }.is_err());
        let mut bytes = [0; 4];
        assert_eq!(read(address, &mut bytes), Ok(()));
        assert_eq!(bytes, [7; 4]);
    }

    #[test]
    fn what_is_written_is_read() {
        let memory = std::cell::UnsafeCell::new([0u8; 11]);
        // SAFETY: the memory is this test's.
        assert_eq!(unsafe { write(memory.get() as u64, b"hello world") }, Ok(()));
        let mut bytes = [0; 11];
        assert_eq!(read(memory.get() as u64, &mut bytes), Ok(()));
        assert_eq!(&bytes, b"hello world");
    }
}
