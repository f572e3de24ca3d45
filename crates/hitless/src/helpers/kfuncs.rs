//! The functions of the kernel's that programs call by their names (kfuncs), as far as the runtime has them: open-coded iterators
//! of numbers and bits, dynptrs, and regions of RCU and preemption, which mean nothing beyond the verifier's rules, since all of
//! a run is such a region.
//!
//! They are called as helpers are. Their prototypes are in the verifier's table; the runtime's types have a function for each,
//! which programs are relocated against.

use hitless_jit::{Callee, Inline};
use hitless_verifier::tables::kfuncs;

use super::errno::{E2BIG, EFAULT, EINVAL, Errno, returned};
use super::{Helper, HelperCode, dynptr, memory, objects, probe};
use crate::env::RunEnv;
use crate::region::SharedBytes;

/// A kernel function that the runtime has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kfunc {
    name: &'static str,
    call: HelperCode,
}

const fn kfunc(name: &'static str, call: HelperCode) -> Kfunc {
    Kfunc { name, call }
}

const KFUNCS: &[Kfunc] = &[
    kfunc("bpf_iter_num_new", num_new),
    kfunc("bpf_iter_num_next", num_next),
    kfunc("bpf_iter_num_destroy", num_destroy),
    kfunc("bpf_iter_bits_new", bits_new),
    kfunc("bpf_iter_bits_next", bits_next),
    kfunc("bpf_iter_bits_destroy", nothing),
    kfunc("bpf_dynptr_adjust", dynptr::adjust),
    kfunc("bpf_dynptr_clone", dynptr::clone),
    kfunc("bpf_dynptr_copy", dynptr::copy),
    kfunc("bpf_dynptr_from_skb", dynptr::from_skb),
    kfunc("bpf_dynptr_from_xdp", dynptr::from_xdp),
    kfunc("bpf_dynptr_memset", dynptr::fill),
    kfunc("bpf_dynptr_slice", dynptr::slice),
    kfunc("bpf_dynptr_slice_rdwr", dynptr::slice_writable),
    kfunc("bpf_dynptr_is_null", dynptr::is_null),
    kfunc("bpf_dynptr_is_rdonly", dynptr::is_rdonly),
    kfunc("bpf_dynptr_size", dynptr::size),
    kfunc("bpf_list_back", objects::back),
    kfunc("bpf_list_front", objects::front),
    kfunc("bpf_list_pop_back", objects::pop_back),
    kfunc("bpf_list_pop_front", objects::pop_front),
    kfunc("bpf_list_push_back_impl", objects::push_back),
    kfunc("bpf_list_push_front_impl", objects::push_front),
    kfunc("bpf_obj_drop_impl", objects::release),
    kfunc("bpf_obj_new_impl", objects::new),
    kfunc("bpf_rbtree_add_impl", objects::tree_add),
    kfunc("bpf_rbtree_first", objects::tree_first),
    kfunc("bpf_rbtree_left", objects::tree_left),
    kfunc("bpf_rbtree_remove", objects::tree_remove),
    kfunc("bpf_rbtree_right", objects::tree_right),
    kfunc("bpf_rbtree_root", objects::tree_root),
    kfunc("bpf_refcount_acquire_impl", objects::acquire),
    kfunc("bpf_rdonly_cast", itself),
    kfunc("bpf_copy_from_user_str", memory::copy_from_user_str),
    kfunc("bpf_rcu_read_lock", nothing),
    kfunc("bpf_rcu_read_unlock", nothing),
    kfunc("bpf_preempt_disable", nothing),
    kfunc("bpf_preempt_enable", nothing),
];

/// The kernel function with this name.
pub(crate) fn by_name(name: &str) -> Option<Kfunc> {
    KFUNCS.iter().find(|kfunc| kfunc.name == name).copied()
}

/// The prototypes of all that the runtime has.
pub(crate) fn prototypes() -> impl Iterator<Item = &'static kfuncs::Kfunc> {
    KFUNCS.iter().filter_map(|kfunc| kfuncs::by_name(kfunc.name))
}

impl Kfunc {
    /// The function, as something to be called.
    pub(crate) fn callee(self) -> Callee {
        // The number means nothing: it is not a helper's.
        let callee = Callee::helper(Helper::new(0, self.call).function());
        match self.name {
            "bpf_iter_num_next" => callee.inlined(Inline::NextNumber),
            _ => callee,
        }
    }
}

unsafe extern "C" fn nothing(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    0
}

/// `bpf_rdonly_cast()`: what the pointer points to is for the verifier to know.
unsafe extern "C" fn itself(_: &mut RunEnv<'_>, object: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    object
}

/// The most turns of a loop (`BPF_MAX_LOOPS`).
const MOST_TURNS: i64 = 1 << 23;

/// Loads the two numbers of an iterator.
///
/// # Safety
/// They are readable at the address.
unsafe fn load(at: u64) -> [i32; 2] {
    let mut bytes = [0; 8];
    // SAFETY: as for this function.
    unsafe { SharedBytes::from_raw(at, 8) }.read(&mut bytes);
    let [a, b, c, d, e, f, g, h] = bytes;
    [i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])]
}

/// Stores them.
///
/// # Safety
/// They may be written at the address.
unsafe fn store(at: u64, numbers: [i32; 2]) {
    for (at, number) in (at..).step_by(4).zip(numbers) {
        // SAFETY: as for this function.
        unsafe { SharedBytes::from_raw(at, 4).write(SharedBytes::from_slice(&number.to_ne_bytes())) };
    }
}

/// The iterator has the number before the next one, and the one behind the last.
unsafe extern "C" fn num_new(_: &mut RunEnv<'_>, iterator: u64, start: u64, end: u64, _: u64, _: u64) -> u64 {
    let [start, end] = [start, end].map(|number| number as u32 as i32);
    let count = i64::from(end) - i64::from(start);
    let (numbers, result) = match count {
        ..0 => ([0, 0], Err(EINVAL)),
        _ if count > MOST_TURNS => ([0, 0], Err(E2BIG)),
        _ => ([start.wrapping_sub(1), end], Ok(0)),
    };
    // SAFETY: the verifier proved a place for an iterator.
    unsafe { store(iterator, numbers) };
    returned(result)
}

unsafe extern "C" fn num_next(_: &mut RunEnv<'_>, iterator: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved an iterator.
    let [before, end] = unsafe { load(iterator) };
    let next = before.wrapping_add(1);
    let there = next < end;
    // SAFETY: as above.
    unsafe { store(iterator, if there { [next, end] } else { [0, 0] }) };
    if there { iterator } else { 0 }
}

unsafe extern "C" fn num_destroy(_: &mut RunEnv<'_>, iterator: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved an iterator.
    unsafe { store(iterator, [0, 0]) };
    0
}

/// The most words of bits (`BITS_ITER_NR_WORDS_MAX`).
const MOST_WORDS: u32 = 511;
/// Where the number of bits and the latest one found are, behind a word.
const BITS: u64 = 8;

/// An iterator of one word has a copy of it; one of more has their address, since there is nowhere to copy them to: what is
/// written there while it goes on, it sees.
unsafe extern "C" fn bits_new(_: &mut RunEnv<'_>, iterator: u64, from: u64, words: u64, _: u64, _: u64) -> u64 {
    let words = words as u32;
    let result = check_words(from, words);
    let word = match (words, result) {
        (1, Ok(first)) => first,
        _ => from,
    };
    let bits = if result.is_ok() { words as i32 * 64 } else { 0 };
    // SAFETY: the verifier proved a place for an iterator.
    unsafe {
        SharedBytes::from_raw(iterator, 8).write(SharedBytes::from_slice(&word.to_ne_bytes()));
        store(iterator + BITS, [bits, -1]);
    }
    returned(result.map(|_| 0))
}

/// Whether the words can be read; the first of them.
fn check_words(from: u64, words: u32) -> Result<u64, Errno> {
    if from == 0 || words == 0 {
        return Err(EINVAL);
    }
    if words > MOST_WORDS {
        return Err(E2BIG);
    }
    let mut word = [0; 8];
    for index in (0..u64::from(words)).rev() {
        probe::read(from.wrapping_add(8 * index), &mut word).map_err(|_| EFAULT)?;
    }
    Ok(u64::from_ne_bytes(word))
}

unsafe extern "C" fn bits_next(_: &mut RunEnv<'_>, iterator: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved an iterator.
    let ([bits, latest], first) = unsafe {
        let [low, high] = load(iterator).map(|half| u64::from(half.cast_unsigned()));
        (load(iterator + BITS), low | high << 32)
    };
    if latest >= bits {
        return 0;
    }
    let next = (latest + 1..bits).find(|bit| {
        let word = if bits == 64 { first } else { word_of(first, *bit) };
        word >> (bit % 64) & 1 != 0
    });
    // SAFETY: as above.
    unsafe { store(iterator + BITS, [bits, next.unwrap_or(bits)]) };
    next.map_or(0, |_| iterator + BITS + 4)
}

/// The word that a bit is in; 0 if it cannot be read any more.
fn word_of(from: u64, bit: i32) -> u64 {
    let mut word = [0; 8];
    let read = probe::read(from.wrapping_add(bit as u64 / 64 * 8), &mut word);
    if read.is_ok() { u64::from_ne_bytes(word) } else { 0 }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_known() {
        assert_eq!(prototypes().count(), KFUNCS.len());
        assert!(prototypes().all(|kfunc| kfunc.excluded.is_none()));
        for kfunc in KFUNCS {
            assert!(
                KFUNCS.iter().filter(|other| other.name == kfunc.name).count() == 1,
                "{}",
                kfunc.name
            );
        }
    }
}
