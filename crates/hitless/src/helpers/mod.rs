//! The BPF helpers that the runtime has: a file for each subject, each with a list of its helpers.
//!
//! A helper is a function that compiled code calls by its address: it is given the environment of the run and the
//! registers `r1` to `r5`, and returns `r0`. What the verifier has proved of the arguments is true of them; where a helper
//! finds that it is not, the process ends ([`broken`]). Helpers run in the middle of a program, possibly in a signal
//! handler: they do not allocate, take no lock that the interrupted code may hold, and do not panic.

mod arguments;
mod callback;
mod checksum;
mod cookie;
mod dynptr;
mod errno;
mod events;
mod format;
pub(crate) mod kfuncs;
mod lock;
mod maps;
mod memory;
mod number;
mod objects;
mod packet;
mod print;
mod probe;
mod random;
mod ringbuf;
mod seq;
mod shared;
mod tail_call;
mod task;
mod task_storage;
mod text;
mod time;
mod timer;

pub(crate) use shared::Shared;
pub(crate) use time::now;

use std::ffi::c_void;
use std::mem;
use std::sync::LazyLock;

use hitless_jit::{Callee, HelperFn};
use hitless_verifier::tables::helpers;

use crate::env::RunEnv;

/// What a helper is: the environment of the run, then `r1` to `r5`; returns `r0`.
pub(crate) type HelperCode =
    for<'a, 'b> unsafe extern "C" fn(env: &'a mut RunEnv<'b>, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64;

/// A helper that the runtime has.
#[derive(Clone, Copy)]
pub(crate) struct Helper {
    /// Its number (`enum bpf_func_id`).
    pub(crate) id: u32,
    /// What it does.
    ///
    /// # Safety
    /// The arguments are what the verifier proves of those of this helper, in the program that the environment belongs to.
    pub(crate) call: HelperCode,
}

impl Helper {
    const fn new(id: u32, call: HelperCode) -> Helper {
        Helper { id, call }
    }

    fn function(self) -> HelperFn {
        // SAFETY: the two types differ in the first argument only: a reference there, an address here. Engines pass the
        // address of the environment that they run with, which is a `RunEnv` (`Services::of`), and use it for nothing else
        // meanwhile.
        unsafe {
            mem::transmute::<HelperCode, unsafe extern "C" fn(*mut c_void, u64, u64, u64, u64, u64) -> u64>(self.call)
        }
    }
}

/// All helpers, a list for each subject.
const LISTS: &[&[Helper]] = &[
    maps::HELPERS,
    memory::HELPERS,
    time::HELPERS,
    arguments::HELPERS,
    cookie::HELPERS,
    task::HELPERS,
    task_storage::HELPERS,
    random::HELPERS,
    lock::HELPERS,
    callback::HELPERS,
    tail_call::HELPERS,
    text::HELPERS,
    print::HELPERS,
    seq::HELPERS,
    checksum::HELPERS,
    ringbuf::HELPERS,
    dynptr::HELPERS,
    events::HELPERS,
    objects::HELPERS,
    timer::HELPERS,
    packet::LISTS[0],
    packet::LISTS[1],
    packet::LISTS[2],
    packet::LISTS[3],
    packet::LISTS[4],
    packet::LISTS[5],
    packet::LISTS[6],
];

/// The numbers of the helpers that the runtime has. A program that calls another one is refused at load, by its name.
pub(crate) static HELPERS: LazyLock<Vec<u32>> =
    LazyLock::new(|| LISTS.iter().copied().flatten().map(|helper| helper.id).collect());

fn by_id(id: u32) -> Option<Helper> {
    LISTS.iter().copied().flatten().find(|helper| helper.id == id).copied()
}

/// The helper with this number, as something to be called.
pub(crate) fn callee(id: u32) -> Option<Callee> {
    by_id(id).map(|helper| Callee::helper(helper.function()))
}

/// Ends the process: a helper was given what the verifier excludes.
#[cold]
pub(crate) fn broken(id: u32, reason: &str) -> ! {
    hitless_jit::defect(&format_args!("{}: {reason}", helpers::name(id).unwrap_or("a helper")))
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn every_helper_has_one_place() {
        let mut ids = HELPERS.clone();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), HELPERS.len());
        for id in ids {
            let proto = helpers::by_id(id).expect("a helper that the verifier knows");
            assert_eq!(proto.excluded, None, "{}", proto.name);
        }
    }
}
