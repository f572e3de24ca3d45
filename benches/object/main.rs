//! How long a large object takes to parse, by size. The objects are made by clang from generated sources; without clang
//! there is nothing to measure.

mod shapes;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hitless_benches::table::figure;
use hitless_benches::{Calibration, Table, budget};
use hitless_object::ObjectSpec;

const ROUNDS: u32 = 3;

fn main() {
    let Some(budget) = budget(10) else { return };
    let dir = std::env::temp_dir().join(format!("hitless-bench-object-{}", std::process::id()));
    let built = std::fs::create_dir(&dir)
        .map_err(|error| error.to_string())
        .and_then(|()| {
            let all = shapes::all();
            all.iter()
                .map(|(name, source)| Ok((*name, build(&dir, name, source)?)))
                .collect::<Result<Vec<_>, String>>()
        });
    let _ = std::fs::remove_dir_all(&dir);
    let objects = match built {
        Ok(objects) => objects,
        Err(error) => return println!("skipped: {error}"),
    };
    println!("{}", Calibration::measure());
    let slice = budget.div_f64(f64::from(ROUNDS) * objects.len() as f64);
    let mut best = vec![Duration::MAX; objects.len()];
    for _ in 0..ROUNDS {
        for ((_, bytes), best) in objects.iter().zip(&mut best) {
            *best = parse_for(slice, bytes).min(*best);
        }
    }
    println!("{}; {ROUNDS} rounds of every object in turns\n", Calibration::measure());
    let mut table = Table::new(&["object", "KiB", "programs", "instructions", "maps", "least ms", "ms/MB"]);
    for ((name, bytes), best) in objects.iter().zip(best) {
        let object = ObjectSpec::parse(bytes).expect("it was parsed before");
        let ms = best.as_secs_f64() * 1e3;
        table.row([
            (*name).to_owned(),
            (bytes.len() >> 10).to_string(),
            object.programs.len().to_string(),
            object
                .programs
                .iter()
                .map(|program| program.insns.len())
                .sum::<usize>()
                .to_string(),
            object.maps.len().to_string(),
            figure(Some(ms)),
            figure(Some(ms / (bytes.len() as f64 / 1e6))),
        ]);
    }
    println!("{table}");
}

/// The shortest time that parsing takes.
fn parse_for(time: Duration, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < time {
        let before = Instant::now();
        let object = ObjectSpec::parse(bytes).unwrap_or_else(|error| panic!("{error}"));
        best = best.min(before.elapsed());
        std::hint::black_box(object);
    }
    best
}

/// Compiles a source to an object as it would be installed: with BTF, without DWARF.
fn build(dir: &Path, name: &str, source: &str) -> Result<Vec<u8>, String> {
    let (input, output) = (dir.join(name).with_extension("c"), dir.join(name).with_extension("o"));
    std::fs::write(&input, source).map_err(|error| error.to_string())?;
    run(Command::new("clang-19")
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c"])
        .arg(&input)
        .arg("-o")
        .arg(&output))?;
    run(Command::new("llvm-strip-19").arg("-g").arg(&output))?;
    std::fs::read(&output).map_err(|error| error.to_string())
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
