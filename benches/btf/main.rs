//! What it takes to read, write and print the kernel's BTF.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hitless_benches::table::figure;
use hitless_benches::thread::cpu_time;
use hitless_benches::{Calibration, Table, budget, quantile};
use hitless_btf::{Btf, Kind, dump};

const PATH: &str = "/sys/kernel/btf/vmlinux";

fn main() {
    let Some(budget) = budget(10) else { return };
    println!("{}", Calibration::measure());
    let bytes = match std::fs::read(PATH) {
        Ok(bytes) => bytes,
        Err(error) => {
            println!("skipped: {PATH}: {error}");
            return;
        }
    };
    let btf = Btf::parse(&bytes).expect("the kernel's BTF is BTF");
    println!("{PATH}: {} bytes, {} types\n", bytes.len(), btf.len());
    let mut table = Table::new(&["what", "least ms", "median ms", "p99 ms"]);
    let mut row = |what: &str, work: &dyn Fn()| {
        let mut times = measure(budget / 5, work);
        times.sort_unstable();
        let of = |q| figure(quantile(&times, q).map(|time| time.as_secs_f64() * 1e3));
        table.row([what.to_owned(), of(0.0), of(0.5), of(0.99)]);
    };
    row("parse", &|| drop(black_box(Btf::parse(&bytes))));
    row("write", &|| drop(black_box(btf.to_bytes())));
    row("dump, raw", &|| {
        let mut text = String::new();
        write!(text, "{}", dump::raw(&btf)).expect("a string can be written to");
        black_box(text);
    });
    row("dump, C", &|| drop(black_box(dump::c(&btf))));
    row("parse, find a struct", &|| {
        // The first search makes the index.
        let fresh = Btf::parse(&bytes).expect("the kernel's BTF is BTF");
        black_box(fresh.find(Kind::Struct, "task_struct"));
    });
    println!("{table}\n{}", Calibration::measure());
}

/// The processor time that `work` took each time, for as long as `budget` lasts.
fn measure(budget: Duration, work: &dyn Fn()) -> Vec<Duration> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < budget {
        let begin = cpu_time();
        work();
        times.push(cpu_time() - begin);
    }
    times
}
