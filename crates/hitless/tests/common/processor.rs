//! Where a test runs.

/// Has this thread stay on the first processor, so that both sides mean the same one.
pub fn stay_on_one_processor() {
    // SAFETY: a set of processors is plain data; the call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}
