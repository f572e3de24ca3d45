//! Keys that a hash might take badly: in a row, alike but for a byte, chosen by somebody who knows the hash but not the seed.

use hitless_benches::maps::{Hitless, State, TIMES};
use hitless_benches::{Table, input};

const OBJECT: &str = "map_keys";
/// Maps for each set of keys, with seeds of their own. The median counts: with few keys, a processor takes twice as long for
/// updates in a fourth of the maps, whatever the keys are.
const MAPS: usize = 7;
const FULL: u32 = 65_536;

/// Distinct keys without any order.
fn random(count: u32) -> Vec<u32> {
    // A multiplication by an odd number, and shifts, lose nothing.
    let mix = |key: u32| {
        let key = (key ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1);
        (key ^ key >> 15).wrapping_mul(0x85eb_ca77)
    };
    (0..count).map(|key| mix(key) ^ mix(key) >> 13).collect()
}

/// Keys that one of 64 stretches of the table would have for itself if the seed were zero, as with `BPF_F_ZERO_SEED`.
fn chosen(count: u32) -> Vec<u32> {
    let stretch = |key: u32| {
        let hash = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 58
    };
    (0..).filter(|key| stretch(*key) == 0).take(count as usize).collect()
}

/// Prints what sets of keys cost.
pub fn print() {
    let few = 256;
    let sets = [
        ("random", random(FULL)),
        ("0, 1, 2, ...", (0..FULL).collect()),
        ("multiples of 65536", (0..FULL).map(|key| key << 16).collect()),
        ("chosen against a seed of zero", chosen(FULL)),
        ("256, random", random(few)),
        (
            "256 that differ in the lowest byte",
            (0..few).map(|byte| 0x5a5a_5a00 | byte).collect(),
        ),
        (
            "256 that differ in the highest byte",
            (0..few).map(|byte| 0x005a_5a5a | byte << 24).collect(),
        ),
    ];
    let mut table = Table::new(&["keys, ns", "lookup", "to random", "update", "to random"]);
    let mut random = [0.0; 2];
    for (name, keys) in sets {
        let found = measure(&keys);
        if name.ends_with("random") {
            random = found;
        }
        let [lookup, update] = [0, 1].map(|i| [format!("{:.2}", found[i]), format!("{:.2}", found[i] / random[i])]);
        table.row([name.to_owned()].into_iter().chain(lookup).chain(update));
    }
    println!("{table}");
}

/// What a lookup and an update take, with the loop around them.
fn measure(keys: &[u32]) -> [f64; 2] {
    let maps: Vec<_> = (0..MAPS).map(|_| in_one_map(keys)).collect();
    [0, 1].map(|operation| {
        let mut sorted: Vec<_> = maps.iter().map(|found: &[f64; 2]| found[operation]).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[MAPS / 2]
    })
}

/// Likewise in one map: the least of several rounds.
fn in_one_map(keys: &[u32]) -> [f64; 2] {
    let hitless = Hitless::new(&input::object(OBJECT));
    fill(&hitless, keys);
    let runs = keys.len() as u32 / TIMES;
    let mut state = State::of(&[0, keys.len() as u64 - 1]);
    hitless.run("update", &mut state, runs);
    ["lookup", "update"].map(|program| {
        let rounds = (0..30).map(|_| hitless.run(program, &mut state, runs.max(32)) / f64::from(TIMES));
        rounds.fold(f64::INFINITY, f64::min)
    })
}

/// Puts keys into the array that programs take them from.
pub fn fill(hitless: &Hitless, keys: &[u32]) {
    let array = hitless.map("keys");
    for (index, key) in (0u32..).zip(keys) {
        let set = array.update(&index.to_ne_bytes(), &key.to_ne_bytes(), hitless::UpdateFlags::ANY);
        set.expect("an element");
    }
}
