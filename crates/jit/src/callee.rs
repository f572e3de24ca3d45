//! What calls of helpers and kernel functions become.

use std::ffi::c_void;
use std::{mem, ptr};

use hitless_isa::{Reg, Size};
use hitless_verifier::InsnFacts;

/// A BPF helper: the environment, then `r1` to `r5`; returns `r0`.
pub type HelperFn = unsafe extern "C" fn(env: *mut c_void, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64;

/// Calls a helper whose number is known only when the call happens: the environment, the number, `r1` to `r5`.
pub type DispatchFn =
    unsafe extern "C" fn(env: *mut c_void, id: u64, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64;

/// Any function that is called: as many arguments as its [`Arg`]s say matter.
pub(crate) type AnyFn = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64;

/// The most arguments that a function takes.
pub(crate) const MAX_ARGS: usize = 6;

/// An argument of a called function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// The address of the environment.
    Env,
    /// The eight bytes at this offset of the environment.
    EnvWord(u32),
    /// A number known at load.
    Const(u64),
    /// What a register holds.
    Reg(Reg),
    /// The integer of this size at the address that a register holds, zero-extended.
    Load(Reg, Size),
    /// The address of the bucket to which a key belongs: the argument with this number, which comes before this one. It is not
    /// loaded again, since others may write where it lies.
    Bucket(usize, HashTable),
}

impl Arg {
    /// The register that it is found by, if it is.
    pub(crate) fn reg(self) -> Option<Reg> {
        match self {
            Arg::Reg(reg) | Arg::Load(reg, _) => Some(reg),
            Arg::Env | Arg::EnvWord(_) | Arg::Const(_) | Arg::Bucket(..) => None,
        }
    }
}

/// Where the buckets of a hash table are, and which of them a key belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashTable {
    /// Address of the first bucket.
    pub base: u64,
    /// How many there are.
    pub buckets: u32,
    /// Bytes from one to the next: so many times two by two.
    pub shift: u32,
    /// What the hash is made with.
    pub seed: [u64; 3],
}

impl HashTable {
    /// The address of the bucket to which a key belongs: `base + (((hash * buckets) >> 64) << shift)`, where `hash` is
    /// `(x ^ x >> 32) * seed[2]`, and `x` is `(key ^ seed[0]) * seed[1]`.
    #[inline]
    #[must_use]
    pub const fn bucket(&self, key: u64) -> u64 {
        let [start, multiplier, finish] = self.seed;
        let hash = (key ^ start).wrapping_mul(multiplier);
        let hash = (hash ^ hash >> 32).wrapping_mul(finish);
        let number = (hash as u128 * self.buckets as u128) >> 64;
        self.base + ((number as u64) << self.shift)
    }
}

/// What a call becomes: a function, what it is given, and perhaps code that does the same without it.
#[derive(Clone, Debug)]
pub struct Callee {
    pub(crate) function: AnyFn,
    pub(crate) args: Vec<Arg>,
    pub(crate) inline: Option<Inline>,
}

/// Code in place of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inline {
    /// The number of the run's slot.
    Slot,
    /// The address of an element of an array, or 0 if the index, which is in the four bytes at `r2`, is not below `len`.
    Element(Elements),
    /// Copies the value at `r3` to an element, as the function does if `r4` is 0, the index, which is in the four bytes at `r2`, is
    /// below `len`, and the four bytes at `closed` are 0; else the function is called.
    Store {
        /// Where the elements are.
        elements: Elements,
        /// Bytes of a value: 1, 2, 4, or a multiple of 8.
        size: u32,
        /// An address.
        closed: u64,
    },
    /// The address of the next number of the `struct bpf_iter_num` at `r1`, which is the first of its two words, or 0 at the
    /// end, which is the second.
    NextNumber,
    /// Calls the function in `r2` with 0, 1, ... and `r3` up to `r1` times, until it returns something other than 0, as
    /// `bpf_loop` does. The function is what the program has in the register, if that is the same on every path.
    Loop,
}

/// The elements of an array, at `base + index * stride + slot * slot_stride`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elements {
    /// Address of the first element.
    pub base: u64,
    /// Bytes from one to the next.
    pub stride: u64,
    /// How many there are.
    pub len: u32,
    /// Bytes from the elements of one slot to those of the next; 0 if all slots share them.
    pub slot_stride: u64,
    /// The index, if it is always the same and that of an element.
    pub index: Option<u32>,
}

impl Callee {
    /// A helper, given the environment and all registers of arguments.
    #[must_use]
    pub fn helper(function: HelperFn) -> Callee {
        let args = [Arg::Env].into_iter().chain(ARGUMENTS.map(Arg::Reg)).collect();
        // SAFETY: the types differ in an address, which is a number here; both are passed alike. It is called with the
        // environment in this place.
        let function = unsafe { mem::transmute::<HelperFn, AnyFn>(function) };
        Callee {
            function,
            args,
            inline: None,
        }
    }

    /// Another function, and what it is given.
    ///
    /// # Panics
    /// If these are more than six arguments.
    ///
    /// # Safety
    /// The address is that of a function with the C calling convention that takes these arguments, each of 64 bits or less,
    /// and returns 64 bits.
    #[must_use]
    pub unsafe fn function(address: *const (), args: &[Arg]) -> Callee {
        assert!(args.len() <= MAX_ARGS, "{} arguments", args.len());
        Callee {
            // SAFETY: as for this function; what is not among the arguments the function does not look at.
            function: unsafe { mem::transmute::<*const (), AnyFn>(address) },
            args: args.to_vec(),
            inline: None,
        }
    }

    /// With code that does the same.
    #[must_use]
    pub fn inlined(self, inline: Inline) -> Callee {
        Callee {
            inline: Some(inline),
            ..self
        }
    }

    /// Only the first `count` registers of arguments matter.
    pub(crate) fn takes(mut self, count: usize) -> Callee {
        self.args.retain(|arg| arg.reg().is_none_or(|reg| reg.index() <= count));
        self
    }
}

impl PartialEq for Callee {
    fn eq(&self, other: &Callee) -> bool {
        ptr::fn_addr_eq(self.function, other.function) && self.args == other.args && self.inline == other.inline
    }
}

impl Eq for Callee {}

/// The registers of arguments.
pub(crate) const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// A call in a program.
#[derive(Clone, Copy, Debug)]
pub struct CallSite<'a> {
    /// Slot of the call.
    pub pc: usize,
    /// The number of the helper, or the BTF id of the kernel function.
    pub id: u32,
    /// What was proved of the call.
    pub facts: InsnFacts<'a>,
    /// Which variant is made.
    pub variant: crate::Variant,
}

/// Finds functions for the calls of a program.
pub trait Resolve: std::fmt::Debug {
    /// What a call of a helper becomes, or `None` if the runtime does not have the helper.
    ///
    /// That of `bpf_tail_call()` returns 0 if there is no program to go on with, else it has called
    /// [`Vm::tail_call`](crate::Vm::tail_call) and returns what that does.
    fn helper(&self, call: &CallSite<'_>) -> Option<Callee>;

    /// What a call of a kernel function becomes, or `None` if the runtime does not have the function.
    fn kfunc(&self, _call: &CallSite<'_>) -> Option<Callee> {
        None
    }

    /// The function for calls by number (`callx`), which no verified program makes.
    fn dispatch(&self) -> Option<DispatchFn> {
        None
    }
}
