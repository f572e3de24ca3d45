//! What the benchmarks share: inputs, clocks and tables.
//!
//! Figures of a machine that others use at the same time are upper bounds, so each is the minimum over several rounds, and
//! what is to be compared is measured in turns. [`Calibration`] says how fast the machine was meanwhile.

pub mod calibrate;
pub mod case;
pub mod hook;
pub mod input;
pub mod maps;
pub mod table;
pub mod thread;

use std::time::Duration;

pub use calibrate::Calibration;
pub use case::Case;
pub use table::Table;

/// How long a benchmark is to take: `BENCH_SECONDS`, or else `default` seconds. `None` if it was not started by `cargo bench`.
#[must_use]
pub fn budget(default: u64) -> Option<Duration> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a benchmark: run it with cargo bench");
        return None;
    }
    let given = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    Some(Duration::from_secs_f64(
        given.unwrap_or(default as f64).clamp(1.0, 86_400.0),
    ))
}

/// The value below which the fraction `q` of the sorted samples lies; `None` if there are none.
#[must_use]
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((q * last as f64).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<u32> = (0..=100).collect();
        assert_eq!(quantile(&samples, 0.0), Some(0));
        assert_eq!(quantile(&samples, 0.5), Some(50));
        assert_eq!(quantile(&samples, 0.99), Some(99));
        assert_eq!(quantile(&samples, 1.0), Some(100));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }
}
