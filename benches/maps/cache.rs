//! How often an LRU map has what it is asked for, if some keys are asked for more often than others.

use hitless_benches::maps::{Hitless, State, TIMES};
use hitless_benches::{Table, input};

use super::keys;
use super::linux::Linux;

const OBJECT: &str = "map_keys";
/// Requests, as many as the array of keys holds.
const REQUESTS: usize = 1 << 20;
/// Keys that are asked for: 16 times as many as the map holds.
const KEYS: usize = 1 << 20;
const EXPONENT: f64 = 0.9;

/// Requests for keys whose frequency falls with their rank, to the power of the exponent.
fn zipf() -> Vec<u32> {
    let mut below = Vec::with_capacity(KEYS);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += (rank as f64).powf(-EXPONENT);
        below.push(sum);
    }
    let mut seed = 1u64;
    let mut request = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = (seed >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let rank = below.partition_point(|below| *below < at) as u32;
        rank.wrapping_mul(0x9e37_79b1)
    };
    (0..REQUESTS).map(|_| request()).collect()
}

/// Prints how many requests of a hundred find their key, once the map has seen as many requests.
pub fn print() {
    let requests = zipf();
    let runs = REQUESTS as u32 / TIMES;
    let ratio = |mut run: Box<dyn FnMut(&mut State)>| {
        let mut state = State::of(&[0, REQUESTS as u64 - 1]);
        run(&mut state);
        let before = state.word(2);
        run(&mut state);
        (state.word(2) - before) as f64 / REQUESTS as f64
    };
    let hitless = Hitless::new(&input::object(OBJECT));
    keys::fill(&hitless, &requests);
    let ours = ratio(Box::new(move |state| {
        hitless.run("cache", state, runs);
    }));
    let theirs = Linux::load(&input::object_bytes(OBJECT)).ok().map(|mut linux| {
        linux.fill("keys", &requests);
        ratio(Box::new(move |state| {
            linux.run("cache", state, runs);
        }))
    });
    let mut table = Table::new(&["LRU of 65536, keys by Zipf 0.9 of 1 Mi", "hitless", "Linux"]);
    let theirs = theirs.map_or_else(|| "-".to_owned(), |theirs| format!("{theirs:.3}"));
    table.row([
        "found, of all that was asked for".to_owned(),
        format!("{ours:.3}"),
        theirs,
    ]);
    println!("{table}");
}
