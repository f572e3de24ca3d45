//! Helpers for maps of other sorts, ring buffers and dynptrs, and those that call functions of the program back.

use hitless::Engine;

use crate::both::{Both, Here};

/// What programs read: four numbers, then text.
fn input(words: [u64; 4]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
    bytes.extend(100..180u8);
    bytes
}

fn next(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 33) as usize % bound
}

#[test]
fn records() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    let mut state = 1;
    for turn in 0..300 {
        let mut packet = Vec::new();
        for _ in 0..4 {
            // Sorts of steps, with flags, few of which are known.
            let what = [0u32, 0, 4, 8, 12, 16, 1, 1, 5, 9, 17, 2, 2][next(&mut state, 13)];
            let size = [0u32, 1, 7, 8, 9, 100, 400, 481][next(&mut state, 8)];
            packet.extend(what.to_ne_bytes());
            packet.extend(size.to_ne_bytes());
        }
        packet.extend(0..60u8);
        both.agree("records", &packet);
        if turn % 7 == 0 {
            both.drain("ring");
        }
    }
}

#[test]
fn records_by_dynptrs() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    let mut state = 2;
    for _ in 0..200 {
        let size = [0, 1, 20, 24, 100, 3000, 4096, 0xff_ffff, 0x100_0000][next(&mut state, 9)];
        let flags = [0, 0, 0, 1][next(&mut state, 4)];
        let at = [0, 1, 4, 8, 80, 81, 0xffff_ffff][next(&mut state, 7)];
        both.agree("record_dynptrs", &input([size, flags, at, next(&mut state, 2) as u64]));
        both.drain("ring");
    }
}

#[test]
fn memory_by_dynptrs() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    let mut state = 3;
    for _ in 0..400 {
        let offset = [0, 1, 8, 12, 16, 100, 184, 185, 199, 200, 201, 0xffff_ffff][next(&mut state, 12)];
        let len = [0, 1, 16, 20, 100, 200, 201, 255][next(&mut state, 8)];
        let flags = [0, 0, 0, 1][next(&mut state, 4)];
        let made = [0, 0, 0, 0, 1][next(&mut state, 5)];
        both.agree("dynptrs", &input([offset, len, flags, made]));
    }
}

#[test]
fn queues_stacks_and_filters() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    for flags in [0, 2, 1, 4, 0] {
        both.agree("values", &input([7 * flags, flags, 0, 0]));
    }
}

#[test]
fn each_element() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    for limit in [1, 3, 5, 100] {
        both.agree("for_each", &input([limit, 0, 0, 0]));
    }
    both.agree("for_each", &input([1, 1, 0, 0]));
}

#[test]
fn loops() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    for (count, limit, flags) in [
        (0, 1, 0),
        (1, 1, 0),
        (10, 4, 0),
        (10, 100, 0),
        (10, 1, 1),
        (1 << 23, 1 << 14, 0),
    ] {
        both.agree("loops", &input([count, limit, flags, 0]));
    }
    both.agree("loops", &input([(1 << 23) + 1, 1, 0, 0]));
}

#[test]
fn events_that_nobody_gets() {
    let Some(mut both) = Both::load("helpers_maps") else {
        return;
    };
    both.agree("event_errors", &input([0; 4]));
}

#[test]
fn records_reach_the_host() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_maps", engine);
        here.run("record_dynptrs", &input([100, 0, 3, 0]));
        let records = here.drain("ring");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].len(), 100);
        assert_eq!(records[0][..8], 42u64.to_ne_bytes());
        assert_eq!(records[0][8..23], (105..120).collect::<Vec<u8>>()[..]);
    }
}
