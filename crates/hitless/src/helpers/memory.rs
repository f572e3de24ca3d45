//! Helpers that read memory which may not be there.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use hitless_verifier::tables::helpers;

use super::Helper;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(helpers::PROBE_READ, probe_read),
    Helper::new(helpers::PROBE_READ_KERNEL, probe_read),
];

/// `bpf_probe_read_kernel`: copies from an address that may be anything; on a fault zeroes the destination and returns
/// `-EFAULT`. The kernel does the copy (`process_vm_readv(2)` on ourselves), so a bad address is an error, not a signal.
unsafe extern "C" fn probe_read(_: &mut RunEnv<'_>, to: u64, len: u64, from: u64, _: u64, _: u64) -> u64 {
    let len = len as usize;
    if len == 0 {
        return 0;
    }
    let local = libc::iovec {
        iov_base: to as *mut libc::c_void,
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: from as *mut libc::c_void,
        iov_len: len,
    };
    // SAFETY: the verifier proved `len` writable bytes at `to`; the kernel checks `from`. `getpid` has no preconditions.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(copied) == Ok(len) {
        return 0;
    }
    for i in 0..len {
        // SAFETY: as above; atomic, since it may be a map's memory.
        unsafe { (*((to as usize + i) as *const AtomicU8)).store(0, Relaxed) };
    }
    (-i64::from(libc::EFAULT)).cast_unsigned()
}
