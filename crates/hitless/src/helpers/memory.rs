//! Helpers that read memory which may not be there. In a process there is one sort: that of the host is both the kernel's and
//! the user's.
//!
//! What is asked for is there as a whole, or the destination is cleared and the answer is `-EFAULT`.

use hitless_verifier::tables::helpers::number;

use super::errno::{EINVAL, returned};
use super::{Helper, probe};
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_probe_read"), probe_read),
    Helper::new(number("bpf_probe_read_kernel"), probe_read),
    Helper::new(number("bpf_probe_read_user"), probe_read),
    Helper::new(number("bpf_copy_from_user"), probe_read),
    Helper::new(number("bpf_probe_read_str"), probe_read_str),
    Helper::new(number("bpf_probe_read_kernel_str"), probe_read_str),
    Helper::new(number("bpf_probe_read_user_str"), probe_read_str),
];

unsafe extern "C" fn probe_read(_: &mut RunEnv<'_>, to: u64, len: u64, from: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much writable memory.
    let to = unsafe { SharedBytes::from_raw(to, len as usize) };
    // SAFETY: as above.
    let copied = unsafe { probe::copy(from, to) };
    if copied.is_err() {
        // SAFETY: as above.
        unsafe { to.fill(0) };
    }
    returned(copied.map(|()| 0))
}

/// Returns the length of the string, with the zero at its end.
unsafe extern "C" fn probe_read_str(_: &mut RunEnv<'_>, to: u64, len: u64, from: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much writable memory.
    let to = unsafe { SharedBytes::from_raw(to, len as usize) };
    // SAFETY: as above.
    let copied = unsafe { probe::copy_string(from, to) };
    if copied.is_err() {
        // SAFETY: as above.
        unsafe { to.fill(0) };
    }
    returned(copied.map(|len| len as u64))
}

/// `BPF_F_PAD_ZEROS`: what follows the string is cleared, too, and everything if there is none.
const F_PAD_ZEROS: u64 = 1;

/// `bpf_copy_from_user_str()`: as above, but what could not be read leaves the destination as it is, unless it is padded.
pub(super) unsafe extern "C" fn copy_from_user_str(
    _: &mut RunEnv<'_>,
    to: u64,
    len: u64,
    from: u64,
    flags: u64,
    _: u64,
) -> u64 {
    if flags & !F_PAD_ZEROS != 0 {
        return returned(Err(EINVAL));
    }
    // SAFETY: the verifier proved so much writable memory.
    let to = unsafe { SharedBytes::from_raw(to, len as u32 as usize) };
    // SAFETY: as above.
    let copied = unsafe { probe::copy_string(from, to) };
    if flags & F_PAD_ZEROS != 0 {
        let kept = *copied.as_ref().unwrap_or(&0);
        // SAFETY: as above.
        unsafe { to.part(kept, to.len() - kept).fill(0) };
    }
    returned(copied.map(|len| len as u64))
}
