//! A map in a map of the kernel's, through `bpf(2)`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const HASH: u32 = 1;
const ARRAY_OF_MAPS: u32 = 12;

/// `union bpf_attr`.
#[repr(C, align(8))]
struct Attr([u32; 38]);

fn bpf(command: i32, attr: &Attr) -> io::Result<i32> {
    // SAFETY: the attributes are a whole `union bpf_attr`; the memory that they name lives for the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<Attr>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

fn create(words: [u32; 6]) -> io::Result<OwnedFd> {
    let mut attr = Attr([0; 38]);
    attr.0[..6].copy_from_slice(&words);
    // SAFETY: the command returns a new descriptor.
    bpf(MAP_CREATE, &attr).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An array of maps, and two that fit in.
pub struct Maps {
    outer: OwnedFd,
    inner: [OwnedFd; 2],
}

impl Maps {
    pub fn new() -> io::Result<Maps> {
        let inner = [HASH, 4, 8, 64, 0, 0];
        let inner = [create(inner)?, create(inner)?];
        let outer = create([ARRAY_OF_MAPS, 4, 4, 1, 0, inner[0].as_raw_fd() as u32])?;
        Ok(Maps { outer, inner })
    }

    /// Puts one of the two in place of the other.
    pub fn replace(&self, n: u32) {
        let (key, value) = (0u32, self.inner[n as usize % 2].as_raw_fd());
        let mut attr = Attr([0; 38]);
        attr.0[0] = self.outer.as_raw_fd() as u32;
        for (at, address) in [(2, &raw const key as u64), (4, &raw const value as u64)] {
            attr.0[at] = address as u32;
            attr.0[at + 1] = (address >> 32) as u32;
        }
        bpf(MAP_UPDATE_ELEM, &attr).expect("the kernel takes a map that fits");
    }
}
