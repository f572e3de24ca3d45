//! VLAN tags. The outermost one lies beside the packet (`vlan_present`, `vlan_tci`, `vlan_proto`), others in it.

use hitless_verifier::tables::helpers::number;

use super::super::Helper;
use super::super::errno::{ENOMEM, Errno, returned};
use super::{ETH_HLEN, get, put, shift, skb};
use crate::context::SkbFrame;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_skb_vlan_push"), vlan_push),
    Helper::new(number("bpf_skb_vlan_pop"), vlan_pop),
];

/// Length of a tag.
pub(super) const VLAN_HLEN: u64 = 4;
/// Where the protocol is: the last two bytes of the link-layer header. A tag in the packet begins there.
const PROTOCOL: u64 = ETH_HLEN - 2;
/// Protocols of tags, in network byte order.
pub(super) const TAGS: [u16; 2] = [0x8100u16.to_be(), 0x88a8u16.to_be()];
/// Smaller protocols are lengths, of frames that say what they are behind that.
const FIRST_PROTOCOL: u16 = 0x0600;
const RAW_802_3: u16 = 0x0001u16.to_be();
const LLC_802_2: u16 = 0x0004u16.to_be();

unsafe extern "C" fn vlan_push(env: &mut RunEnv<'_>, _: u64, protocol: u64, tci: u64, _: u64, _: u64) -> u64 {
    let frame = skb(env);
    if frame.fields.vlan_present != 0
        && let Err(error) = insert_tag(frame)
    {
        return returned(Err(error));
    }
    let protocol = protocol as u16;
    let known = TAGS.contains(&protocol);
    frame.set_tag(Some((if known { protocol } else { TAGS[0] }, tci as u16)));
    0
}

unsafe extern "C" fn vlan_pop(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let frame = skb(env);
    if frame.fields.vlan_present != 0 {
        frame.set_tag(None);
    } else if TAGS.contains(&(frame.fields.protocol as u16)) {
        if let Err(error) = remove_tag(frame) {
            return returned(Err(error));
        }
    } else {
        return 0;
    }
    // The next one takes its place.
    let protocol = frame.fields.protocol as u16;
    if TAGS.contains(&protocol) {
        match remove_tag(frame) {
            Ok(tci) => frame.set_tag(Some((protocol, tci))),
            Err(error) => return returned(Err(error)),
        }
    }
    0
}

/// Puts the tag beside the packet into it, before its protocol.
fn insert_tag(frame: &mut SkbFrame) -> Result<(), Errno> {
    let data = frame.data - VLAN_HLEN;
    if data < frame.room_start || frame.data_end - frame.data < PROTOCOL {
        return Err(ENOMEM);
    }
    // SAFETY: the addresses move into the room before them, which is large enough.
    unsafe { shift(frame.data, data, PROTOCOL) };
    frame.move_start(data);
    let packet = (frame.data, frame.data_end);
    put(packet, PROTOCOL, &(frame.fields.vlan_proto as u16).to_ne_bytes());
    put(packet, PROTOCOL + 2, &(frame.fields.vlan_tci as u16).to_be_bytes());
    frame.fields.protocol = frame.fields.vlan_proto;
    // As in Linux, where the network header is said to be now is the tag.
    Ok(())
}

/// Takes the outermost tag out of the packet.
fn remove_tag(frame: &mut SkbFrame) -> Result<u16, Errno> {
    let packet = (frame.data, frame.data_end);
    let tag: [u8; 4] = get(packet, ETH_HLEN).ok_or(ENOMEM)?;
    let inner = u16::from_ne_bytes([tag[2], tag[3]]);
    let raw = get(packet, ETH_HLEN + VLAN_HLEN) == Some([0xff; 2]);
    frame.fields.protocol = u32::from(match u16::from_be(inner) {
        FIRST_PROTOCOL.. => inner,
        _ if raw => RAW_802_3,
        _ => LLC_802_2,
    });
    // SAFETY: both lie in the packet, which has a header and a tag.
    unsafe { shift(frame.data, frame.data + VLAN_HLEN, PROTOCOL) };
    frame.move_start(frame.data + VLAN_HLEN);
    frame.mac_len = frame.mac_len.saturating_sub(VLAN_HLEN as u32).max(ETH_HLEN as u32);
    Ok(u16::from_be_bytes([tag[0], tag[1]]))
}

impl SkbFrame {
    /// The tag beside the packet: its protocol, in network byte order, and what it says.
    fn set_tag(&mut self, tag: Option<(u16, u16)>) {
        let (protocol, tci) = tag.unwrap_or((0, 0));
        self.fields.vlan_present = tag.is_some().into();
        self.fields.vlan_proto = protocol.into();
        self.fields.vlan_tci = tci.into();
    }
}
