//! Arguments and results of functions by their number, for programs that are not written for one function; and where the function
//! is, as far as the host says so.
//!
//! The context of programs at functions is the arguments in their order, 8 bytes each, and behind them the result
//! ([`Arguments`]). How many there are is known from the description of the function, with which the program was loaded.

use std::mem::offset_of;

use hitless_verifier::ProgramKind;
use hitless_verifier::tables::helpers::number;

use super::Helper;
use super::errno::{EINVAL, EOPNOTSUPP, returned};
use crate::context::{Arguments, MAX_ARGUMENTS, Registers};
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_get_func_arg"), get_func_arg),
    Helper::new(number("bpf_get_func_ret"), get_func_ret),
    Helper::new(number("bpf_get_func_arg_cnt"), get_func_arg_cnt),
    Helper::new(number("bpf_get_func_ip"), get_func_ip),
];

/// Writes the word of the context with this index to `to`.
///
/// # Safety
/// `context` is that of a program at a function, and there are 8 writable bytes at `to`.
unsafe fn copy(context: u64, index: usize, to: u64) {
    // SAFETY: the frames of such programs are `Arguments`.
    let words = unsafe { SharedBytes::from_raw(context, size_of::<Arguments>()) };
    // SAFETY: as for this function.
    let to = unsafe { SharedBytes::from_raw(to, 8) };
    // SAFETY: as above.
    unsafe { to.write(words.part(8 * index, 8)) };
}

unsafe extern "C" fn get_func_arg(env: &mut RunEnv<'_>, context: u64, index: u64, to: u64, _: u64, _: u64) -> u64 {
    // As in the kernel, whose parameter has 32 bits.
    let index = index as u32 as usize;
    if index >= env.program().arguments() {
        return returned(Err(EINVAL));
    }
    // SAFETY: the verifier proved both.
    unsafe { copy(context, index, to) };
    0
}

/// Of a function without a result it is what the host has put there, as in the kernel what is in the register. There is none at
/// entry, and none where arguments take up the whole context.
unsafe extern "C" fn get_func_ret(env: &mut RunEnv<'_>, context: u64, to: u64, _: u64, _: u64, _: u64) -> u64 {
    let program = env.program();
    let index = program.arguments();
    if program.context_kind() == ProgramKind::Fentry || index == MAX_ARGUMENTS {
        return returned(Err(EOPNOTSUPP));
    }
    // SAFETY: the verifier proved both.
    unsafe { copy(context, index, to) };
    0
}

unsafe extern "C" fn get_func_arg_cnt(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    env.program().arguments() as u64
}

/// Of kprobes, whose registers say it. Other functions of the host have names, no addresses; the loader refuses their programs.
unsafe extern "C" fn get_func_ip(_: &mut RunEnv<'_>, context: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved the context, which is that of a kprobe.
    let registers = unsafe { SharedBytes::from_raw(context, size_of::<Registers>()) };
    registers.part(offset_of!(Registers, rip), 8).load_word()
}
