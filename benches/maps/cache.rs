//! How often an LRU map has what it is asked for, if some keys are asked for more often than others.

use hitless_benches::maps::{Hitless, State, TIMES};
use hitless_benches::{Table, input};

use super::keys;
use super::linux::Linux;

const OBJECT: &str = "map_keys";
/// Requests in a part, as many as the array of keys holds.
const REQUESTS: usize = 1 << 20;
/// How many parts there are. The last one counts.
const PARTS: usize = 3;
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
    (0..PARTS * REQUESTS).map(|_| request()).collect()
}

/// Prints which share of the requests finds its key.
pub fn print() {
    let runs = REQUESTS as u32 / TIMES;
    let hitless = Hitless::new(&input::object(OBJECT));
    let mut linux = Linux::load(&input::object_bytes(OBJECT)).ok();
    let mut found = [0; 2];
    for part in zipf().chunks(REQUESTS) {
        let mut states = [State::of(&[0, REQUESTS as u64 - 1]); 2];
        keys::fill(&hitless, part);
        hitless.run("cache", &mut states[0], runs);
        if let Some(linux) = &mut linux {
            linux.fill("keys", part);
            linux.run("cache", &mut states[1], runs);
        }
        found = states.map(|state| state.word(2));
    }
    let [ours, theirs] = found.map(|found| format!("{:.3}", found as f64 / REQUESTS as f64));
    let theirs = if linux.is_some() { theirs } else { "-".to_owned() };
    let mut table = Table::new(&["LRU of 65536, keys by Zipf 0.9 of 1 Mi", "hitless", "Linux"]);
    table.row(["found, of all that was asked for".to_owned(), ours, theirs]);
    println!("{table}");
}
