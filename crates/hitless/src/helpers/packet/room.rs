//! Packets of the network stack that grow and shrink.

use hitless_verifier::tables::helpers::number;

use super::super::Helper;
use super::super::errno::{EALREADY, EFAULT, EINVAL, ENOMEM, Errno, returned};
use super::{ENOTSUPP, ETH_HLEN, IP, IPV6, MAX_LEN, part, shift, skb};
use crate::context::SkbFrame;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_skb_change_tail"), change_tail),
    Helper::new(number("bpf_skb_change_head"), change_head),
    Helper::new(number("bpf_skb_adjust_room"), adjust_room),
];

/// Modes of `bpf_skb_adjust_room()`: room behind the network header, or before it.
const MODE_NET: u32 = 0;
const MODE_MAC: u32 = 1;

/// Its flags (`BPF_F_ADJ_ROOM_*`).
const FIXED_GSO: u64 = 1;
const ENCAP_L3_IPV4: u64 = 1 << 1;
const ENCAP_L3_IPV6: u64 = 1 << 2;
const ENCAP_L3: u64 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6;
const ENCAP_L4_GRE: u64 = 1 << 3;
const ENCAP_L4_UDP: u64 = 1 << 4;
const NO_CSUM_RESET: u64 = 1 << 5;
const ENCAP_L2_ETH: u64 = 1 << 6;
const DECAP_L3_IPV4: u64 = 1 << 7;
const DECAP_L3_IPV6: u64 = 1 << 8;
const DECAP_L3: u64 = DECAP_L3_IPV4 | DECAP_L3_IPV6;
/// The length of the link-layer header that the encapsulated packet has, in the last byte.
const ENCAP_L2_SHIFT: u32 = 56;
const ENCAP_L2: u64 = 0xff << ENCAP_L2_SHIFT;
const ENCAP: u64 = ENCAP_L3 | ENCAP_L4_GRE | ENCAP_L4_UDP | ENCAP_L2 | ENCAP_L2_ETH;

/// The most that a packet grows or shrinks by at once.
const MOST: u64 = 0xfff;

unsafe extern "C" fn change_tail(env: &mut RunEnv<'_>, _: u64, len: u64, flags: u64, _: u64, _: u64) -> u64 {
    let frame = skb(env);
    let len = len & 0xffff_ffff;
    if flags != 0 || len > MAX_LEN || len < frame.mac_len.into() {
        return returned(Err(EINVAL));
    }
    if frame.encapsulated {
        return returned(Err(ENOTSUPP));
    }
    let (old, new) = (frame.data_end, frame.data + len);
    if new > frame.room_end {
        return returned(Err(ENOMEM));
    }
    if let Some(grown) = part((old, new.max(old)), 0, new.saturating_sub(old)) {
        // SAFETY: in the room, behind the packet.
        unsafe { grown.fill(0) };
    }
    frame.move_end(new);
    0
}

unsafe extern "C" fn change_head(env: &mut RunEnv<'_>, _: u64, by: u64, flags: u64, _: u64, _: u64) -> u64 {
    let frame = skb(env);
    let by = by & 0xffff_ffff;
    if flags != 0 || by > i32::MAX as u64 || frame.data_end - frame.data + by > MAX_LEN {
        return returned(Err(EINVAL));
    }
    if frame.data - frame.room_start < by {
        return returned(Err(ENOMEM));
    }
    frame.move_start(frame.data - by);
    if let Some(grown) = part((frame.data, frame.data_end), 0, by) {
        // SAFETY: in the packet, which is writable.
        unsafe { grown.fill(0) };
    }
    frame.mac_len += by as u32;
    0
}

unsafe extern "C" fn adjust_room(env: &mut RunEnv<'_>, _: u64, by: u64, mode: u64, flags: u64, _: u64) -> u64 {
    returned(adjust(skb(env), by as i32, mode as u32, flags).map(|()| 0))
}

fn adjust(frame: &mut SkbFrame, by: i32, mode: u32, flags: u64) -> Result<(), Errno> {
    if flags & !(FIXED_GSO | ENCAP | DECAP_L3 | NO_CSUM_RESET) != 0 {
        return Err(EINVAL);
    }
    let (shrink, by) = (by < 0, u64::from(by.unsigned_abs()));
    if by > MOST {
        return Err(EFAULT);
    }
    let header = match frame.fields.protocol as u16 {
        IP => 20,
        IPV6 => 40,
        _ => return Err(ENOTSUPP),
    };
    let mac_len = u64::from(frame.mac_len);
    let at = match mode {
        MODE_NET => mac_len + header,
        MODE_MAC => mac_len,
        _ => return Err(ENOTSUPP),
    };
    let least = match flags & DECAP_L3 {
        0 => header,
        _ if !shrink => return Err(EINVAL),
        DECAP_L3_IPV4 => 20,
        DECAP_L3_IPV6 => 40,
        _ => return Err(EINVAL),
    };
    let len = frame.data_end - frame.data;
    let payload = len.saturating_sub(mac_len);
    let too_short = shrink && (by >= payload || payload - by < least);
    if too_short || (!shrink && len + by > MAX_LEN) {
        return Err(ENOTSUPP);
    }
    if shrink {
        take_out(frame, at, by, flags)
    } else {
        put_in(frame, at, by, flags)
    }
}

/// Takes bytes out of the packet, behind the first `at` of it.
fn take_out(frame: &mut SkbFrame, at: u64, by: u64, flags: u64) -> Result<(), Errno> {
    if flags & !(FIXED_GSO | DECAP_L3 | NO_CSUM_RESET) != 0 {
        return Err(EINVAL);
    }
    if at + by > frame.data_end - frame.data {
        return Err(ENOMEM);
    }
    // SAFETY: both lie in the packet, as just checked.
    unsafe { shift(frame.data, frame.data + by, at) };
    frame.move_start(frame.data + by);
    match (frame.fields.protocol as u16, flags & DECAP_L3) {
        (IP, DECAP_L3_IPV6) => frame.fields.protocol = IPV6.into(),
        (IPV6, DECAP_L3_IPV4) => frame.fields.protocol = IP.into(),
        _ => {}
    }
    Ok(())
}

/// Puts zeros into the packet, behind the first `at` bytes of it.
fn put_in(frame: &mut SkbFrame, at: u64, by: u64, flags: u64) -> Result<(), Errno> {
    let encapsulates = flags & ENCAP_L3 != 0;
    if encapsulates {
        let inner = flags >> ENCAP_L2_SHIFT;
        if flags & ENCAP_L3 == ENCAP_L3
            || flags & (ENCAP_L4_GRE | ENCAP_L4_UDP) == ENCAP_L4_GRE | ENCAP_L4_UDP
            || (flags & ENCAP_L2_ETH != 0 && inner < ETH_HLEN)
        {
            return Err(EINVAL);
        }
        if frame.encapsulated {
            return Err(EALREADY);
        }
        if inner > by {
            return Err(EINVAL);
        }
    }
    if frame.data - frame.room_start < by {
        return Err(ENOMEM);
    }
    // Where there is less of a packet than its headers should be, the new bytes are its last.
    let at = at.min(frame.data_end - frame.data);
    let data = frame.data - by;
    // SAFETY: the beginning of the packet moves into the room before it, which is large enough.
    unsafe { shift(frame.data, data, at) };
    frame.move_start(data);
    if let Some(new) = part((frame.data, frame.data_end), at, by) {
        // SAFETY: in the packet, which is writable.
        unsafe { new.fill(0) };
    }
    if encapsulates {
        frame.encapsulated = true;
        frame.fields.protocol = if flags & ENCAP_L3_IPV6 != 0 { IPV6 } else { IP }.into();
    }
    Ok(())
}
