//! `bpf(2)` over a runtime of hitless: what callers write into `union bpf_attr` becomes typed calls, and their results what Linux
//! would have answered, errno by errno.
//!
//! - One [table](COMMANDS) lists the commands of Linux 6.12, and those that hitless has besides.
//! - Who calls is a [`Caller`]: where the attributes and what they point to lie, and whose descriptors are meant. [`Local`] is this
//!   process itself.
//! - What a call makes is a real descriptor of the caller's (`descriptors.rs`): `dup`, fork, exec and `SCM_RIGHTS` hand it on, and the
//!   object loses a user reference when its last copy is closed.
//!
//! The codec keeps no state but the descriptors and what Linux keeps that the runtime has no use for (loaded BTF). Every input is
//! untrusted: it is checked before anything is made, and a call that fails leaves nothing behind.
//!
//! # Examples
//! ```
//! use hitless::Runtime;
//! use hitless_syscall::{Bpf, Errno, Local};
//!
//! let bpf = Bpf::new(Runtime::default())?;
//! // SAFETY: the attributes point to memory of this function's own, or to nothing.
//! let caller = unsafe { Local::new() };
//! // BPF_MAP_CREATE of an array with elements of 8 bytes.
//! let attr: [u32; 4] = [2, 4, 8, 16];
//! let fd = bpf.call(&caller, 0, attr.as_ptr() as u64, size_of_val(&attr) as u32)?;
//! // BPF_MAP_FREEZE, and of something that is no map.
//! assert_eq!(bpf.call(&caller, 22, &raw const fd as u64, 4), Ok(0));
//! assert_eq!(bpf.call(&caller, 22, &raw const attr[0] as u64, 4), Err(Errno::INVAL));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attach;
mod attr;
mod btf;
mod caller;
mod commands;
mod descriptors;
mod ids;
mod info;
mod link;
mod local;
mod log;
mod map;
mod object;
mod program;
mod stats;
mod tracepoint;

use std::io;

use hitless::Runtime;

pub use caller::{Caller, Identity};
pub use commands::{COMMANDS, Command, Refused};
pub use link::DeviceHooks;
pub use local::{Local, hitless_bpf};
pub use rustix::io::Errno;

use attr::Attr;
use btf::Btfs;
use commands::How;
use descriptors::Descriptors;
use link::Links;
use program::Records;

/// `ENOTSUPP`, which user space has no name for.
pub(crate) const ENOTSUPP: Errno = Errno::from_raw_os_error(524);

/// `bpf(2)` of one runtime.
#[derive(Debug)]
pub struct Bpf {
    runtime: Runtime,
    descriptors: Descriptors,
    btfs: Btfs,
    programs: Records,
    links: Links,
}

impl Bpf {
    /// Offers a runtime, and begins to watch for descriptors that are closed.
    ///
    /// # Errors
    /// If there is no descriptor or no thread left to watch with.
    pub fn new(runtime: Runtime) -> io::Result<Bpf> {
        Ok(Bpf {
            runtime,
            descriptors: Descriptors::new()?,
            btfs: Btfs::default(),
            programs: Records::default(),
            links: Links::default(),
        })
    }

    /// The runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Says which hooks the number of a network device stands for. One that nothing is said of stands for the only hook for programs of
    /// the type in question.
    pub fn set_device(&self, index: u32, hooks: DeviceHooks) {
        self.links.set_device(index, hooks);
    }

    /// Does what `bpf(command, attr, size)` does, with attributes at an address of the caller's. Not to be called from a signal handler,
    /// nor in a child of the runtime's process.
    ///
    /// # Errors
    /// As Linux; the [table](COMMANDS) says what is refused here and why.
    pub fn call(&self, caller: &dyn Caller, command: u32, attr: u64, size: u32) -> Result<u32, Errno> {
        let attr = Attr::read(caller, attr, size)?;
        let command = commands::find(command).ok_or(Errno::INVAL)?;
        if !attr.is_zero_from(command.attr_end) {
            return Err(Errno::INVAL);
        }
        if command.looks_at_all {
            self.descriptors.reap();
        }
        let call = Call {
            bpf: self,
            caller,
            attr: &attr,
        };
        match command.how {
            How::Works(run) => run(&call),
            How::Refused(refused) => Err(refused.errno),
        }
    }
}

/// A call in progress.
pub(crate) struct Call<'a> {
    bpf: &'a Bpf,
    caller: &'a dyn Caller,
    attr: &'a Attr,
}
