//! Ring buffers: those that programs write, and those that the host writes.

use hitless_verifier::tables::helpers::number;

use super::dynptr::{Dynptr, MAX_SIZE};
use super::errno::{E2BIG, EAGAIN, EINVAL, Errno, returned};
use super::{Helper, broken};
use crate::env::RunEnv;
use crate::map::{RingQuery, Ringbuf, Wakeup};
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_ringbuf_output"), output),
    Helper::new(number("bpf_ringbuf_reserve"), reserve),
    Helper::new(number("bpf_ringbuf_submit"), submit),
    Helper::new(number("bpf_ringbuf_discard"), discard),
    Helper::new(number("bpf_ringbuf_query"), query),
    Helper::new(number("bpf_ringbuf_reserve_dynptr"), reserve_dynptr),
    Helper::new(number("bpf_ringbuf_submit_dynptr"), submit_dynptr),
    Helper::new(number("bpf_ringbuf_discard_dynptr"), discard_dynptr),
    Helper::new(number("bpf_user_ringbuf_drain"), drain),
];

fn ringbuf<'a>(env: &RunEnv<'a>, map: u64) -> &'a Ringbuf {
    match env.map(map).ringbuf() {
        Some(ringbuf) => ringbuf,
        None => broken(number("bpf_ringbuf_output"), "no ring buffer"),
    }
}

unsafe extern "C" fn output(env: &mut RunEnv<'_>, map: u64, data: u64, size: u64, flags: u64, _: u64) -> u64 {
    let Some(wakeup) = Wakeup::from_known_bits(flags) else {
        return returned(Err(EINVAL));
    };
    // SAFETY: the verifier proved so much readable memory.
    let data = unsafe { SharedBytes::from_raw(data, size as usize) };
    let written = ringbuf(env, map).output(env.run(), data, wakeup);
    returned(written.map(|()| 0).map_err(|_| EAGAIN))
}

unsafe extern "C" fn reserve(env: &mut RunEnv<'_>, map: u64, size: u64, flags: u64, _: u64, _: u64) -> u64 {
    if flags != 0 {
        return 0;
    }
    ringbuf(env, map).reserve(env.run(), size).unwrap_or(0)
}

unsafe extern "C" fn submit(_: &mut RunEnv<'_>, sample: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved that it is the sample of a record that is reserved, in a ring buffer of the program.
    unsafe { Ringbuf::commit(sample, false, Wakeup::from_bits(flags)) };
    0
}

unsafe extern "C" fn discard(_: &mut RunEnv<'_>, sample: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { Ringbuf::commit(sample, true, Wakeup::from_bits(flags)) };
    0
}

unsafe extern "C" fn query(env: &mut RunEnv<'_>, map: u64, what: u64, _: u64, _: u64, _: u64) -> u64 {
    RingQuery::from_bits(what).map_or(0, |what| ringbuf(env, map).query(what))
}

/// Whatever comes of it, the program has to submit or discard the dynptr.
unsafe extern "C" fn reserve_dynptr(env: &mut RunEnv<'_>, map: u64, size: u64, flags: u64, to: u64, _: u64) -> u64 {
    let size = size as u32;
    let reserved = match () {
        () if flags != 0 => Err(EINVAL),
        () if size > MAX_SIZE => Err(E2BIG),
        () => ringbuf(env, map).reserve(env.run(), size.into()).map_err(|_| EINVAL),
    };
    let dynptr = reserved.map_or(Dynptr::NULL, |sample| Dynptr::record(sample, size));
    // SAFETY: the verifier proved a place for a dynptr.
    unsafe { dynptr.store(to) };
    returned(reserved.map(|_| 0))
}

unsafe extern "C" fn submit_dynptr(_: &mut RunEnv<'_>, at: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a dynptr of a record that is reserved.
    unsafe { commit_dynptr(at, false, flags) }
}

unsafe extern "C" fn discard_dynptr(_: &mut RunEnv<'_>, at: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { commit_dynptr(at, true, flags) }
}

/// # Safety
/// The address is that of a dynptr that `bpf_ringbuf_reserve_dynptr()` has made, and that was not committed.
unsafe fn commit_dynptr(at: u64, discard: bool, flags: u64) -> u64 {
    // SAFETY: as for this function.
    unsafe {
        let dynptr = Dynptr::load(at);
        if !dynptr.is_null() {
            Ringbuf::commit(dynptr.start(), discard, Wakeup::from_bits(flags));
            Dynptr::NULL.store(at);
        }
    }
    0
}

/// Calls `func(dynptr, context)` for each record that the host has written, until it returns something other than 0; returns
/// how many there were.
unsafe extern "C" fn drain(env: &mut RunEnv<'_>, map: u64, func: u64, context: u64, flags: u64, _: u64) -> u64 {
    let Some(wakeup) = Wakeup::from_known_bits(flags) else {
        return returned(Err(EINVAL));
    };
    let Some(ringbuf) = env.map(map).user_ringbuf() else {
        broken(number("bpf_user_ringbuf_drain"), "no ring buffer");
    };
    let mut drain = match ringbuf.drain() {
        Ok(drain) => drain,
        Err(error) => return returned(Err(Errno::new(error.errno()))),
    };
    let mut count = 0;
    let result = loop {
        let each = |sample, len| {
            let mut place = Dynptr::record(sample, len);
            // SAFETY: the verifier proved that this is a function that takes a dynptr and that context. The dynptr lives for
            // the call; helpers read it by its address.
            unsafe { env.callback(func, [&raw mut place as u64, context, 0, 0, 0]) }
        };
        match drain.next(each) {
            Ok(None) => break Ok(count),
            Ok(Some(0)) => count += 1,
            Ok(Some(_)) => break Ok(count + 1),
            Err(error) => break Err(Errno::new(error.errno())),
        }
    };
    drain.finish(wakeup);
    returned(result)
}
