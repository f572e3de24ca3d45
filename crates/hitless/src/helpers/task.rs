//! Helpers that say what the program runs on, and for whom.

use hitless_verifier::tables::helpers;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[Helper::new(helpers::GET_SMP_PROCESSOR_ID, get_smp_processor_id)];

unsafe extern "C" fn get_smp_processor_id(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.slot().into()
}
