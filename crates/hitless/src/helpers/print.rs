//! Helpers that print: into the buffer of the runtime (`bpf_trace_printk`, `bpf_trace_vprintk`), or into memory
//! (`bpf_snprintf`).

use hitless_verifier::tables::helpers::number;
use rustix::time::ClockId;

use super::errno::{E2BIG, EINVAL, Errno, returned};
use super::format::{Output, Staged};
use super::{Helper, task, time};
use crate::env::RunEnv;
use crate::region::SharedBytes;
use crate::run::thread_id;
use crate::trace_pipe::LONGEST;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_trace_printk"), trace_printk),
    Helper::new(number("bpf_trace_vprintk"), trace_vprintk),
    Helper::new(number("bpf_snprintf"), snprintf),
];

/// The most arguments in an array (`MAX_BPRINTF_VARARGS`).
const MOST_ARGS: usize = 12;

/// The longest format that is not constant, with the zero at its end. Linux has no such limit; but what is printed is cut off after as
/// many bytes.
const LONGEST_FORMAT: usize = LONGEST;

unsafe extern "C" fn trace_printk(env: &mut RunEnv<'_>, format: u64, size: u64, a: u64, b: u64, c: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let format = unsafe { SharedBytes::from_raw(format, size as usize) };
    returned(trace(env, format, &[a, b, c]))
}

unsafe extern "C" fn trace_vprintk(env: &mut RunEnv<'_>, format: u64, size: u64, args: u64, len: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let (format, args) = unsafe {
        (
            SharedBytes::from_raw(format, size as usize),
            SharedBytes::from_raw(args, len as usize),
        )
    };
    returned(Args::read(args).and_then(|args| trace(env, format, args.as_slice())))
}

fn trace(env: &RunEnv<'_>, format: SharedBytes<'_>, args: &[u64]) -> Result<u64, Errno> {
    let format = Format::copy_of(format)?;
    let format = format.text();
    let staged = Staged::new(format, args)?;
    let mut text = [0; LONGEST];
    let mut out = Output::to_slice(&mut text);
    let shared = env.shared();
    staged.print(format, shared, &mut out);
    let len = out.finish();
    let text = &text[..len.min(LONGEST - 1)];
    shared.trace.print(
        env.run(),
        thread_id(),
        &task::comm(),
        time::now(ClockId::Monotonic),
        text,
    );
    Ok(len as u64)
}

unsafe extern "C" fn snprintf(env: &mut RunEnv<'_>, to: u64, size: u64, format: u64, args: u64, len: u64) -> u64 {
    // SAFETY: the verifier proved so much readable and writable memory.
    let (to, args) = unsafe {
        (
            SharedBytes::from_raw(to, size as usize),
            SharedBytes::from_raw(args, len as usize),
        )
    };
    // SAFETY: the verifier proved a text with a zero at its end, in a map that nobody may change any more.
    let format = unsafe { std::ffi::CStr::from_ptr(format as *const std::ffi::c_char) }.to_bytes();
    let printed = Args::read(args).and_then(|args| {
        let staged = Staged::new(format, args.as_slice())?;
        // SAFETY: writable, as above.
        let mut out = unsafe { Output::to_shared(to) };
        staged.print(format, env.shared(), &mut out);
        Ok(out.finish() as u64 + 1)
    });
    returned(printed)
}

/// A copy of a format that is not constant.
pub(super) struct Format {
    bytes: [u8; LONGEST_FORMAT],
    len: usize,
}

impl Format {
    pub(super) fn copy_of(format: SharedBytes<'_>) -> Result<Format, Errno> {
        let mut bytes = [0; LONGEST_FORMAT];
        let room = bytes.len().min(format.len());
        format.part(0, room).read(&mut bytes[..room]);
        let end = bytes[..room].iter().position(|byte| *byte == 0);
        let len = end.ok_or(if room < format.len() { E2BIG } else { EINVAL })?;
        Ok(Format { bytes, len })
    }

    /// Without the zero at its end.
    pub(super) fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Arguments in an array.
pub(super) struct Args {
    numbers: [u64; MOST_ARGS],
    count: usize,
}

impl Args {
    pub(super) fn read(bytes: SharedBytes<'_>) -> Result<Args, Errno> {
        let count = bytes.len() / 8;
        if !bytes.len().is_multiple_of(8) || count > MOST_ARGS || (count > 0 && bytes.address() == 0) {
            return Err(EINVAL);
        }
        let mut numbers = [0; MOST_ARGS];
        for (i, number) in numbers[..count].iter_mut().enumerate() {
            let mut word = [0; 8];
            bytes.part(8 * i, 8).read(&mut word);
            *number = u64::from_ne_bytes(word);
        }
        Ok(Args { numbers, count })
    }

    pub(super) fn as_slice(&self) -> &[u64] {
        &self.numbers[..self.count]
    }
}
