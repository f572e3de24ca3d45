//! `bpf_spin_lock()` and `bpf_spin_unlock()`.

use hitless_verifier::tables::helpers;

use super::{Helper, broken};
use crate::env::RunEnv;
use crate::region::SharedBytes;
use crate::spin;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(helpers::SPIN_LOCK, spin_lock),
    Helper::new(helpers::SPIN_UNLOCK, spin_unlock),
];

/// The lock at an address.
///
/// # Safety
/// A value of a map has a `struct bpf_spin_lock` there.
unsafe fn lock<'a>(id: u32, address: u64) -> SharedBytes<'a> {
    if !address.is_multiple_of(4) {
        broken(id, "the lock is not aligned");
    }
    // SAFETY: as for this function.
    unsafe { SharedBytes::from_raw(address, 4) }
}

unsafe extern "C" fn spin_lock(env: &mut RunEnv<'_>, address: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a lock there.
    let lock = unsafe { lock(helpers::SPIN_LOCK, address) };
    if spin::lock(env.run(), lock).is_err() {
        broken(helpers::SPIN_LOCK, "a nested run would wait for a spin lock");
    }
    0
}

unsafe extern "C" fn spin_unlock(env: &mut RunEnv<'_>, address: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a lock there.
    let lock = unsafe { lock(helpers::SPIN_UNLOCK, address) };
    spin::unlock(env.run(), lock);
    0
}
