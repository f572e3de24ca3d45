//! Helpers that read, write and move the packet of a program: a file each for what XDP programs have (`xdp.rs`), and for what
//! programs of the network stack have: their bytes (`bytes.rs`), checksums (`sums.rs`), room (`room.rs`), VLAN tags (`vlan.rs`) and
//! what is known of the packet beside its bytes (`fields.rs`). Both send it elsewhere (`redirect.rs`).
//!
//! A packet lies in one piece in its room, so whatever the kernel would allocate for has to be in the room from the beginning;
//! where it is not, the answer is `-ENOMEM`. Offsets count from the packet's start.

mod bytes;
mod fields;
mod redirect;
mod room;
mod sums;
mod vlan;
mod xdp;

pub(super) use bytes::{find as skb_bytes, store};
pub(super) use xdp::find as xdp_bytes;

use super::Helper;
use crate::context::{Packet, PacketFrame, SkbFrame};
use crate::env::RunEnv;
use crate::region::SharedBytes;

/// All of them.
pub(super) const LISTS: [&[Helper]; 7] = [
    bytes::HELPERS,
    fields::HELPERS,
    redirect::HELPERS,
    room::HELPERS,
    sums::HELPERS,
    vlan::HELPERS,
    xdp::HELPERS,
];

/// `ENOTSUPP`, which is the kernel's own.
const ENOTSUPP: super::errno::Errno = super::errno::Errno::new(524);

/// Length of the link-layer header, with two addresses and a protocol.
const ETH_HLEN: u64 = 14;

/// The longest packet that the network stack makes (`BPF_SKB_MAX_LEN`): four pages, but for what is kept behind them.
const MAX_LEN: u64 = 16064;

/// IPv4 and IPv6, as programs see protocols: in network byte order.
const IP: u16 = 0x0800u16.to_be();
const IPV6: u16 = 0x86ddu16.to_be();

/// The packet of an XDP program.
fn xdp<'a>(env: &'a mut RunEnv<'_>) -> &'a mut Packet<'static> {
    match env.packet_frame() {
        Some(PacketFrame::Xdp(packet)) => packet,
        _ => super::broken(0, "no packet of an XDP program"),
    }
}

/// The packet of a program of the network stack.
fn skb<'a>(env: &'a mut RunEnv<'_>) -> &'a mut SkbFrame {
    match env.packet_frame() {
        Some(PacketFrame::Skb(frame)) => frame,
        _ => super::broken(0, "no packet of the network stack"),
    }
}

/// The `len` bytes at an offset, if the packet has them.
fn part<'a>((data, end): (u64, u64), offset: u64, len: u64) -> Option<SharedBytes<'a>> {
    let inside = offset.checked_add(len).is_some_and(|last| last <= end - data);
    // SAFETY: inside the packet, which is readable and writable while its program runs, and nobody else's.
    inside.then(|| unsafe { SharedBytes::from_raw(data + offset, len as usize) })
}

/// So many bytes at an offset, as a number in network byte order.
fn get<const N: usize>(packet: (u64, u64), offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    part(packet, offset, N as u64)?.read(&mut bytes);
    Some(bytes)
}

/// Overwrites bytes at an offset; false if the packet does not have them.
fn put(packet: (u64, u64), offset: u64, bytes: &[u8]) -> bool {
    let part = part(packet, offset, bytes.len() as u64);
    if let Some(part) = part {
        // SAFETY: the packet is writable.
        unsafe { part.write(SharedBytes::from_slice(bytes)) };
    }
    part.is_some()
}

/// Moves `len` bytes; the places may overlap.
///
/// # Safety
/// Both lie in the room of the packet.
unsafe fn shift(from: u64, to: u64, len: u64) {
    // SAFETY: by the caller's word. The room is borrowed exclusively for the program, which does not run now.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, len as usize) };
}
