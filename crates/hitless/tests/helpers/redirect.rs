//! Verdicts that send a packet elsewhere.

use hitless::context::{Redirect, SkBuff, Tc, TcAction};
use hitless::{Engine, Packet, UpdateFlags, Xdp, XdpAction};

use crate::both::{Both, Here};

#[test]
fn verdicts() {
    let Some(mut both) = Both::load("helpers_redirect") else {
        return;
    };
    for what in 0..4 {
        for flags in [0, 1, 2, 3] {
            for long in [0, 1] {
                both.agree_tc("away", &[0; 64], [what, 1, flags, long, 0]);
            }
        }
    }
    both.update("devices", &1u32.to_ne_bytes(), &1u32.to_ne_bytes());
    for key in [0, 1, 2, 4, 1 << 32, (1 << 32) + 1, u64::MAX] {
        for flags in [0, 1, 2, 3, 4, 8, 9, 16, 24, 32] {
            let packet: Vec<u8> = [key, flags, 0, 0, 0, 0]
                .into_iter()
                .flat_map(u64::to_ne_bytes)
                .collect();
            both.agree("through_map", &packet);
        }
    }
}

#[test]
fn the_host_learns_where_to() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_redirect", engine);
        let mut bytes = [0; 64];
        let mut skb = SkBuff::new(&mut bytes);
        let targets = [
            Redirect::Interface { ifindex: 7, flags: 1 },
            Redirect::Peer { ifindex: 7 },
            Redirect::Neighbour { ifindex: 7 },
        ];
        for (what, target) in (0..).zip(targets) {
            skb.fields_mut().cb = [what, 7, u32::from(what == 0), 0, 0];
            assert_eq!(here.run_at::<Tc>("away", &mut skb), TcAction::Redirect);
            assert_eq!(skb.redirect(), Some(target));
        }
        let map = here.object.map("devices").expect("the map");
        let mut bytes = [0; 64];
        let mut packet = Packet::new(&mut bytes);
        assert_eq!(here.run_at::<Xdp>("to_map", &mut packet), XdpAction::Pass);
        assert_eq!(packet.redirect, None);
        map.update(&1u32.to_ne_bytes(), &9u32.to_ne_bytes(), UpdateFlags::ANY)
            .unwrap();
        assert_eq!(here.run_at::<Xdp>("to_map", &mut packet), XdpAction::Redirect);
        let target = Redirect::Map {
            map: map.id(),
            key: 1,
            flags: 2,
        };
        assert_eq!(packet.redirect, Some(target));
    }
}

#[test]
fn copies_are_the_hosts_to_send() {
    const ENOMEM: i64 = -12;
    const EINVAL: i64 = -22;
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_redirect", engine);
        let mut bytes: Vec<u8> = (0..60).collect();
        let mut skb = SkBuff::new(&mut bytes);
        skb.fields_mut().cb[0] = 2;
        assert_eq!(here.run_at::<Tc>("copies", &mut skb), TcAction::Ok);
        assert_eq!(here.look().answers()[..3], [ENOMEM, ENOMEM, EINVAL]);
        assert_eq!(skb.clones().count(), 0);
        skb.set_clone_room(2 * (16 + 64));
        skb.buf.data_mut()[0] = 0;
        for (flags, third, first) in [(0, ENOMEM, 0), (2, EINVAL, 0xaa)] {
            skb.fields_mut().cb[0] = flags;
            here.run_at::<Tc>("copies", &mut skb);
            assert_eq!(here.look().answers()[..3], [0, 0, third]);
            let copies: Vec<_> = skb
                .clones()
                .map(|copy| (copy.ifindex, copy.flags, copy.data[0]))
                .collect();
            assert_eq!(copies, [(7, 0, first), (8, 1, 0xaa)]);
            assert!(skb.clones().all(|copy| copy.data[1..] == skb.buf.data()[1..]));
        }
    }
}
