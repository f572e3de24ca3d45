//! Helpers that say what a program runs on, and for whom: thread, process, user, control group.
//!
//! What does not change is asked for when a runtime is made: a process of its own has one id, one namespace, and the control
//! group that it was in then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hitless_verifier::tables::helpers::number;

use super::Helper;
use super::errno::{EINVAL, returned};
use crate::env::RunEnv;
use crate::region::SharedBytes;
use crate::run::thread_id;
use crate::trace_pipe::COMM;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_get_smp_processor_id"), get_smp_processor_id),
    Helper::new(number("bpf_get_numa_node_id"), get_numa_node_id),
    Helper::new(number("bpf_get_current_pid_tgid"), get_current_pid_tgid),
    Helper::new(number("bpf_get_ns_current_pid_tgid"), get_ns_current_pid_tgid),
    Helper::new(number("bpf_get_current_uid_gid"), get_current_uid_gid),
    Helper::new(number("bpf_get_current_comm"), get_current_comm),
    Helper::new(number("bpf_get_current_cgroup_id"), get_current_cgroup_id),
    Helper::new(
        number("bpf_get_current_ancestor_cgroup_id"),
        get_current_ancestor_cgroup_id,
    ),
    Helper::new(number("bpf_send_signal"), send_signal),
    Helper::new(number("bpf_send_signal_thread"), send_signal_thread),
];

/// The greatest number of a signal.
const LAST_SIGNAL: u32 = 64;

/// Who the process is.
#[derive(Debug)]
pub(super) struct Identity {
    process: u32,
    /// Device and inode of the namespace of its id.
    namespace: Option<(u64, u64)>,
    /// Ids of its control group and those above it, from the top.
    cgroups: Vec<u64>,
}

impl Identity {
    pub(super) fn new() -> Identity {
        let namespace = fs::metadata("/proc/self/ns/pid").ok();
        Identity {
            process: std::process::id(),
            namespace: namespace.map(|namespace| (namespace.dev(), namespace.ino())),
            cgroups: cgroups().unwrap_or_default(),
        }
    }
}

/// Ids of the control groups of the process: the inodes of their directories.
fn cgroups() -> Option<Vec<u64>> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut directory = Path::new("/sys/fs/cgroup").to_owned();
    let mut ids = vec![fs::metadata(&directory).ok()?.ino()];
    for name in Path::new(path) {
        directory.push(name);
        ids.push(fs::metadata(&directory).ok()?.ino());
    }
    Some(ids)
}

unsafe extern "C" fn get_smp_processor_id(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.slot().into()
}

unsafe extern "C" fn get_numa_node_id(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let mut node = 0u32;
    let none = std::ptr::null_mut::<u32>();
    // SAFETY: `getcpu(2)` writes the one number that it is given the address of.
    unsafe { libc::syscall(libc::SYS_getcpu, none, &raw mut node, none) };
    node.into()
}

unsafe extern "C" fn get_current_pid_tgid(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    u64::from(env.shared().identity.process) << 32 | u64::from(thread_id())
}

unsafe extern "C" fn get_ns_current_pid_tgid(
    env: &mut RunEnv<'_>,
    device: u64,
    inode: u64,
    to: u64,
    size: u64,
    _: u64,
) -> u64 {
    let identity = &env.shared().identity;
    let found = size == 8 && identity.namespace == Some((device, inode));
    // SAFETY: the verifier proved so much writable memory there.
    let to = unsafe { SharedBytes::from_raw(to, size as usize) };
    if !found {
        // SAFETY: as above.
        unsafe { to.fill(0) };
        return returned(Err(EINVAL));
    }
    let [pid, tgid] = [thread_id(), identity.process].map(u32::to_ne_bytes);
    // SAFETY: as above; it is eight bytes.
    unsafe {
        to.part(0, 4).write(SharedBytes::from_slice(&pid));
        to.part(4, 4).write(SharedBytes::from_slice(&tgid));
    }
    0
}

unsafe extern "C" fn get_current_uid_gid(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    u64::from(rustix::process::getgid().as_raw()) << 32 | u64::from(rustix::process::getuid().as_raw())
}

unsafe extern "C" fn get_current_comm(_: &mut RunEnv<'_>, to: u64, size: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much writable memory there.
    let to = unsafe { SharedBytes::from_raw(to, size as usize) };
    let comm = comm();
    let kept = comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(COMM)
        .min(to.len().saturating_sub(1));
    // SAFETY: as above.
    unsafe {
        to.part(0, kept).write(SharedBytes::from_slice(&comm[..kept]));
        to.part(kept, to.len() - kept).fill(0);
    }
    0
}

/// The name of the calling thread.
pub(super) fn comm() -> [u8; COMM] {
    let mut comm = [0; COMM];
    // SAFETY: `PR_GET_NAME` writes 16 bytes, which the array has.
    unsafe { libc::prctl(libc::PR_GET_NAME, comm.as_mut_ptr()) };
    comm
}

unsafe extern "C" fn get_current_cgroup_id(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.shared().identity.cgroups.last().copied().unwrap_or(0)
}

unsafe extern "C" fn get_current_ancestor_cgroup_id(
    env: &mut RunEnv<'_>,
    level: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    let level = usize::try_from(level as u32 as i32);
    let cgroups = &env.shared().identity.cgroups;
    level.ok().and_then(|level| cgroups.get(level)).copied().unwrap_or(0)
}

unsafe extern "C" fn send_signal(env: &mut RunEnv<'_>, signal: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let process = env.shared().identity.process as libc::pid_t;
    // SAFETY: `kill(2)` has no preconditions.
    send(signal as u32, |signal| unsafe { libc::kill(process, signal) }.into())
}

unsafe extern "C" fn send_signal_thread(env: &mut RunEnv<'_>, signal: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let process = env.shared().identity.process;
    // SAFETY: `tgkill(2)` has no preconditions.
    send(signal as u32, |signal| unsafe {
        libc::syscall(libc::SYS_tgkill, process, thread_id(), signal)
    })
}

fn send(signal: u32, send: impl FnOnce(libc::c_int) -> libc::c_long) -> u64 {
    if signal > LAST_SIGNAL {
        return returned(Err(EINVAL));
    }
    let sent = send(signal as libc::c_int);
    debug_assert_eq!(sent, 0, "a process may send itself any signal");
    0
}
