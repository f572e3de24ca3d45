//! Helpers that tell the time.

use std::time::Duration;

use hitless_verifier::tables::helpers;
use rustix::time::ClockId;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(helpers::KTIME_GET_NS, ktime_get_ns),
    Helper::new(helpers::KTIME_GET_BOOT_NS, ktime_get_boot_ns),
];

unsafe extern "C" fn ktime_get_ns(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    nanoseconds(ClockId::Monotonic)
}

unsafe extern "C" fn ktime_get_boot_ns(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    nanoseconds(ClockId::Boottime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    let since = Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
