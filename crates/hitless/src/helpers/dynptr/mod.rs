//! Dynptrs: descriptions of memory that programs keep on their stack and only helpers look into.
//!
//! They are laid out as in the kernel: an address, the size with two things that are known of the memory in its upper bits, and an
//! offset. An address of 0 says that there is no memory: what failed leaves such a dynptr. How they are made and changed is in
//! `describe.rs`, how their memory is reached in `access.rs`.
//!
//! A dynptr of a packet has the address of the context, and is as long as the packet was when it was made. A packet that was moved
//! since is looked at where it is now, and what it does not have any more is not found.
//!
//! To map tracing, who makes a dynptr of a map value writes the value: the element is registered then, for the rest of the run, so
//! that whatever is written by way of the dynptr is traced, too.

mod access;
mod describe;

use hitless_verifier::tables::helpers::number;

use super::Helper;
use super::errno::{E2BIG, Errno};
use crate::region::SharedBytes;

pub(super) use access::{copy, fill, slice, slice_writable};
pub(super) use describe::{adjust, clone, from_skb, from_xdp, is_null, is_rdonly, size};

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_dynptr_from_mem"), describe::from_mem),
    Helper::new(number("bpf_dynptr_read"), access::read),
    Helper::new(number("bpf_dynptr_write"), access::write),
    Helper::new(number("bpf_dynptr_data"), access::data),
];

/// `DYNPTR_MAX_SIZE`.
pub(super) const MAX_SIZE: u32 = 0xff_ffff;

/// Set in the size: the memory is only read.
const READ_ONLY: u32 = 1 << 31;

/// Where in the size the sort of memory is.
const SORT: u32 = 28;

/// What the memory is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum Sort {
    /// The program's own, or a map's.
    Local = 1,
    /// A ring buffer's.
    Record,
    /// The packet of a program of the network stack.
    Skb,
    /// That of an XDP program.
    Xdp,
}

/// `struct bpf_dynptr`, as it lies in the stack of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Dynptr {
    data: u64,
    size: u32,
    offset: u32,
}

impl Dynptr {
    pub(super) const NULL: Dynptr = Dynptr {
        data: 0,
        size: 0,
        offset: 0,
    };

    /// All of some memory.
    fn new(data: u64, size: u32, sort: Sort) -> Dynptr {
        Dynptr {
            data,
            size: size | (sort as u32) << SORT,
            offset: 0,
        }
    }

    /// A record of a ring buffer.
    pub(super) fn record(data: u64, size: u32) -> Dynptr {
        Dynptr::new(data, size, Sort::Record)
    }

    /// # Safety
    /// There is a dynptr at the address.
    pub(super) unsafe fn load(at: u64) -> Dynptr {
        let mut words = [0; 16];
        // SAFETY: as for this function.
        unsafe { SharedBytes::from_raw(at, 16) }.read(&mut words);
        let (data, rest) = words.split_at(8);
        let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Dynptr {
            data: u64::from(word(data)) | u64::from(word(&data[4..])) << 32,
            size: word(rest),
            offset: word(&rest[4..]),
        }
    }

    /// # Safety
    /// There is a place for a dynptr at the address.
    pub(super) unsafe fn store(self, at: u64) {
        let words = [self.data, u64::from(self.size) | u64::from(self.offset) << 32];
        for (at, word) in (at..).step_by(8).zip(words) {
            // SAFETY: as for this function.
            unsafe { SharedBytes::from_raw(at, 8).write(SharedBytes::from_slice(&word.to_le_bytes())) };
        }
    }

    pub(super) fn is_null(self) -> bool {
        self.data == 0
    }

    /// Where the memory begins, whatever the dynptr has been moved to.
    pub(super) fn start(self) -> u64 {
        self.data
    }

    fn is_read_only(self) -> bool {
        self.size & READ_ONLY != 0
    }

    fn len(self) -> u32 {
        self.size & MAX_SIZE
    }

    fn sort(self) -> Sort {
        match self.size >> SORT & 7 {
            2 => Sort::Record,
            3 => Sort::Skb,
            4 => Sort::Xdp,
            _ => Sort::Local,
        }
    }

    /// Where so many bytes at an offset are, counted from the beginning of what the dynptr was made of.
    fn part(self, offset: u64, len: u64) -> Result<u64, Errno> {
        let (offset, len, size) = (offset & 0xffff_ffff, len & 0xffff_ffff, u64::from(self.len()));
        if len > size || offset > size - len {
            return Err(E2BIG);
        }
        Ok(u64::from(self.offset) + offset)
    }
}
