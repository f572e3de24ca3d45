//! Helpers that read text: numbers, and comparison.

use hitless_verifier::tables::helpers::number;

use super::errno::{Errno, returned};
use super::{Helper, number as numbers};
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_strtol"), strtol),
    Helper::new(number("bpf_strtoul"), strtoul),
    Helper::new(number("bpf_strncmp"), strncmp),
];

unsafe extern "C" fn strtol(_: &mut RunEnv<'_>, text: u64, size: u64, flags: u64, to: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let text = unsafe { SharedBytes::from_raw(text, size as usize) };
    let read = numbers::signed(text, flags).map(|(value, taken)| (value.cast_unsigned(), taken));
    // SAFETY: the verifier proved a number there that may be written.
    unsafe { store(read, to) }
}

unsafe extern "C" fn strtoul(_: &mut RunEnv<'_>, text: u64, size: u64, flags: u64, to: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let text = unsafe { SharedBytes::from_raw(text, size as usize) };
    // SAFETY: the verifier proved a number there that may be written.
    unsafe { store(numbers::unsigned(text, flags), to) }
}

/// Stores the number that was read, or 0. Returns how many bytes it took.
///
/// # Safety
/// Eight bytes are writable at `to`.
unsafe fn store(read: Result<(u64, usize), Errno>, to: u64) -> u64 {
    let value = read.map_or(0, |(value, _)| value);
    // SAFETY: as for this function.
    unsafe { SharedBytes::from_raw(to, 8).write(SharedBytes::from_slice(&value.to_ne_bytes())) };
    returned(read.map(|(_, taken)| taken as u64))
}

/// Compares text that need not end with a zero with a constant one.
unsafe extern "C" fn strncmp(_: &mut RunEnv<'_>, text: u64, size: u64, constant: u64, _: u64, _: u64) -> u64 {
    for i in 0..size {
        // SAFETY: the verifier proved so much readable memory, and a constant text, of which nothing behind its zero is read.
        let [a, b] = [text, constant].map(|address| unsafe { SharedBytes::from_raw(address + i, 1) }.byte(0));
        if a != b {
            let order: i64 = if a < b { -1 } else { 1 };
            return order.cast_unsigned();
        }
        if a == 0 {
            break;
        }
    }
    0
}
