//! Verdicts that send a packet elsewhere. The helper notes where to, for the host, and returns the verdict that the program is to
//! return.

use hitless_verifier::MapKind;
use hitless_verifier::tables::helpers::number;

use super::super::errno::{EINVAL, ENOMEM, returned};
use super::super::{Helper, broken};
use super::part;
use crate::context::{PacketFrame, Redirect, XdpAction};
use crate::env::RunEnv;
use crate::map::Key;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_redirect"), redirect),
    Helper::new(number("bpf_redirect_peer"), redirect_peer),
    Helper::new(number("bpf_redirect_neigh"), redirect_neigh),
    Helper::new(number("bpf_redirect_map"), redirect_map),
    Helper::new(number("bpf_clone_redirect"), clone_redirect),
];

const TC_SHOT: u64 = 2;
const TC_REDIRECT: u64 = 7;

/// `BPF_F_INGRESS`.
const F_INGRESS: u64 = 1;
/// `BPF_F_BROADCAST`: to all that the map has, but for the interface that the packet came from if that is asked for, too.
const F_BROADCAST: u64 = 8;
const F_EXCLUDE_INGRESS: u64 = 16;
/// The verdict if there is nothing under the key.
const OTHERWISE: u64 = 3;

/// Size of `struct bpf_redir_neigh`.
const NEIGHBOUR: u64 = 20;

unsafe extern "C" fn redirect(env: &mut RunEnv<'_>, ifindex: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    let target = Redirect::Interface {
        ifindex: ifindex as u32,
        flags,
    };
    match env.packet_frame() {
        Some(PacketFrame::Xdp(_)) if flags != 0 => XdpAction::Aborted as u64,
        Some(PacketFrame::Skb(_)) if flags & !F_INGRESS != 0 => TC_SHOT,
        Some(mut frame) => {
            frame.set_redirect(target);
            match frame {
                PacketFrame::Xdp(_) => XdpAction::Redirect as u64,
                PacketFrame::Skb(_) => TC_REDIRECT,
            }
        }
        None => broken(number("bpf_redirect"), "no packet"),
    }
}

unsafe extern "C" fn redirect_peer(env: &mut RunEnv<'_>, ifindex: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    if flags != 0 {
        return TC_SHOT;
    }
    super::skb(env).redirect = Some(Redirect::Peer {
        ifindex: ifindex as u32,
    });
    TC_REDIRECT
}

unsafe extern "C" fn redirect_neigh(env: &mut RunEnv<'_>, ifindex: u64, _: u64, len: u64, flags: u64, _: u64) -> u64 {
    if flags != 0 || (len != 0 && len < NEIGHBOUR) {
        return TC_SHOT;
    }
    super::skb(env).redirect = Some(Redirect::Neighbour {
        ifindex: ifindex as u32,
    });
    TC_REDIRECT
}

/// The copy is the host's to send; the packet itself goes on.
unsafe extern "C" fn clone_redirect(env: &mut RunEnv<'_>, _: u64, ifindex: u64, flags: u64, _: u64, _: u64) -> u64 {
    if flags & !F_INGRESS != 0 {
        return returned(Err(EINVAL));
    }
    let frame = super::skb(env);
    let (data, end) = (frame.data, frame.data_end);
    let added =
        part((data, end), 0, end - data).is_some_and(|packet| frame.clones.add(ifindex as u32, flags as u32, packet));
    returned(if added { Ok(0) } else { Err(ENOMEM) })
}

unsafe extern "C" fn redirect_map(env: &mut RunEnv<'_>, map: u64, key: u64, flags: u64, _: u64, _: u64) -> u64 {
    let map = env.map(map);
    let broadcast = match map.def().kind {
        MapKind::Devmap | MapKind::DevmapHash => F_BROADCAST | F_EXCLUDE_INGRESS,
        _ => 0,
    };
    if flags & !(OTHERWISE | broadcast) != 0 {
        return XdpAction::Aborted as u64;
    }
    let index = Key::from_words(4, |_| key & 0xffff_ffff);
    if flags & F_BROADCAST == 0 && map.ops().lookup(&index).is_none() {
        return flags & OTHERWISE;
    }
    super::xdp(env).redirect = Some(Redirect::Map {
        map: map.id(),
        key,
        flags,
    });
    XdpAction::Redirect as u64
}
