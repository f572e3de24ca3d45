//! Timers.

use std::time::{Duration, Instant};

use hitless::Engine;

use crate::both::{Both, Here, Result};

/// What programs read: an index, a delay, flags, how often again; and the clock.
fn input(words: [u64; 4], clock: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
    bytes.extend([clock; 32]);
    bytes
}

fn number(result: &Result, name: &str) -> u64 {
    u64::from_ne_bytes(result.bytes(name).try_into().expect("a number"))
}

/// Waits until a function has been called so often.
fn wait(here: &Here, fired: u64) -> Result {
    let start = Instant::now();
    loop {
        let result = here.look();
        if number(&result, "fired") >= fired {
            return result;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{fired} calls");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn answers() {
    let Some(mut both) = Both::load("helpers_timer") else {
        return;
    };
    for (key, clock) in [(0, 0), (1, 1), (2, 7), (0, 2), (3, 1 << 40)] {
        both.agree("errors", &input([key, clock, 0, 0], 0));
    }
}

#[test]
fn functions_are_called() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_timer", engine);
        let started = Instant::now();
        let delay = Duration::from_millis(5);
        let result = here.run("go", &input([2, delay.as_nanos() as u64, 0, 3], 1));
        assert_eq!(result.answers()[..3], [0; 3]);
        let result = wait(&here, 4);
        assert!(started.elapsed() >= delay);
        assert_eq!(number(&result, "last_key"), 2);
        assert_eq!(number(&result, "in_call") as i64, -35, "it would wait for itself");
        let value = here
            .object
            .map("array")
            .unwrap()
            .lookup(&2u32.to_ne_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(value[..8], 4u64.to_ne_bytes());
        assert_eq!(value[8..24], [0; 16], "the timer itself is not shown");
        // Each clock, at a time that has passed; on the same processor, which means nothing here.
        for (key, clock) in [(0, 0), (1, 7), (3, 1)] {
            let before = number(&here.look(), "fired");
            let result = here.run("go", &input([key, 1, 3, 0], clock));
            assert_eq!(result.answers()[..3], [0; 3]);
            assert_eq!(number(&wait(&here, before + 1), "last_key"), key);
        }
    }
}

#[test]
fn what_is_gone_is_not_called() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_timer", engine);
        let delay = Duration::from_millis(50);
        let start = Instant::now();
        for how in [1, 2] {
            let result = here.run("gone", &input([7, delay.as_nanos() as u64, how, 0], 0));
            assert_eq!(result.answers()[..3], [0; 3]);
        }
        // Whether the elements were gone in time.
        let in_time = start.elapsed() < delay;
        here.run("gone", &input([9, 2 * delay.as_nanos() as u64, 0, 0], 0));
        let result = wait(&here, 1);
        if in_time {
            assert_eq!((number(&result, "fired"), number(&result, "last_key")), (1, 9));
        }
        let live = here.object.map("hash").unwrap();
        let value = live.lookup(&7u64.to_ne_bytes()).unwrap().unwrap();
        assert_eq!(value[..8], [0; 8], "the new element's timer was never started");
    }
}

#[test]
fn timers_end_with_the_last_user() {
    let Here { runtime, object, .. } = {
        let here = Here::load("helpers_timer", Engine::Compiler);
        let result = here.run("go", &input([0, 1 << 60, 0, 0], 1));
        assert_eq!(result.answers()[..3], [0; 3]);
        here
    };
    let program = std::sync::Arc::downgrade(object.program("go").unwrap());
    let start = Instant::now();
    drop(object);
    // The thread that serves timers lets go of the program.
    while program.upgrade().is_some() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(runtime);
}
