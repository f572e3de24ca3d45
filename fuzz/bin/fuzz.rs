//! Runs one target, guided by coverage, with libFuzzer. That owns `main` and the command line, so the target's name comes
//! in the environment: `FUZZ_TARGET`; and so does the directory into which its seeds are written first: `FUZZ_SEEDS`.
#![no_main]

use std::sync::LazyLock;
use std::{env, fs};

use hitless_fuzz::{Target, mutate, seeds, target};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
    target(&name).unwrap_or_else(|| panic!("no target {name:?}"))
});

fuzz_target!(
    init: {
        if let Ok(dir) = env::var("FUZZ_SEEDS") {
            fs::create_dir_all(&dir).expect("a directory for the seeds");
            for (name, bytes) in seeds(TARGET.seeds) {
                fs::write(format!("{dir}/{}", name.replace('/', "_")), bytes).expect("a seed is written");
            }
        }
    },
    |data: &[u8]| {
        (TARGET.run)(data);
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut rng = fastrand::Rng::with_seed(seed.into());
    if rng.bool() {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut bytes = data[..size].to_vec();
    mutate(&mut bytes, &mut rng);
    let size = bytes.len().min(max_size);
    data[..size].copy_from_slice(&bytes[..size]);
    size
});
