//! The number that a program's link was given when it was attached ([`AttachOptions::cookie`](crate::AttachOptions::cookie)).

use hitless_verifier::tables::helpers::number;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[Helper::new(number("bpf_get_attach_cookie"), get_attach_cookie)];

unsafe extern "C" fn get_attach_cookie(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.cookie
}
