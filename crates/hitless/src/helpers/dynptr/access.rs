//! The memory of dynptrs.

use super::super::errno::{EINVAL, Errno, returned};
use super::super::packet;
use super::{Dynptr, Sort};
use crate::env::RunEnv;
use crate::region::SharedBytes;

/// So many bytes of a dynptr's memory.
///
/// # Safety
/// The dynptr is one that a program has.
unsafe fn find<'a>(env: &mut RunEnv<'_>, dynptr: Dynptr, offset: u64, len: u64) -> Result<SharedBytes<'a>, Errno> {
    let at = dynptr.part(offset, len)?;
    match dynptr.sort() {
        // SAFETY: as for this function; the part lies inside.
        Sort::Local | Sort::Record => Ok(unsafe { SharedBytes::from_raw(dynptr.data + at, len as u32 as usize) }),
        Sort::Skb => packet::skb_bytes(env, at, len & 0xffff_ffff),
        Sort::Xdp => packet::xdp_bytes(env, at, len),
    }
}

/// The same, to be written.
///
/// # Safety
/// As for [`find`].
unsafe fn find_writable<'a>(
    env: &mut RunEnv<'_>,
    dynptr: Dynptr,
    offset: u64,
    len: u64,
) -> Result<SharedBytes<'a>, Errno> {
    if dynptr.is_read_only() {
        return Err(EINVAL);
    }
    // SAFETY: as for this function.
    unsafe { find(env, dynptr, offset, len) }
}

/// What a packet does not have any more is read as zeros by programs of the network stack, as `bpf_skb_load_bytes()` does it.
pub(super) unsafe extern "C" fn read(
    env: &mut RunEnv<'_>,
    to: u64,
    len: u64,
    from: u64,
    offset: u64,
    flags: u64,
) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(from) };
    if dynptr.is_null() || flags != 0 {
        return returned(Err(EINVAL));
    }
    if let Err(error) = dynptr.part(offset, len) {
        return returned(Err(error));
    }
    // SAFETY: the verifier proved so much writable memory.
    let to = unsafe { SharedBytes::from_raw(to, len as u32 as usize) };
    // SAFETY: it is a program's.
    match unsafe { find(env, dynptr, offset, len) } {
        Ok(found) => {
            // SAFETY: as above.
            unsafe { to.write_overlapping(found) };
            0
        }
        Err(error) => {
            if dynptr.sort() == Sort::Skb {
                // SAFETY: as above.
                unsafe { to.fill(0) };
            }
            returned(Err(error))
        }
    }
}

/// The flags are for packets of the network stack.
pub(super) unsafe extern "C" fn write(
    env: &mut RunEnv<'_>,
    to: u64,
    offset: u64,
    from: u64,
    len: u64,
    flags: u64,
) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(to) };
    if dynptr.is_null() || dynptr.is_read_only() {
        return returned(Err(EINVAL));
    }
    let at = match dynptr.part(offset, len) {
        Ok(at) => at,
        Err(error) => return returned(Err(error)),
    };
    // SAFETY: the verifier proved so much readable memory.
    let from = unsafe { SharedBytes::from_raw(from, len as u32 as usize) };
    if dynptr.sort() == Sort::Skb {
        return packet::store(env, at, from, flags);
    }
    if flags != 0 {
        return returned(Err(EINVAL));
    }
    // SAFETY: it is a program's.
    returned(unsafe { find(env, dynptr, offset, len) }.map(|found| {
        // SAFETY: the dynptr describes writable memory.
        unsafe { found.write_overlapping(from) };
        0
    }))
}

/// The address of so many bytes of the memory, or 0. Of a packet, only slices are to be had.
pub(super) unsafe extern "C" fn data(_: &mut RunEnv<'_>, at: u64, offset: u64, len: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    let in_packet = matches!(dynptr.sort(), Sort::Skb | Sort::Xdp);
    if dynptr.is_null() || dynptr.is_read_only() || in_packet {
        return 0;
    }
    dynptr.part(offset, len).map_or(0, |at| dynptr.data + at)
}

/// `bpf_dynptr_slice()`: the address of so many bytes, or 0. All of a packet is in one piece, so the buffer is never needed.
pub(crate) unsafe extern "C" fn slice(
    env: &mut RunEnv<'_>,
    at: u64,
    offset: u64,
    _buffer: u64,
    len: u64,
    _: u64,
) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    if dynptr.is_null() {
        return 0;
    }
    // SAFETY: it is a program's.
    unsafe { find(env, dynptr, offset, len) }.map_or(0, |found| found.address())
}

/// `bpf_dynptr_slice_rdwr()`.
pub(crate) unsafe extern "C" fn slice_writable(
    env: &mut RunEnv<'_>,
    at: u64,
    offset: u64,
    buffer: u64,
    len: u64,
    rest: u64,
) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    if unsafe { Dynptr::load(at) }.is_read_only() {
        return 0;
    }
    // SAFETY: as for this function.
    unsafe { slice(env, at, offset, buffer, len, rest) }
}

/// `bpf_dynptr_copy()`: copies bytes from one to the other; the places may overlap.
pub(crate) unsafe extern "C" fn copy(
    env: &mut RunEnv<'_>,
    to: u64,
    to_offset: u64,
    from: u64,
    from_offset: u64,
    len: u64,
) -> u64 {
    // SAFETY: the verifier proved dynptrs.
    let (to, from) = unsafe { (Dynptr::load(to), Dynptr::load(from)) };
    let mut copied = || {
        if to.is_null() || from.is_null() {
            return Err(EINVAL);
        }
        to.part(to_offset, len)?;
        from.part(from_offset, len)?;
        if len as u32 == 0 {
            return Ok(0);
        }
        // SAFETY: they are a program's.
        let (to, from) = unsafe {
            (
                find_writable(env, to, to_offset, len)?,
                find(env, from, from_offset, len)?,
            )
        };
        // SAFETY: as just found.
        unsafe { to.write_overlapping(from) };
        Ok(0)
    };
    returned(copied())
}

/// `bpf_dynptr_memset()`: overwrites bytes with a value.
pub(crate) unsafe extern "C" fn fill(env: &mut RunEnv<'_>, at: u64, offset: u64, len: u64, byte: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    let mut filled = || {
        dynptr.part(offset, len)?;
        if len as u32 > 0 {
            // SAFETY: it is a program's.
            let found = unsafe { find_writable(env, dynptr, offset, len) }?;
            // SAFETY: as just found.
            unsafe { found.fill(byte as u8) };
        }
        Ok(0)
    };
    returned(if dynptr.is_read_only() { Err(EINVAL) } else { filled() })
}
