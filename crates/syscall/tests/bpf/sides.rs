//! The same calls of `bpf(2)` on hitless and on the running kernel: what they return, and what they write.

use hitless::{Options, Runtime};
use hitless_syscall::{Bpf, Local};

/// Attributes with room for a tail, by offset.
#[repr(C, align(8))]
#[derive(Clone)]
pub struct Attr(pub [u8; 256]);

impl Attr {
    pub fn new() -> Attr {
        Attr([0; 256])
    }

    pub fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub fn u64(mut self, at: usize, value: u64) -> Attr {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub fn get_u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
}

/// Who answers.
pub enum Side {
    Hitless(Box<Bpf>, Local),
    Linux,
}

/// How many CPUs there may ever be: as many values an element of a per-CPU map has.
pub fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok());
    last.map_or(1, |last: usize| last + 1)
}

impl Side {
    pub fn hitless() -> Side {
        let runtime = Runtime::new(Options {
            slots: Some(possible_cpus()),
            ..Options::default()
        });
        let bpf = Bpf::new(runtime).expect("there are descriptors left");
        // SAFETY: tests point to memory of their own that results may be written to, or to none.
        Side::Hitless(Box::new(bpf), unsafe { Local::new() })
    }

    /// The running kernel, if it makes maps for this process; else says why not.
    pub fn linux() -> Option<Side> {
        let made = Side::Linux.call(0, &mut Attr::new().u32(0, 2).u32(4, 4).u32(8, 4).u32(12, 1), 72);
        if made < 0 {
            eprintln!("skipped: bpf(2) makes no maps here (errno {})", -made);
            return None;
        }
        Side::close(made);
        Some(Side::Linux)
    }

    /// Calls with the first `size` bytes of attributes: a result or a negative errno.
    pub fn call(&self, command: u32, attr: &mut Attr, size: u32) -> i64 {
        self.call_at(command, attr.0.as_mut_ptr() as u64, size)
    }

    pub fn call_at(&self, command: u32, attr: u64, size: u32) -> i64 {
        match self {
            Side::Hitless(bpf, local) => match bpf.call(local, command, attr, size) {
                Ok(result) => result.into(),
                Err(errno) => -i64::from(errno.raw_os_error()),
            },
            Side::Linux => {
                // SAFETY: as for the other side.
                let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) };
                if result < 0 {
                    -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
                } else {
                    result
                }
            }
        }
    }

    pub fn bpf(&self) -> &Bpf {
        match self {
            Side::Hitless(bpf, _) => bpf,
            Side::Linux => unreachable!("a test of hitless alone"),
        }
    }

    pub fn close(fd: i64) {
        // SAFETY: a descriptor that a call has opened for this test.
        unsafe { libc::close(fd as i32) };
    }

    pub fn name(&self) -> &'static str {
        match self {
            Side::Hitless(..) => "hitless",
            Side::Linux => "Linux",
        }
    }
}
