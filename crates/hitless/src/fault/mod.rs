//! Reading memory that may not be there, at the cost of a load.
//!
//! Programs read through pointers that nobody vouches for: `bpf_probe_read_kernel()` and its like, and loads from objects
//! ([`Region::Object`](hitless_verifier::Region)). These reads are made by a few routines in assembly ([`arch`]), which touch
//! nothing but their arguments and have no frame. If one faults, the handler of `SIGSEGV` and `SIGBUS` that [`install`]s
//! here finds its program counter among theirs and lets it go on at a second place, which returns that there was nothing.
//! The host sees no signal.
//!
//! Any other fault is passed on to the handler that the host had before, or, if it had none, happens again without this one, so that
//! the process ends as it would have. The handler is async-signal-safe: it compares addresses, and reads what was written
//! before it was installed. A host that installs a handler of its own later has to pass on what is not its own, as is usual; and a
//! thread that blocks these two signals must not run programs that read bad addresses, since Linux then ends the process.

#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), path = "routines.rs")]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), path = "portable.rs")]
mod arch;

pub mod access;

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::{Once, OnceLock};

use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

pub(crate) use arch::{LOADS, copy};

/// The signals of a bad address.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What the host had for each of them.
static HOST: [OnceLock<sigaction>; 2] = [const { OnceLock::new() }; 2];

/// Installs the handler, once for each process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (signal, host) in SIGNALS.into_iter().zip(&HOST) {
            let mut before = MaybeUninit::<sigaction>::zeroed();
            // SAFETY: asks for the action of a signal that exists, into room for one.
            if unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) } != 0 {
                continue;
            }
            // SAFETY: filled in by the call.
            let before = host.get_or_init(|| unsafe { before.assume_init() });
            let mut ours = *before;
            ours.sa_sigaction = handle as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            // SAFETY: the handler has the signature that the flags ask for, and is async-signal-safe (see the module).
            unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) };
        }
    });
}

extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO` the kernel passes the interrupted context, which is the handler's to change.
    let resumed = unsafe { arch::resume(&mut *context.cast::<ucontext_t>()) };
    if !resumed {
        pass_on(signal, info, context);
    }
}

/// Does what would have happened without this handler.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let known = SIGNALS.iter().position(|known| *known == signal);
    let host = known.and_then(|index| HOST[index].get());
    match host {
        Some(host) if host.sa_sigaction != libc::SIG_DFL && host.sa_sigaction != libc::SIG_IGN => {
            if host.sa_flags & libc::SA_SIGINFO != 0 {
                type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
                // SAFETY: the host's flags say that its handler has this signature.
                let handler = unsafe { mem::transmute::<usize, Handler>(host.sa_sigaction) };
                handler(signal, info, context);
            } else {
                // SAFETY: as above.
                let handler = unsafe { mem::transmute::<usize, extern "C" fn(c_int)>(host.sa_sigaction) };
                handler(signal);
            }
        }
        // A fault ends the process, ignored or not, when the instruction is tried again; a signal that was sent comes again.
        _ => {
            // SAFETY: the default action of the signal that is being handled; `raise` is async-signal-safe.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
        }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    /// Addresses that nothing is mapped at, some of which no address could be.
    const BAD: [u64; 5] = [0, 8, 1 << 46, 0xdead_beef_0000_0000, u64::MAX - 3];

    #[test]
    fn loads_of_what_is_not_there_yield_zero() {
        install();
        let value = 0x8182_8384_8586_8788u64;
        let at = &raw const value as u64;
        let expected = [0x88, 0x8788, 0x8586_8788, value];
        for (load, expected) in LOADS.into_iter().zip(expected) {
            // SAFETY: takes any address.
            assert_eq!(unsafe { load(at) }, expected);
            for bad in BAD {
                // SAFETY: as above.
                assert_eq!(unsafe { load(bad) }, 0, "{bad:#x}");
            }
        }
    }

    #[test]
    fn copies_of_what_is_not_there_fail() {
        install();
        let from: Vec<u8> = (0..100).collect();
        for len in 0..100 {
            let mut to = [0xff; 101];
            // SAFETY: `to` has so many bytes.
            assert!(unsafe { copy(to.as_mut_ptr() as u64, from.as_ptr() as u64, len) });
            assert_eq!((&to[..len], to[len]), (&from[..len], 0xff));
            for bad in BAD {
                // SAFETY: as above.
                let copied = unsafe { copy(to.as_mut_ptr() as u64, bad, len) };
                assert_eq!(copied, len == 0, "{len} bytes at {bad:#x}");
            }
        }
    }

    /// A fault elsewhere goes to the host's handler, with the same arguments.
    #[test]
    fn other_faults_are_passed_on() {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static CALLED: AtomicU32 = AtomicU32::new(0);
        extern "C" fn host(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
            assert!(signal == libc::SIGBUS && !context.is_null());
            // SAFETY: given by the kernel.
            assert_eq!(unsafe { (*info).si_signo }, libc::SIGBUS);
            CALLED.fetch_add(1, Relaxed);
        }
        // SAFETY: the test's process is its own: a handler that counts, installed before ours.
        unsafe {
            let mut action: sigaction = mem::zeroed();
            action.sa_sigaction = host as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
        }
        install();
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(libc::SIGBUS) };
        assert_eq!(CALLED.load(Relaxed), 1);
    }
}
