//! This process as the caller, and the function by which C calls.

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::OnceLock;

use hitless::{Runtime, access};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::Bpf;
use crate::caller::{Caller, Identity};

/// This process: attributes lie in its memory, and name its descriptors.
#[derive(Debug)]
pub struct Local(());

impl Local {
    /// For calls on behalf of whoever chose the attributes.
    ///
    /// # Safety
    /// What attributes point to for results to be written there may be written, if it is memory: nobody relies on it not to change.
    #[must_use]
    pub const unsafe fn new() -> Local {
        Local(())
    }
}

impl Caller for Local {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        access::read(address, bytes).map_err(|_| Errno::FAULT)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        // SAFETY: by the word of whoever made this value.
        unsafe { access::write(address, bytes) }.map_err(|_| Errno::FAULT)
    }

    fn identify(&self, fd: u32) -> Result<Identity, Errno> {
        let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
        // SAFETY: the descriptor is used for one system call, which says so if it is not open. That whoever closes it meanwhile may open
        // something else instead does no harm: it is another object then, or none.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match sockopt::socket_cookie(fd) {
            Ok(cookie) => Ok(Identity(cookie)),
            Err(Errno::BADF) => Err(Errno::BADF),
            Err(_) => Err(Errno::INVAL),
        }
    }

    fn install(&self, fd: OwnedFd) -> Result<u32, Errno> {
        Ok(fd.into_raw_fd() as u32)
    }
}

/// `bpf(2)` of a runtime of this process's own, made with the first call: a result, or a negative errno.
///
/// `-EAGAIN` if there is no descriptor or no thread left to make it with.
///
/// # Safety
/// What the attributes point to for results to be written there may be written, if it is memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hitless_bpf(command: i32, attr: *mut std::ffi::c_void, size: u32) -> i64 {
    static BPF: OnceLock<Option<Bpf>> = OnceLock::new();
    let Some(bpf) = BPF.get_or_init(|| Bpf::new(Runtime::default()).ok()) else {
        return -i64::from(Errno::AGAIN.raw_os_error());
    };
    // SAFETY: by the caller's word.
    let caller = unsafe { Local::new() };
    match bpf.call(&caller, command as u32, attr as u64, size) {
        Ok(result) => result.into(),
        Err(errno) => -i64::from(errno.raw_os_error()),
    }
}
