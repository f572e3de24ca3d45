//! Packets of XDP programs.

use hitless_verifier::tables::helpers::number;

use super::super::Helper;
use super::super::errno::{EACCES, EFAULT, EINVAL, Errno, returned};
use super::{ETH_HLEN, part, shift, xdp};
use crate::context::PacketBounds;
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_xdp_adjust_head"), adjust_head),
    Helper::new(number("bpf_xdp_adjust_meta"), adjust_meta),
    Helper::new(number("bpf_xdp_adjust_tail"), adjust_tail),
    Helper::new(number("bpf_xdp_get_buff_len"), get_buff_len),
    Helper::new(number("bpf_xdp_load_bytes"), load_bytes),
    Helper::new(number("bpf_xdp_store_bytes"), store_bytes),
];

/// The most metadata.
const MOST_METADATA: u64 = 255;

/// No offset or length is greater.
const MOST: u64 = 0xffff;

/// Where the packet is, and its room.
fn bounds<'a>(env: &'a mut RunEnv<'_>) -> &'a mut PacketBounds {
    &mut xdp(env).buf.bounds
}

unsafe extern "C" fn adjust_head(env: &mut RunEnv<'_>, _: u64, by: u64, _: u64, _: u64, _: u64) -> u64 {
    let packet = bounds(env);
    let by = by as i32 as i64 as u64;
    let (meta, data) = (packet.data_meta.wrapping_add(by), packet.data.wrapping_add(by));
    if meta < packet.room_start || meta > data || data > packet.data_end.wrapping_sub(ETH_HLEN) {
        return returned(Err(EINVAL));
    }
    // SAFETY: the metadata lies before the packet, and moves to where there is room for it, as just checked.
    unsafe { shift(packet.data_meta, meta, packet.data - packet.data_meta) };
    (packet.data_meta, packet.data) = (meta, data);
    0
}

unsafe extern "C" fn adjust_meta(env: &mut RunEnv<'_>, _: u64, by: u64, _: u64, _: u64, _: u64) -> u64 {
    let packet = bounds(env);
    let meta = packet.data_meta.wrapping_add(by as i32 as i64 as u64);
    if meta < packet.room_start || meta > packet.data {
        return returned(Err(EINVAL));
    }
    let len = packet.data - meta;
    if len > MOST_METADATA || !len.is_multiple_of(4) {
        return returned(Err(EACCES));
    }
    packet.data_meta = meta;
    0
}

unsafe extern "C" fn adjust_tail(env: &mut RunEnv<'_>, _: u64, by: u64, _: u64, _: u64, _: u64) -> u64 {
    let packet = bounds(env);
    let end = packet.data_end.wrapping_add(by as i32 as i64 as u64);
    if end > packet.room_end || end < packet.data + ETH_HLEN {
        return returned(Err(EINVAL));
    }
    if let Some(grown) = part(
        (packet.data_end, end.max(packet.data_end)),
        0,
        end.saturating_sub(packet.data_end),
    ) {
        // SAFETY: in the room, behind the packet.
        unsafe { grown.fill(0) };
    }
    packet.data_end = end;
    0
}

unsafe extern "C" fn get_buff_len(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let packet = bounds(env);
    packet.data_end - packet.data
}

/// The `len` bytes at an offset of the packet.
pub(crate) fn find<'a>(env: &mut RunEnv<'_>, offset: u64, len: u64) -> Result<SharedBytes<'a>, Errno> {
    let packet = bounds(env);
    let (offset, len) = (offset & 0xffff_ffff, len & 0xffff_ffff);
    if offset > MOST || len > MOST {
        return Err(EFAULT);
    }
    part((packet.data, packet.data_end), offset, len).ok_or(EINVAL)
}

unsafe extern "C" fn load_bytes(env: &mut RunEnv<'_>, _: u64, offset: u64, to: u64, len: u64, _: u64) -> u64 {
    returned(find(env, offset, len).map(|found| {
        // SAFETY: the verifier proved so much writable memory.
        unsafe { SharedBytes::from_raw(to, found.len()).write(found) };
        0
    }))
}

unsafe extern "C" fn store_bytes(env: &mut RunEnv<'_>, _: u64, offset: u64, from: u64, len: u64, _: u64) -> u64 {
    returned(find(env, offset, len).map(|found| {
        // SAFETY: the verifier proved so much readable memory; the packet is writable.
        unsafe { found.write(SharedBytes::from_raw(from, found.len())) };
        0
    }))
}
