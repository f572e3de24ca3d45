//! Dynptrs: descriptions of memory that programs keep on their stack and only helpers look into.
//!
//! They are laid out as in the kernel: an address, the size with two things that are known of the memory in its upper bits, and an
//! offset. An address of 0 says that there is no memory: what failed leaves such a dynptr.
//!
//! To map tracing, who makes a dynptr of a map value writes the value: the element is registered then, for the rest of the run, so
//! that whatever is written by way of the dynptr is traced, too.

use hitless_verifier::tables::helpers::number;

use super::Helper;
use super::errno::{E2BIG, EINVAL, ERANGE, Errno, returned};
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_dynptr_from_mem"), from_mem),
    Helper::new(number("bpf_dynptr_read"), read),
    Helper::new(number("bpf_dynptr_write"), write),
    Helper::new(number("bpf_dynptr_data"), data),
];

/// `DYNPTR_MAX_SIZE`.
pub(super) const MAX_SIZE: u32 = 0xff_ffff;

/// Set in the size: the memory is only read.
const READ_ONLY: u32 = 1 << 31;

/// Where in the size the sort of memory is.
const SORT: u32 = 28;
const LOCAL: u32 = 1 << SORT;
const RECORD: u32 = 2 << SORT;

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

    /// Memory of the program.
    fn local(data: u64, size: u32) -> Dynptr {
        Dynptr {
            data,
            size: size | LOCAL,
            offset: 0,
        }
    }

    /// A record of a ring buffer.
    pub(super) fn record(data: u64, size: u32) -> Dynptr {
        Dynptr {
            data,
            size: size | RECORD,
            offset: 0,
        }
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

    /// The address of so many bytes at an offset.
    fn part(self, offset: u64, len: u64) -> Result<u64, Errno> {
        let (offset, len, size) = (offset & 0xffff_ffff, len & 0xffff_ffff, u64::from(self.len()));
        if len > size || offset > size - len {
            return Err(E2BIG);
        }
        Ok(self.data + u64::from(self.offset) + offset)
    }
}

unsafe extern "C" fn from_mem(_: &mut RunEnv<'_>, data: u64, size: u64, flags: u64, to: u64, _: u64) -> u64 {
    let size = size as u32;
    let made = match () {
        () if size > MAX_SIZE => Err(E2BIG),
        () if flags != 0 => Err(EINVAL),
        () => Ok(Dynptr::local(data, size)),
    };
    // SAFETY: the verifier proved a place for a dynptr.
    unsafe { made.unwrap_or(Dynptr::NULL).store(to) };
    returned(made.map(|_| 0))
}

unsafe extern "C" fn read(_: &mut RunEnv<'_>, to: u64, len: u64, from: u64, offset: u64, flags: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(from) };
    if dynptr.is_null() || flags != 0 {
        return returned(Err(EINVAL));
    }
    returned(dynptr.part(offset, len).map(|address| {
        // SAFETY: the verifier proved so much writable memory; the dynptr describes readable memory.
        unsafe { shift(address, to, len) };
        0
    }))
}

unsafe extern "C" fn write(_: &mut RunEnv<'_>, to: u64, offset: u64, from: u64, len: u64, flags: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(to) };
    if dynptr.is_null() || dynptr.is_read_only() {
        return returned(Err(EINVAL));
    }
    returned(dynptr.part(offset, len).and_then(|address| {
        if flags != 0 {
            return Err(EINVAL);
        }
        // SAFETY: the verifier proved so much readable memory; the dynptr describes writable memory.
        unsafe { shift(from, address, len) };
        Ok(0)
    }))
}

/// The address of so many bytes of the memory, or 0.
unsafe extern "C" fn data(_: &mut RunEnv<'_>, at: u64, offset: u64, len: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    if dynptr.is_null() || dynptr.is_read_only() {
        return 0;
    }
    dynptr.part(offset, len).unwrap_or(0)
}

/// Copies bytes; the places may overlap.
///
/// # Safety
/// The bytes are readable at the one address and writable at the other.
unsafe fn shift(from: u64, to: u64, len: u64) {
    // SAFETY: as for this function.
    let (from, to) = unsafe {
        (
            SharedBytes::from_raw(from, len as usize),
            SharedBytes::from_raw(to, len as usize),
        )
    };
    // SAFETY: as for this function.
    unsafe { to.write_overlapping(from) };
}

// Kernel functions that look at dynptrs --------------------------------------------------------------------------------------

/// `bpf_dynptr_adjust()`: leaves the part from `start` to `end`.
pub(super) unsafe extern "C" fn adjust(_: &mut RunEnv<'_>, at: u64, start: u64, end: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    let (start, end) = (start as u32, end as u32);
    if dynptr.is_null() || start > end {
        return returned(Err(EINVAL));
    }
    if end > dynptr.len() {
        return returned(Err(ERANGE));
    }
    let adjusted = Dynptr {
        size: dynptr.size & !MAX_SIZE | (end - start),
        offset: dynptr.offset + start,
        ..dynptr
    };
    // SAFETY: as above.
    unsafe { adjusted.store(at) };
    0
}

/// `bpf_dynptr_is_null()`.
pub(super) unsafe extern "C" fn is_null(_: &mut RunEnv<'_>, at: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    unsafe { Dynptr::load(at) }.is_null().into()
}

/// `bpf_dynptr_is_rdonly()`.
pub(super) unsafe extern "C" fn is_rdonly(_: &mut RunEnv<'_>, at: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    (!dynptr.is_null() && dynptr.is_read_only()).into()
}

/// `bpf_dynptr_size()`: in 32 bits, errors, too.
pub(super) unsafe extern "C" fn size(_: &mut RunEnv<'_>, at: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    if dynptr.is_null() {
        return returned(Err(EINVAL)) & 0xffff_ffff;
    }
    dynptr.len().into()
}
