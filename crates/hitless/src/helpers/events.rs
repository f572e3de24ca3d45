//! Perf events: records for the host, in a buffer for each slot, and what the events have counted.

use hitless_verifier::tables::helpers::number;

use super::errno::{EFAULT, EINVAL, Errno, returned};
use super::{Helper, broken, maps};
use crate::env::RunEnv;
use crate::map::{Counted, MapError, PerfEventArray};
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_perf_event_output"), perf_event_output),
    Helper::new(number("bpf_perf_event_read"), perf_event_read),
    Helper::new(number("bpf_perf_event_read_value"), perf_event_read_value),
];

/// Which buffer.
const F_INDEX: u64 = 0xffff_ffff;
/// How much of the packet follows the data.
const F_PACKET: u64 = 0xf_ffff << 32;

/// Size of `struct bpf_perf_event_value`.
const VALUE: u64 = 24;

fn events<'a>(env: &RunEnv<'a>, map: u64) -> &'a PerfEventArray {
    match env.map(map).events() {
        Some(events) => events,
        None => broken(number("bpf_perf_event_output"), "no perf events"),
    }
}

unsafe extern "C" fn perf_event_output(
    env: &mut RunEnv<'_>,
    _: u64,
    map: u64,
    flags: u64,
    data: u64,
    size: u64,
) -> u64 {
    let packet = env.packet_frame().map(|frame| frame.data());
    let known = if packet.is_some() { F_INDEX | F_PACKET } else { F_INDEX };
    if flags & !known != 0 {
        return returned(Err(EINVAL));
    }
    let (start, end) = packet.unwrap_or_default();
    let len = (flags & F_PACKET) >> 32;
    if len > end - start {
        return returned(Err(EFAULT));
    }
    let events = events(env, map);
    // SAFETY: the verifier proved so much readable memory; the rest lies in the packet.
    let parts = unsafe {
        [
            SharedBytes::from_raw(data, size as usize),
            SharedBytes::from_raw(start, len as usize),
        ]
    };
    maps::errno(events.output(env.run(), (flags & F_INDEX) as u32, &parts))
}

unsafe extern "C" fn perf_event_read(env: &mut RunEnv<'_>, map: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    returned(count(env, map, flags).map(|counted| counted.counter))
}

/// What could not be read is read as zeros.
unsafe extern "C" fn perf_event_read_value(
    env: &mut RunEnv<'_>,
    map: u64,
    flags: u64,
    to: u64,
    size: u64,
    _: u64,
) -> u64 {
    let counted = if size == VALUE {
        count(env, map, flags)
    } else {
        Err(EINVAL)
    };
    // SAFETY: the verifier proved so much writable memory.
    let to = unsafe { SharedBytes::from_raw(to, size as usize) };
    match counted {
        Ok(counted) => {
            let words = [counted.counter, counted.enabled, counted.running];
            for (at, word) in (0..).step_by(8).zip(words) {
                // SAFETY: as above; it has 24 bytes.
                unsafe { to.part(at, 8).write(SharedBytes::from_slice(&word.to_ne_bytes())) };
            }
            0
        }
        Err(error) => {
            // SAFETY: as above.
            unsafe { to.fill(0) };
            returned(Err(error))
        }
    }
}

/// The event at an index. That of another slot cannot be read.
fn count(env: &RunEnv<'_>, map: u64, flags: u64) -> Result<Counted, Errno> {
    if flags & !F_INDEX != 0 {
        return Err(EINVAL);
    }
    events(env, map)
        .count(env.run(), flags as u32)
        .map_err(|error| match error {
            MapError::OtherSlot => EINVAL,
            error => Errno::new(error.errno()),
        })
}
