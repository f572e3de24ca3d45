//! Every target over a fixed number of inputs: none panics, and none takes more memory than a small multiple of its input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use fastrand::Rng;
use hitless_fuzz::{mutate, seeds, target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What is measured is the whole process's.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a target over its seeds and `inputs` mutations of them.
fn run(name: &str, inputs: usize, memory: impl Fn(usize) -> usize) {
    let _alone = ALONE.lock();
    let target = target(name).expect("a target");
    let seeds = seeds(target.seeds);
    assert!(!seeds.is_empty(), "no seeds for {name}");
    let mut rng = Rng::with_seed(1);
    // Whatever a target keeps for all inputs is made before the first is measured.
    for (_, seed) in &seeds {
        (target.run)(seed);
    }
    let mut accepted = 0;
    for input in 0..inputs {
        let (from, seed) = &seeds[input % seeds.len()];
        let mut bytes = seed.clone();
        for _ in 0..rng.usize(1..=3) {
            mutate(&mut bytes, &mut rng);
        }
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        let peak = ALLOCATED.peak_usage().saturating_sub(before);
        let allowed = memory(bytes.len());
        let failed = match outcome {
            Err(_) => "panics".to_string(),
            Ok(_) if peak > allowed => format!("takes {peak} bytes of memory, at most {allowed} are allowed"),
            Ok(good) => {
                accepted += usize::from(good);
                continue;
            }
        };
        let file = std::env::temp_dir().join(format!("hitless-fuzz-{name}-{input}"));
        std::fs::write(&file, &bytes).expect("the input can be kept");
        panic!(
            "{name}: input {input}, made of {from}, {failed}; kept as {}",
            file.display()
        );
    }
    // Otherwise the inputs test the first checks only.
    assert!(
        accepted >= inputs / 20,
        "{name}: only {accepted} of {inputs} inputs were accepted"
    );
}

/// Types in memory take several times what they take in a file; so do symbols and sections.
fn multiple(len: usize) -> usize {
    32 * len + (1 << 20)
}

#[test]
fn objects() {
    run("object", 20_000, multiple);
}

#[test]
fn btf() {
    run("btf", 20_000, multiple);
}

#[test]
fn btf_ext() {
    run("btf_ext", 5_000, multiple);
}

#[test]
fn split_btf() {
    run("btf_split", 20_000, multiple);
}

#[test]
fn layouts() {
    run("layout", 20_000, multiple);
}

#[test]
fn core_relocations_of_changed_objects() {
    run("core_local", 20_000, multiple);
}

#[test]
fn core_relocations_against_changed_types() {
    run("core_target", 20_000, multiple);
}

#[test]
fn instructions() {
    run("insns", 20_000, multiple);
}

#[test]
fn maps_in_files() {
    run("map_file", 10_000, multiple);
}
