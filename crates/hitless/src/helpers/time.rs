//! Helpers that tell the time.

use std::time::Duration;

use hitless_verifier::tables::helpers::number;
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_getres, clock_gettime, clock_gettime_dynamic};

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_ktime_get_ns"), ktime_get_ns),
    Helper::new(number("bpf_ktime_get_boot_ns"), ktime_get_boot_ns),
    Helper::new(number("bpf_ktime_get_coarse_ns"), ktime_get_coarse_ns),
    Helper::new(number("bpf_ktime_get_tai_ns"), ktime_get_tai_ns),
    Helper::new(number("bpf_jiffies64"), jiffies64),
];

/// The interval at which the kernel counts jiffies. It is how fine the coarse clocks are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tick {
    nanoseconds: u64,
}

/// The 32 bits of the kernel's counter overflow so long after it has started (`INITIAL_JIFFIES`), to show who cannot bear that.
const UNTIL_OVERFLOW: Duration = Duration::from_secs(300);

impl Tick {
    pub(super) fn new() -> Tick {
        Tick {
            nanoseconds: nanoseconds(clock_getres(ClockId::MonotonicCoarse)).max(1),
        }
    }

    /// What the counter is, so long after the start.
    fn jiffies(self, now: u64) -> u64 {
        let before = UNTIL_OVERFLOW.as_nanos() as u64 / self.nanoseconds;
        u64::from((before as u32).wrapping_neg()) + now / self.nanoseconds
    }
}

unsafe extern "C" fn ktime_get_ns(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    now(ClockId::Monotonic)
}

unsafe extern "C" fn ktime_get_boot_ns(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    now(ClockId::Boottime)
}

unsafe extern "C" fn ktime_get_coarse_ns(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    now(ClockId::MonotonicCoarse)
}

unsafe extern "C" fn ktime_get_tai_ns(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // Every Linux has had this clock since 3.10.
    clock_gettime_dynamic(DynamicClockId::Tai).map_or(0, nanoseconds)
}

unsafe extern "C" fn jiffies64(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.shared().tick.jiffies(now(ClockId::MonotonicCoarse))
}

/// What a clock shows, in nanoseconds.
pub(crate) fn now(clock: ClockId) -> u64 {
    nanoseconds(clock_gettime(clock))
}

fn nanoseconds(time: Timespec) -> u64 {
    let since = Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn jiffies_begin_before_an_overflow() {
        let tick = Tick { nanoseconds: 4_000_000 };
        assert_eq!(tick.jiffies(0), u64::from(75_000u32.wrapping_neg()));
        assert_eq!(tick.jiffies(300_000_000_000), 1 << 32);
    }
}
