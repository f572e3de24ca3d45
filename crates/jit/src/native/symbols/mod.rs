//! Names for compiled code, for tools that look at the process from outside: perf and debuggers. On request only.

mod debugger;
mod perf;

use std::ops::Range;

pub(super) use debugger::Registered;

/// Where the names of compiled functions are made known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Symbols {
    /// In `/tmp/perf-PID.map`, which `perf report` reads. Names stay there when code is freed.
    pub perf: bool,
    /// By the interface of gdb and lldb for code that is made at run time (`__jit_debug_register_code`).
    pub debugger: bool,
}

/// A function and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) addresses: Range<usize>,
}

/// Makes names known; what is returned takes them back, where that can be.
pub(super) fn publish(symbols: Symbols, functions: &[Symbol]) -> Option<Registered> {
    if symbols.perf {
        // Who asked for it sees that there is nothing.
        let _ = perf::append(functions);
    }
    symbols.debugger.then(|| Registered::new(functions)).flatten()
}
