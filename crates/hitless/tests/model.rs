//! Model check of the upgrade protocol: the runtime's own code (hooks, interpreter, maps, tracing, upgrade) under the
//! interleavings that shuttle chooses. Each rule taken out must be noticed, or the model would prove nothing.
//!
//! Built only with `RUSTFLAGS="--cfg hitless_model"`; `make model` does.
#![cfg(hitless_model)]

mod common;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/tracing.rs"]
mod tracing;

use std::sync::Arc;
use std::time::Duration;

use common::{Command, HASH, Host, object, send, value};
use explore::Scenario;
use hitless::model::Fault;
use hitless::upgrade::{Options, Progress, Upgrade};
use hitless::{Hook, MapDef, MapKind, Runtime, UpdateFlags};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;

/// What a writer does: everything after `begin` once the first entry has been copied.
type Writer = fn(&Hook, &Begin);

/// Set when the first entry, key 0, has been copied: the copy of key 1 comes next.
#[derive(Clone)]
struct Begin(Arc<AtomicBool>);

impl Begin {
    fn wait(&self) {
        while !self.0.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }
}

/// Runs `writers` against an upgrade of a map that holds keys 0 and 1, then `check`s the new map.
fn upgrade_under(writers: &[Writer], check: fn(&hitless::Map)) {
    let spec = object(HASH, 5);
    let host = Host::new(&spec, Some(4));
    send(&host.hook, Command::Set(0, 1));
    send(&host.hook, Command::Set(1, 1));
    let begin = Begin(Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = writers
        .iter()
        .map(|writer| {
            let (writer, hook, begin) = (*writer, host.hook.clone(), begin.clone());
            thread::spawn(move || writer(&hook, &begin))
        })
        .collect();
    let options = Options {
        always_copy: true,
        gate_deadline: Duration::from_secs(3600),
        ..Options::default()
    };
    let upgrade = Upgrade::new(&host.runtime, &host.object, &spec, options);
    let mut started = |progress: Progress<'_>| {
        if matches!(progress, Progress::Copying { copied: 1.., .. }) {
            begin.0.store(true, Ordering::SeqCst);
        }
    };
    let (new, _) = upgrade.run(&mut started).expect("the upgrade succeeds");
    for writer in writers {
        writer.join().expect("a writer ends");
    }
    check(&new.maps()[0]);
}

/// The bulk copy must not overwrite a newer value.
fn stale_overwrite() {
    let writer: Writer = |hook, begin| {
        send(hook, Command::Set(1, 10));
        begin.wait();
        send(hook, Command::Set(1, 20));
    };
    upgrade_under(&[writer], |map| {
        assert_eq!(value(map, 1), Some(20), "a newer value was overwritten")
    });
}

/// The bulk copy must not bring back a deleted key.
fn resurrected_delete() {
    let writer: Writer = |hook, begin| {
        begin.wait();
        send(hook, Command::Delete(1));
    };
    upgrade_under(&[writer], |map| {
        assert_eq!(value(map, 1), None, "a deleted key came back")
    });
}

/// What an old run flushes must not overwrite what a new run has written.
fn late_flush() {
    let writer: Writer = |hook, begin| {
        begin.wait();
        for _ in 0..2 {
            send(hook, Command::Add(1, 100));
        }
    };
    upgrade_under(&[writer, writer], |map| {
        assert_eq!(value(map, 1), Some(401), "an addition was lost")
    });
}

/// Attaching must not miss a writer that had begun before.
fn missed_writer() {
    let writer: Writer = |hook, _| {
        send(hook, Command::Add(1, 100));
    };
    upgrade_under(&[writer], |map| {
        assert_eq!(value(map, 1), Some(101), "a writer was missed")
    });
}

/// Runs `writers` while the map is copied, and compares the maps when they have ended, before the cutover.
fn mirrored_exactly(writers: &[Writer]) {
    let spec = object(HASH, 5);
    let host = Host::new(&spec, Some(4));
    send(&host.hook, Command::Set(0, 1));
    send(&host.hook, Command::Set(1, 1));
    let begin = Begin(Arc::new(AtomicBool::new(false)));
    let mut handles: Vec<_> = writers
        .iter()
        .map(|writer| {
            let (writer, hook, begin) = (*writer, host.hook.clone(), begin.clone());
            thread::spawn(move || writer(&hook, &begin))
        })
        .collect();
    let options = Options {
        always_copy: true,
        gate_deadline: Duration::from_secs(3600),
        ..Options::default()
    };
    let upgrade = Upgrade::new(&host.runtime, &host.object, &spec, options);
    let mut progress = |progress: Progress<'_>| match progress {
        Progress::Copying { copied: 1.., .. } => begin.0.store(true, Ordering::SeqCst),
        Progress::Cutover { .. } => handles
            .drain(..)
            .for_each(|writer| writer.join().expect("a writer ends")),
        _ => {}
    };
    let (new, _) = upgrade.run(&mut progress).expect("the upgrade succeeds");
    assert_eq!(
        common::entries(&new.maps()[0]),
        common::entries(host.map()),
        "the new map differs from the old one"
    );
}

/// A flush must not bring back what was deleted before it.
fn flush_after_delete() {
    let adder: Writer = |hook, begin| {
        begin.wait();
        send(hook, Command::Add(1, 100));
    };
    let deleter: Writer = |hook, begin| {
        begin.wait();
        send(hook, Command::Delete(1));
    };
    mirrored_exactly(&[adder, deleter]);
}

/// Deleted elements are recycled under the pointers of other runs: what ends up where is the programs' own race, but
/// the new map must be what the old one is.
fn recycling() {
    let deleter: Writer = |hook, begin| {
        begin.wait();
        send(hook, Command::Delete(1));
        send(hook, Command::Set(2, 7));
    };
    let adder: Writer = |hook, begin| {
        begin.wait();
        send(hook, Command::Add(1, 100));
    };
    mirrored_exactly(&[deleter, adder]);
}

/// A lookup must find a key that is there throughout, though its element is replaced and used again. All keys of so small a map
/// share a bucket.
fn missed_key() {
    let runtime = Runtime::new(hitless::Options {
        slots: Some(4),
        ..hitless::Options::default()
    });
    let def = MapDef::new("m", MapKind::Hash, 4, 16, 4);
    let map = runtime.create_map(def).expect("a map");
    for key in KEYS {
        map.update(&key.to_ne_bytes(), &[0; 16], UpdateFlags::ANY)
            .expect("an insert");
    }
    let writer = {
        let map = Arc::clone(&map);
        thread::spawn(move || {
            // The second replacement reuses the element that the first one left.
            for key in [KEYS[1], KEYS[0]] {
                map.update(&key.to_ne_bytes(), &[1; 16], UpdateFlags::EXIST)
                    .expect("a replacement");
            }
        })
    };
    let found = map.lookup(&KEYS[1].to_ne_bytes()).expect("a lookup");
    assert!(found.is_some(), "a key that is there was missed");
    writer.join().expect("the writer ends");
}

const KEYS: [u32; 3] = [0, 4, 14];

/// What one lookup has found the next one must find, if nobody deletes it: not even early, in a slot that is being reused.
fn found_early() {
    let runtime = Runtime::new(hitless::Options {
        slots: Some(4),
        ..hitless::Options::default()
    });
    let map = runtime
        .create_map(MapDef::new("m", MapKind::Hash, 4, 8, 1))
        .expect("a map");
    map.update(&KEYS[0].to_ne_bytes(), &[0; 8], UpdateFlags::ANY)
        .expect("an insert");
    let writer = {
        let map = Arc::clone(&map);
        thread::spawn(move || {
            map.delete(&KEYS[0].to_ne_bytes()).expect("a delete");
            map.update(&KEYS[1].to_ne_bytes(), &[1; 8], UpdateFlags::NOEXIST)
                .expect("an insert");
        })
    };
    let [first, second] = [(); 2].map(|()| map.lookup(&KEYS[1].to_ne_bytes()).expect("a lookup"));
    assert!(first.is_none() || second.is_some(), "a key was found, and then was not");
    writer.join().expect("the writer ends");
}

/// A free element on another slot's list is found: the map is full only if it holds `max_entries`.
fn stranded() {
    let runtime = Runtime::new(hitless::Options {
        slots: Some(4),
        ..hitless::Options::default()
    });
    for value_size in [8, 16] {
        let map = runtime
            .create_map(MapDef::new("m", MapKind::Hash, 4, value_size, 2))
            .expect("a map");
        let threads = [0, 1].map(|thread| {
            let map = Arc::clone(&map);
            thread::spawn(move || {
                let key = u32::to_ne_bytes(thread);
                for _ in 0..2 {
                    map.update(&key, &vec![1; value_size as usize], UpdateFlags::NOEXIST)
                        .expect("there is room for it");
                    map.delete(&key).expect("a delete");
                }
            })
        });
        for thread in threads {
            thread.join().expect("a thread ends");
        }
        for key in 0..2u32 {
            map.update(&key.to_ne_bytes(), &vec![1; value_size as usize], UpdateFlags::NOEXIST)
                .expect("everything was given back");
        }
    }
}

const SCENARIOS: [Scenario; 14] = [
    ("stale overwrite", stale_overwrite, Fault::NoStripes),
    ("resurrected delete", resurrected_delete, Fault::NoStripes),
    ("late flush", late_flush, Fault::NoGate),
    ("missed writer", missed_writer, Fault::NoAttachGrace),
    ("flush after delete", flush_after_delete, Fault::NoSecondLook),
    ("recycling", recycling, Fault::NoStripes),
    ("missed key", missed_key, Fault::NoBucketVersion),
    ("found early", found_early, Fault::NoBucketVersion),
    ("stranded", stranded, Fault::NoStealing),
    ("full list", tracing::full_list, Fault::NoBitmap),
    (
        "full list, marks taken by others",
        tracing::full_list,
        Fault::NoBitmapWait,
    ),
    ("eviction", tracing::eviction, Fault::NoVictimStripe),
    ("inner map", tracing::inner_map, Fault::NoInnerGrace),
    ("migration by an iterator", tracing::migration, Fault::NoStripes),
];

#[test]
fn upgrades_lose_nothing_and_each_rule_is_needed() {
    explore::each_rule_is_needed(&SCENARIOS);
}
