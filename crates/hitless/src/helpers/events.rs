//! `bpf_perf_event_output()`: records for the host, in a buffer for each slot.

use hitless_verifier::tables::helpers::number;

use super::errno::{EFAULT, EINVAL, returned};
use super::{Helper, broken, maps};
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[Helper::new(number("bpf_perf_event_output"), perf_event_output)];

/// Which buffer.
const F_INDEX: u64 = 0xffff_ffff;
/// How much of the packet follows the data.
const F_PACKET: u64 = 0xf_ffff << 32;

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
    let map = env.map(map);
    let Some(events) = map.events() else {
        broken(number("bpf_perf_event_output"), "no buffers for records");
    };
    // SAFETY: the verifier proved so much readable memory; the rest lies in the packet.
    let parts = unsafe {
        [
            SharedBytes::from_raw(data, size as usize),
            SharedBytes::from_raw(start, len as usize),
        ]
    };
    maps::errno(events.output(env.run(), (flags & F_INDEX) as u32, &parts))
}
