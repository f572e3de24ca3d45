//! Whoever calls: its memory, its descriptors.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// What tells a descriptor's object from all others of this boot: the cookie of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity(pub u64);

/// How a string is read: so much at a time, never across such a boundary, so that nothing behind its end is touched.
const PIECE: u64 = 64;

/// The process that calls: addresses and descriptors in attributes are its own.
pub trait Caller {
    /// Copies from an address.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if not all of it can be read.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno>;

    /// Copies to an address.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if not all of it can be written.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno>;

    /// What a descriptor is.
    ///
    /// # Errors
    /// [`Errno::BADF`] if it is not open; [`Errno::INVAL`] if it is nothing that [`install`](Self::install) can have made.
    fn identify(&self, fd: u32) -> Result<Identity, Errno>;

    /// Gives the caller a descriptor, which execution of another program closes, and says its number.
    ///
    /// # Errors
    /// [`Errno::MFILE`] if the caller has as many as it may.
    fn install(&self, fd: OwnedFd) -> Result<u32, Errno>;

    /// The string at an address, without its end; the first `limit` bytes if it is longer.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if it cannot be read.
    fn read_string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        let mut found = Vec::new();
        let mut piece = [0; PIECE as usize];
        while found.len() < limit {
            let at = address.checked_add(found.len() as u64).ok_or(Errno::FAULT)?;
            let len = (PIECE - at % PIECE).min((limit - found.len()) as u64) as usize;
            let piece = &mut piece[..len];
            self.read(at, piece)?;
            match piece.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    found.extend_from_slice(&piece[..end]);
                    return Ok(found);
                }
                None => found.extend_from_slice(piece),
            }
        }
        Ok(found)
    }
}
