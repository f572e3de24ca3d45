//! Helpers that call functions of the program back.

use hitless_verifier::tables::helpers;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[Helper::new(helpers::LOOP, bpf_loop)];

/// The most turns of `bpf_loop()`.
const MAX_TURNS: u32 = 1 << 23;

/// Calls `func(turn, context)` up to `count` times, until it returns something other than 0; returns how often it did.
unsafe extern "C" fn bpf_loop(env: &mut RunEnv<'_>, count: u64, func: u64, context: u64, flags: u64, _: u64) -> u64 {
    let count = count as u32;
    if flags != 0 {
        return (-i64::from(libc::EINVAL)).cast_unsigned();
    }
    if count > MAX_TURNS {
        return (-i64::from(libc::E2BIG)).cast_unsigned();
    }
    for turn in 0..count {
        // SAFETY: the verifier proved that this is a function that takes a number and that context.
        if unsafe { env.callback(func, [turn.into(), context, 0, 0, 0]) } != 0 {
            return (turn + 1).into();
        }
    }
    count.into()
}
