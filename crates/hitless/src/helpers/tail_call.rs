//! `bpf_tail_call()`.

use hitless_verifier::tables::helpers;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[Helper::new(helpers::TAIL_CALL, tail_call)];

/// Looks for the program to go on with; the code that calls this does the rest.
unsafe extern "C" fn tail_call(env: &mut RunEnv<'_>, context: u64, map: u64, index: u64, _: u64, _: u64) -> u64 {
    let programs = env.map(map).programs();
    let program = programs.and_then(|programs| programs.get(env.run(), index as u32));
    program.map_or(0, |program| env.tail_call(program, context))
}
