//! Making dynptrs, and looking at them.

use super::super::errno::{E2BIG, EINVAL, ERANGE, returned};
use super::{Dynptr, MAX_SIZE, READ_ONLY, Sort};
use crate::env::RunEnv;

pub(super) unsafe extern "C" fn from_mem(_: &mut RunEnv<'_>, data: u64, size: u64, flags: u64, to: u64, _: u64) -> u64 {
    let size = size as u32;
    let made = match () {
        () if size > MAX_SIZE => Err(E2BIG),
        () if flags != 0 => Err(EINVAL),
        () => Ok(Dynptr::new(data, size, Sort::Local)),
    };
    // SAFETY: the verifier proved a place for a dynptr.
    unsafe { made.unwrap_or(Dynptr::NULL).store(to) };
    returned(made.map(|_| 0))
}

/// `bpf_dynptr_from_skb()`: only to be read if the program may not write packets.
pub(crate) unsafe extern "C" fn from_skb(
    env: &mut RunEnv<'_>,
    context: u64,
    flags: u64,
    to: u64,
    _: u64,
    _: u64,
) -> u64 {
    let read_only = if env.program().writes_packets() { 0 } else { READ_ONLY };
    // SAFETY: as for this function.
    unsafe { of_packet(env, context, flags, to, Sort::Skb, read_only) }
}

/// `bpf_dynptr_from_xdp()`.
pub(crate) unsafe extern "C" fn from_xdp(
    env: &mut RunEnv<'_>,
    context: u64,
    flags: u64,
    to: u64,
    _: u64,
    _: u64,
) -> u64 {
    // SAFETY: as for this function.
    unsafe { of_packet(env, context, flags, to, Sort::Xdp, 0) }
}

/// # Safety
/// There is a place for a dynptr at `to`.
unsafe fn of_packet(env: &mut RunEnv<'_>, context: u64, flags: u64, to: u64, sort: Sort, read_only: u32) -> u64 {
    let (start, end) = env.packet_frame().map_or((0, 0), |frame| frame.data());
    let made = match () {
        () if flags != 0 => Err(EINVAL),
        () => Ok(Dynptr::new(context, (end - start) as u32 | read_only, sort)),
    };
    // SAFETY: as for this function.
    unsafe { made.unwrap_or(Dynptr::NULL).store(to) };
    returned(made.map(|_| 0))
}

/// `bpf_dynptr_clone()`: a description of the same memory.
pub(crate) unsafe extern "C" fn clone(_: &mut RunEnv<'_>, at: u64, to: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr, and a place for another one.
    let dynptr = unsafe {
        let dynptr = Dynptr::load(at);
        dynptr.store(to);
        dynptr
    };
    returned(if dynptr.is_null() { Err(EINVAL) } else { Ok(0) })
}

/// `bpf_dynptr_adjust()`: leaves the part from `start` to `end`.
pub(crate) unsafe extern "C" fn adjust(_: &mut RunEnv<'_>, at: u64, start: u64, end: u64, _: u64, _: u64) -> u64 {
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
pub(crate) unsafe extern "C" fn is_null(_: &mut RunEnv<'_>, at: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    unsafe { Dynptr::load(at) }.is_null().into()
}

/// `bpf_dynptr_is_rdonly()`.
pub(crate) unsafe extern "C" fn is_rdonly(_: &mut RunEnv<'_>, at: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    (!dynptr.is_null() && dynptr.is_read_only()).into()
}

/// `bpf_dynptr_size()`: in 32 bits, errors, too.
pub(crate) unsafe extern "C" fn size(_: &mut RunEnv<'_>, at: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr there.
    let dynptr = unsafe { Dynptr::load(at) };
    if dynptr.is_null() {
        return returned(Err(EINVAL)) & 0xffff_ffff;
    }
    dynptr.len().into()
}
