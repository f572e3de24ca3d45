//! Upgrades under traffic: nothing lost, nothing doubled.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use common::{ARRAY, Command, HASH, Host, entries, object, send};
use hitless::upgrade::{MapAction, Options, Refusal, Upgrade};
use hitless::{MapKind, XdpAction};

/// Adds from several threads to shared keys while the object is upgraded again and again; every addition must be there.
fn additions_survive(map_type: u32, max_entries: u32, threads: u32, upgrades: usize) {
    let spec = object(map_type, max_entries);
    let mut host = Host::new(&spec, None);
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..threads)
        .map(|thread| {
            let (hook, stop, sent) = (host.hook.clone(), Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || {
                let mut n = thread;
                while !stop.load(Relaxed) {
                    n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    assert_eq!(send(&hook, Command::Add((n >> 16) % 60, 1)), XdpAction::Pass);
                    sent.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let options = Options {
        always_copy: true,
        ..Options::default()
    };
    for _ in 0..upgrades {
        while sent.load(Relaxed) == 0 {
            thread::yield_now();
        }
        let upgrade = Upgrade::new(&host.runtime, &host.object, &spec, options);
        let (new, report) = upgrade.run(&mut |_| {}).expect("the upgrade succeeds");
        assert_eq!(report.maps[0].plan.action, MapAction::TraceAndCopy);
        host.object = new;
    }
    stop.store(true, Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    let total: u64 = entries(host.map()).iter().map(|(_, value)| value).sum();
    assert_eq!(total, sent.load(Relaxed));
}

/// What cannot be copied is shared, also if all is to be copied; with another shape, it is refused.
#[test]
fn maps_that_cannot_be_copied_are_shared_or_refused() {
    for kind in [MapKind::PercpuHash, MapKind::LruHash, MapKind::LruPercpuHash] {
        let spec = object(kind.number(), 16);
        let host = Host::new(&spec, None);
        let options = Options {
            always_copy: true,
            ..Options::default()
        };
        let plan = Upgrade::new(&host.runtime, &host.object, &spec, options).plan();
        assert_eq!(plan.expect("it is shared").maps[0].action, MapAction::Share);
        let larger = object(kind.number(), 17);
        let refused = Upgrade::new(&host.runtime, &host.object, &larger, options).plan();
        let refusals = refused.expect_err("it is not as before").refusals;
        assert!(matches!(refusals[..], [Refusal::NotCopied { .. }]), "{refusals:?}");
    }
}

#[test]
fn two_hundred_upgrades_of_a_hash_lose_no_addition() {
    additions_survive(HASH, 64, 2, 200);
}

#[test]
fn additions_to_a_large_array_survive() {
    additions_survive(ARRAY, 200_000, 4, 3);
}
