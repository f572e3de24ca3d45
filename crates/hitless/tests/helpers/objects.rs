//! Objects that programs allocate, in maps, lists and trees.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use hitless::context::{SkBuff, Tc};
use hitless::{Engine, Hook, MapFlags, UpdateFlags};

use crate::both::{Both, Here};

const PACKET: [u8; 64] = [0; 64];
const ENGINES: [Engine; 2] = [Engine::Compiler, Engine::Interpreter];

/// Maps by the number that programs know them by.
const STASHES: u32 = 0;
const PLACES: u32 = 1;
const SMALL: u32 = 2;
const SLOTS: u32 = 3;
const LEAST_RECENT: u32 = 4;

/// What a program answers that finds no object.
const NONE: i64 = -1;

/// The first thing that a program answers.
fn ask(here: &Here, program: &str, scratch: [u32; 5]) -> i64 {
    let result = here.run_tc(program, &PACKET, scratch);
    assert_eq!(result.value, 0, "{program} is out of memory");
    result.answers()[0]
}

fn update(here: &Here, map: &str, key: u32, size: usize) {
    let map = here.object.map(map).unwrap();
    let value: Vec<u8> = (1..).take(size).collect();
    map.update(&key.to_ne_bytes(), &value, UpdateFlags::ANY).unwrap();
}

#[test]
fn memory_is_the_programs_until_it_is_dropped() {
    let Some(mut both) = Both::load("helpers_objects") else {
        return;
    };
    for number in [0, 1, 7, u32::MAX] {
        both.agree_tc("allocate", &PACKET, [number, 0, 0, 0, 0]);
    }
}

#[test]
fn lists() {
    let Some(mut both) = Both::load("helpers_objects") else {
        return;
    };
    for count in [0, 1, 2, 3, 8] {
        for front in [0, 0xff, 0b1010_0101, 0b0001_1110] {
            for pop_front in [0, 0x1ff, 0b1_0110_1001] {
                both.agree_tc("list", &PACKET, [count, front, pop_front, 0, 0]);
            }
        }
    }
    both.agree_tc("twice", &PACKET, [0; 5]);
}

#[test]
fn trees() {
    let Some(mut both) = Both::load("helpers_objects") else {
        return;
    };
    let mut state = 3u32;
    for turn in 0..300u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Grows for a while, then shrinks, and so on.
        if (turn / 40) % 3 < 2 {
            both.agree_tc("grow", &PACKET, [state >> 20, 0, 0, 0, 0]);
        } else {
            both.agree_tc("shrink", &PACKET, [state >> 31, 0, 0, 0, 0]);
        }
        both.agree_tc("shape", &PACKET, [0; 5]);
    }
    both.agree_tc("twice", &PACKET, [0; 5]);
}

#[test]
fn maps_keep_objects() {
    // Values of each slot are among them.
    crate::processor::stay_on_one_processor();
    let Some(mut both) = Both::load("helpers_objects") else {
        return;
    };
    both.update("stashes", &1u32.to_ne_bytes(), &[0; 24]);
    both.update("small", &1u32.to_ne_bytes(), &[0; 8]);
    both.update("least_recent", &1u32.to_ne_bytes(), &[0; 8]);
    for turn in 0..3 {
        for map in [STASHES, PLACES, SMALL, SLOTS, LEAST_RECENT] {
            for key in [1, 9] {
                both.agree_tc("leave", &PACKET, [map, key, 10 * turn + map, 0, 0]);
                both.agree_tc("look", &PACKET, [map, key, 0, 0, 0]);
            }
        }
    }
    // Changes let go of them.
    both.agree_tc("change", &PACKET, [1, 0, 0, 0, 0]);
    both.agree_tc("change", &PACKET, [9, 0, 0, 0, 0]);
    for map in [STASHES, PLACES, SMALL, SLOTS, LEAST_RECENT] {
        both.agree_tc("look", &PACKET, [map, 1, 0, 0, 0]);
    }
    both.agree_tc("leave", &PACKET, [STASHES, 1, 77, 0, 0]);
    both.update("stashes", &1u32.to_ne_bytes(), &[0xff; 24]);
    both.agree_tc("look", &PACKET, [STASHES, 1, 0, 0, 0]);
    both.update("queues", &3u32.to_ne_bytes(), &[0; 40]);
    for number in [5, 4, 6] {
        both.agree_tc("enqueue", &PACKET, [3, number, 0, 0, 0]);
    }
    both.agree_tc("dequeue", &PACKET, [3, 0, 0, 0, 0]);
    both.update("queues", &3u32.to_ne_bytes(), &[0xff; 40]);
    both.agree_tc("enqueue", &PACKET, [3, 9, 0, 0, 0]);
    both.agree_tc("dequeue", &PACKET, [3, 0, 0, 0, 0]);
    both.agree_tc("dequeue", &PACKET, [3, 0, 0, 0, 0]);
}

#[test]
fn what_maps_let_go_of_is_gone_once() {
    for engine in ENGINES {
        let here = Here::load("helpers_objects", engine);
        let live = || here.runtime.live_objects();
        for (map, name, size) in [
            (STASHES, "stashes", 24),
            (PLACES, "places", 24),
            (SMALL, "small", 8),
            (LEAST_RECENT, "least_recent", 8),
        ] {
            update(&here, name, 1, size);
            assert_eq!(ask(&here, "leave", [map, 1, 5, 0, 0]), NONE);
            assert_eq!(ask(&here, "leave", [map, 1, 6, 0, 0]), 5, "{name}");
            assert_eq!((live(), ask(&here, "look", [map, 1, 0, 0, 0])), (1, 6));
            // The host sees nothing of it, and overwrites nothing.
            let value = here
                .object
                .map(name)
                .unwrap()
                .lookup(&1u32.to_ne_bytes())
                .unwrap()
                .unwrap();
            assert_eq!(value[size - 8..], [0; 8], "{name}");
            update(&here, name, 1, size);
            assert_eq!((live(), ask(&here, "look", [map, 1, 0, 0, 0])), (0, NONE), "{name}");
            ask(&here, "leave", [map, 1, 7, 0, 0]);
            if map == PLACES {
                update(&here, name, 1, size);
            } else {
                here.object.map(name).unwrap().delete(&1u32.to_ne_bytes()).unwrap();
                assert_eq!(live(), 0, "{name}");
                // What a program had left in the element would be another key's.
                update(&here, name, 2, size);
                assert_eq!(ask(&here, "look", [map, 2, 0, 0, 0]), NONE);
            }
        }
        assert_eq!(live(), 0);
        ask(&here, "leave", [SLOTS, 0, 1, 0, 0]);
        ask(&here, "leave", [SLOTS, 0, 2, 0, 0]);
        assert!((1..=2).contains(&live()), "each slot has its own");
        let slots = here.object.map("slots").unwrap();
        slots.update(&[0; 4], &[0; 8], UpdateFlags::ALL_CPUS).unwrap();
        assert_eq!(live(), 0);
    }
}

#[test]
fn lists_and_trees_of_elements_are_drained() {
    for engine in ENGINES {
        let here = Here::load("helpers_objects", engine);
        let live = || here.runtime.live_objects();
        let queues = here.object.map("queues").unwrap();
        let key = 3u32.to_ne_bytes();
        let fill = |count: u32| {
            for number in 0..count {
                ask(&here, "enqueue", [3, number, 0, 0, 0]);
            }
        };
        update(&here, "queues", 3, 40);
        fill(20);
        assert_eq!(live(), 40);
        let value = queues.lookup(&key).unwrap().unwrap();
        assert_eq!((&value[..4], &value[8..40]), (&[0; 4][..], &[0; 32][..]));
        assert_eq!(ask(&here, "dequeue", [3, 0, 0, 0, 0]), 0);
        assert_eq!(live(), 38);
        update(&here, "queues", 3, 40);
        assert_eq!((live(), ask(&here, "dequeue", [3, 0, 0, 0, 0])), (0, NONE));
        fill(3);
        let locked = UpdateFlags::LOCK;
        queues.update(&key, &[0; 40], locked).unwrap();
        assert_eq!((live(), ask(&here, "dequeue", [3, 0, 0, 0, 0])), (0, NONE));
        fill(20);
        queues.delete(&key).unwrap();
        assert_eq!(live(), 0);
    }
}

#[test]
fn maps_that_are_gone_take_their_objects_along() {
    for engine in ENGINES {
        let mut here = Here::load("helpers_objects", engine);
        for (map, key) in [(STASHES, 1), (PLACES, 1), (SMALL, 1), (LEAST_RECENT, 1)] {
            let (name, size) = [
                ("stashes", 24),
                ("places", 24),
                ("small", 8),
                ("", 0),
                ("least_recent", 8),
            ][map as usize];
            update(&here, name, key, size);
            ask(&here, "leave", [map, key, 5, 0, 0]);
        }
        ask(&here, "leave", [SLOTS, 1, 5, 0, 0]);
        update(&here, "queues", 3, 40);
        ask(&here, "enqueue", [3, 1, 0, 0, 0]);
        for port in 0..50 {
            ask(&here, "grow", [port, 0, 0, 0, 0]);
        }
        assert_eq!(here.runtime.live_objects(), 5 + 2 + 50);
        here.object = here.runtime.load(&hitless_object::ObjectSpec::default()).unwrap();
        assert_eq!(here.runtime.live_objects(), 0);
    }
}

#[test]
fn evicted_elements_let_go_of_theirs() {
    let here = Here::load("helpers_objects", Engine::Compiler);
    for key in 0..200 {
        update(&here, "least_recent", key, 8);
        assert_eq!(ask(&here, "leave", [LEAST_RECENT, key, key, 0, 0]), NONE, "{key}");
    }
    let count = here.object.map("least_recent").unwrap().entries().unwrap().len();
    assert_eq!(here.runtime.live_objects(), count as u64);
}

#[test]
fn a_large_tree_comes_and_goes() {
    let here = Here::load("helpers_objects", Engine::Compiler);
    let mut count = 0u32;
    while here.run_tc("grow", &PACKET, [count, 0, 0, 0, 0]).value == 0 {
        count += 1;
        if count == 2000 {
            break;
        }
    }
    // There is memory for more than that, and all of it comes back.
    assert_eq!(count, 2000);
    for _ in 0..count {
        assert_ne!(ask(&here, "shrink", [1, 0, 0, 0, 0]), NONE);
    }
    assert_eq!(
        (ask(&here, "shrink", [1, 0, 0, 0, 0]), here.runtime.live_objects()),
        (NONE, 0)
    );
}

#[test]
fn maps_of_maps_hold_none() {
    use hitless::{MapDef, MapKind};
    let here = Here::load("helpers_objects", Engine::Compiler);
    let inner = here.object.map("places").unwrap();
    let outer = MapDef {
        inner: Some(Box::new(MapDef {
            flags: MapFlags::NONE,
            ..inner.def().clone()
        })),
        ..MapDef::new("outer", MapKind::ArrayOfMaps, 4, 4, 1)
    };
    let outer = here.runtime.create_map(outer).unwrap();
    let error = outer.insert_map(&[0; 4], inner, UpdateFlags::ANY).unwrap_err();
    assert!(error.to_string().contains("refer to objects"), "{error}");
}

/// Runs a program of a hook's own with these numbers.
fn run(hook: &Hook<Tc>, scratch: [u32; 5]) {
    let mut packet = PACKET;
    let mut skb = SkBuff::new(&mut packet);
    skb.fields_mut().cb = scratch;
    hook.run(&mut skb).expect("it runs");
}

#[test]
fn threads_lose_no_object_and_free_none_twice() {
    let here = Here::load("helpers_objects", Engine::Compiler);
    let programs = [
        "leave", "look", "change", "enqueue", "dequeue", "grow", "shrink", "twice",
    ];
    let hooks = programs.map(|name| here.runtime.hook::<Tc>(name));
    let attach = |(hook, name)| here.runtime.attach(hook, here.object.program(name).unwrap()).unwrap();
    let links: Vec<_> = hooks.iter().zip(programs).map(attach).collect();
    let maps = [("stashes", 24), ("small", 8), ("least_recent", 8), ("queues", 40)];
    thread::scope(|scope| {
        for worker in 0..3u32 {
            let (hooks, here) = (&hooks, &here);
            scope.spawn(move || {
                let mut state = worker + 1;
                for _ in 0..4000 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (key, what) = ((state >> 16) % 3, (state >> 24) as usize % 10);
                    match what {
                        0..2 => run(&hooks[what], [state >> 8 & 3, key, state, 0, 0]),
                        2..8 => run(&hooks[what], [key, state >> 20, state, 0, 0]),
                        _ => {
                            let (name, size) = maps[(state >> 8) as usize % 4];
                            let map = here.object.map(name).unwrap();
                            let put = map.update(&key.to_ne_bytes(), &[7; 40][..size], UpdateFlags::ANY);
                            put.expect("there is room for three keys");
                            if what == 9 {
                                // Another thread may have been faster.
                                let _ = map.delete(&key.to_ne_bytes());
                            }
                        }
                    }
                }
            });
        }
    });
    // What is left is what can be found.
    while ask(&here, "shrink", [1, 0, 0, 0, 0]) != NONE {}
    for key in 0..3u32 {
        for (name, size) in [("stashes", 24), ("small", 8), ("queues", 40), ("places", 24)] {
            if name != "places" || key < 2 {
                update(&here, name, key, size);
            }
        }
    }
    let slots = here.object.map("slots").unwrap();
    for key in 0..2u32 {
        slots
            .update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ALL_CPUS)
            .unwrap();
    }
    assert_eq!(here.runtime.live_objects(), 0);
    drop(links);
}

thread_local! {
    static NESTED: Cell<Option<&'static Hook<Tc>>> = const { Cell::new(None) };
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    if let Some(hook) = NESTED.with(Cell::get) {
        let number = HANDLED.fetch_add(1, SeqCst) as u32;
        run(hook, [2, number % 3, number, 0, 0]);
    }
}

#[test]
fn signal_handlers_allocate_and_exchange() {
    // SAFETY: the handler runs a program and adds to an atomic, nothing else.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        let set = libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut());
        assert_eq!(set, 0);
    }
    let here = Here::load("helpers_objects", Engine::Compiler);
    for key in 0..3 {
        update(&here, "small", key, 8);
    }
    let hooks = ["leave", "allocate"].map(|name| here.runtime.hook::<Tc>(name));
    let nested = here.runtime.hook::<Tc>("nested");
    let map = here.object.map("small").unwrap();
    let shared = hitless::LoadOptions::default().replace_map("small", map);
    let other = here
        .runtime
        .load_with(&crate::common::committed("helpers_objects"), &shared)
        .unwrap();
    let _links = [
        here.runtime
            .attach(&hooks[0], here.object.program("leave").unwrap())
            .unwrap(),
        here.runtime
            .attach(&hooks[1], here.object.program("allocate").unwrap())
            .unwrap(),
        here.runtime.attach(&nested, other.program("leave").unwrap()).unwrap(),
    ];
    let nested: &'static Hook<Tc> = Box::leak(Box::new(nested));
    let (stop, target) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            NESTED.with(|cell| cell.set(Some(nested)));
            // SAFETY: asks for the caller's own id.
            target.store(unsafe { libc::pthread_self() }, SeqCst);
            let mut number = 0;
            while !stop.load(SeqCst) {
                run(&hooks[0], [2, number % 3, number, 0, 0]);
                run(&hooks[1], [number, 0, 0, 0, 0]);
                number += 1;
                if number % 64 == 0 {
                    let _ = map.delete(&(number / 64 % 3).to_ne_bytes());
                    let _ = map.update(&(number / 64 % 3).to_ne_bytes(), &[0; 8], UpdateFlags::ANY);
                }
            }
            NESTED.with(|cell| cell.set(None));
        });
        while target.load(SeqCst) == 0 {
            thread::yield_now();
        }
        for _ in 0..1500 {
            // SAFETY: the thread ends only after this.
            unsafe { libc::pthread_kill(target.load(SeqCst), libc::SIGUSR2) };
            thread::sleep(Duration::from_micros(50));
        }
        stop.store(true, SeqCst);
    });
    assert!(HANDLED.load(SeqCst) > 0);
    for key in 0..3u32 {
        let _ = map.delete(&key.to_ne_bytes());
    }
    assert_eq!(here.runtime.live_objects(), 0);
}
