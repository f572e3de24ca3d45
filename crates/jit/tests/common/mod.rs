//! Programs "verified" by decree, and an environment that takes notes.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::Arc;

use hitless_isa::{CallTarget, Imm64, Insn, Instruction, asm, decode};
use hitless_jit::interp::Interpreter;
use hitless_jit::native::{self, Compiler};
use hitless_jit::{
    CallSite, Callee, Code, DispatchFn, Engine, Entry, Env, HelperFn, Image, Inline, LowerInput, ProbeFn, Resolve,
    Services, Trap, Variant, Vm, lower,
};
use hitless_verifier::{ContextFacts, Facts, Region, Stats, Subprog, Verified, tables::helpers};

/// Memory that the environment vouches for.
pub(crate) const MEMORY: Region = Region::ContextMemory { field: 0 };

pub(crate) fn assemble(text: &str) -> Vec<Insn> {
    asm::assemble(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

/// A program of which nothing is proved but that it may run, and access the stack and the environment's memory.
pub(crate) fn decreed(insns: Vec<Insn>) -> Verified {
    let mut starts = BTreeSet::from([0]);
    let mut facts = Facts::new(insns.len());
    let mut pc = 0;
    while pc < insns.len() {
        let instruction = decode(&insns, pc).expect("an instruction");
        if let Instruction::Call(CallTarget::Subprog(off))
        | Instruction::LoadImm64 {
            imm: Imm64::Func(off), ..
        } = instruction
        {
            starts.insert((pc + 1).checked_add_signed(off as isize).expect("a target"));
        }
        facts.set_reachable(pc, true);
        facts.set_access(pc, &[Region::Stack, MEMORY]);
        pc += instruction.slots();
    }
    let ends = starts.iter().skip(1).copied().chain([insns.len()]);
    let subprogs = starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| Subprog {
            start,
            end,
            stack_depth: 512,
            changes_packet: false,
            clear_stack: false,
        })
        .collect();
    Verified {
        insns,
        facts,
        subprogs,
        call_depth: 1,
        combined_stack: 512,
        maps_updated: BTreeSet::new(),
        maps_stored: BTreeSet::new(),
        inner_maps_updated: BTreeSet::new(),
        inner_maps_stored: BTreeSet::new(),
        context_stored: BTreeSet::new(),
        extents: Vec::new(),
        stats: Stats::default(),
    }
}

pub(crate) fn no_context() -> ContextFacts {
    ContextFacts {
        name: "none".to_owned(),
        size: 0,
        fields: Vec::new(),
        return_range: None,
        packet_writable: false,
        legacy_packet_access: false,
        sleepable: false,
        returns_nothing: false,
        writable: Vec::new(),
    }
}

pub(crate) fn lowered(verified: &Verified, variant: Variant) -> Image {
    lower(LowerInput {
        name: "test",
        verified,
        context: &no_context(),
        maps: &[],
        arguments: 1,
        replaced: &[],
        variant,
        resolve: &Helpers,
        services: SERVICES,
    })
    .expect("lowers")
}

/// The functions of [`Environment`].
pub(crate) const SERVICES: Services = Services::of::<Environment>();

pub(crate) fn compiled(image: Image) -> Box<dyn Code> {
    Interpreter::default().compile(Arc::new(image)).expect("compiles")
}

/// Checks that code for AArch64 can be made of an image; what it does is not looked at.
#[track_caller]
pub(crate) fn compiles_for_aarch64(image: &Image) {
    let code = native::code_for("aarch64-unknown-linux-gnu", image, 0x5555_0000_0000).expect("compiles");
    assert!(!code.is_empty());
}

/// Every engine, with its name.
pub(crate) fn engines() -> [(&'static str, Box<dyn Engine>); 2] {
    [
        ("interpreter", Box::new(Interpreter::default())),
        (
            "compiler",
            Box::new(Compiler::new().expect("a compiler for this processor")),
        ),
    ]
}

/// Helpers that return their number plus their first argument, and one that calls back.
#[derive(Debug)]
pub(crate) struct Helpers;

impl Helpers {
    /// Calls the function in its first argument with each number below its third, and its second; returns the sum of what
    /// it returns.
    pub(crate) const CALLS_BACK: u32 = 400;
}

/// The helpers by these numbers.
macro_rules! numbered {
    ($id:expr => $($number:literal)*) => {
        match $id {
            $($number => Some(numbered::<$number> as HelperFn),)*
            Helpers::CALLS_BACK => Some(call_back as HelperFn),
            #[cfg(target_arch = "x86_64")]
            304 => Some(unwind::frames as HelperFn),
            helpers::LOOP => Some(bpf_loop as HelperFn),
            helpers::TAIL_CALL => Some(tail_call as HelperFn),
            helpers::GET_SMP_PROCESSOR_ID => Some(slot as HelperFn),
            _ => None,
        }
    };
}

fn by_id(id: u32) -> Option<HelperFn> {
    numbered!(id => 2 3 5 93 94 112 300 301 302 303)
}

impl Resolve for Helpers {
    fn helper(&self, call: &CallSite<'_>) -> Option<Callee> {
        let callee = Callee::helper(by_id(call.id)?);
        Some(match call.id {
            helpers::LOOP => callee.inlined(Inline::Loop),
            helpers::GET_SMP_PROCESSOR_ID => callee.inlined(Inline::Slot),
            _ => callee,
        })
    }

    fn kfunc(&self, call: &CallSite<'_>) -> Option<Callee> {
        self.helper(call)
    }

    fn dispatch(&self) -> Option<DispatchFn> {
        Some(dispatch)
    }
}

unsafe extern "C" fn numbered<const ID: u32>(env: *mut c_void, r1: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: engines pass the environment that they run with.
    let env = unsafe { &mut *env.cast::<Environment>() };
    env.notes.push(format!("helper {ID}"));
    r1.wrapping_add(ID.into())
}

unsafe extern "C" fn call_back(env: *mut c_void, func: u64, context: u64, count: u64, _: u64, _: u64) -> u64 {
    let turn = |turn| {
        // SAFETY: the tests' programs pass functions of two arguments.
        unsafe { Vm::callback(env.cast(), func, [turn, context, 0, 0, 0]) }
    };
    (0..count).map(turn).fold(0, u64::wrapping_add)
}

unsafe extern "C" fn bpf_loop(env: *mut c_void, count: u64, func: u64, context: u64, flags: u64, _: u64) -> u64 {
    if flags != 0 {
        return -22i64 as u64;
    }
    if count as u32 > 1 << 23 {
        return -7i64 as u64;
    }
    for turn in 0..u64::from(count as u32) {
        // SAFETY: the tests' programs pass functions of two arguments.
        if unsafe { Vm::callback(env.cast(), func, [turn, context, 0, 0, 0]) } != 0 {
            return turn + 1;
        }
    }
    u64::from(count as u32)
}

unsafe extern "C" fn tail_call(env: *mut c_void, ctx: u64, _: u64, index: u64, _: u64, _: u64) -> u64 {
    // SAFETY: engines pass the environment that they run with.
    let env = unsafe { &mut *env.cast::<Environment>() };
    env.notes.push(format!("tail call {index} of {:?}", env.vm.owner()));
    env.frames.push(&raw const index as usize);
    match env.programs.get(index as usize) {
        Some(program) => env.vm.tail_call(*program, ctx, [index as usize; 2]),
        None => 0,
    }
}

unsafe extern "C" fn slot(env: *mut c_void, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: engines pass the environment that they run with.
    u64::from(unsafe { &*env.cast::<Environment>() }.vm.slot())
}

/// Helper 304, called with the frame pointer of its caller.
#[cfg(target_arch = "x86_64")]
mod unwind {
    use std::ffi::c_void;

    // Rust uses the register for other things, unless it is told to keep frame pointers.
    std::arch::global_asm!(
        ".globl hitless_test_frames",
        "hitless_test_frames:",
        "    mov rsi, rbp",
        "    mov rdx, [rsp]",
        "    jmp {note}",
        note = sym note,
    );

    unsafe extern "C" {
        #[link_name = "hitless_test_frames"]
        pub(super) fn frames(env: *mut c_void, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64;
    }

    /// Notes where this, and the two functions around it, return to.
    unsafe extern "C" fn note(env: *mut c_void, frame: *const [usize; 2], returns: usize) -> u64 {
        // SAFETY: engines pass the environment that they run with; a frame begins with the frame pointer before it and the
        // address that it returns to.
        unsafe {
            let [outer, in_main] = *frame;
            let [_, in_host] = *(outer as *const [usize; 2]);
            let env = &mut *env.cast::<super::Environment>();
            env.frames.extend([returns, in_main, in_host]);
        }
        304
    }
}

unsafe extern "C" fn dispatch(env: *mut c_void, id: u64, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    let function = by_id(id as u32).expect("a helper of the tests");
    // SAFETY: as for this function.
    unsafe { function(env, r1, r2, r3, r4, r5) }
}

/// Knows one stretch of memory, and takes notes.
#[repr(C)]
pub(crate) struct Environment {
    pub(crate) vm: Vm,
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) read_only: bool,
    pub(crate) notes: Vec<String>,
    /// Where on the stack tail calls were made; where functions return to.
    pub(crate) frames: Vec<usize>,
    /// What tail calls go to.
    pub(crate) programs: Vec<Entry>,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            vm: Vm::new(0, [0; 2]),
            start: 0,
            len: 0,
            read_only: false,
            notes: Vec::new(),
            frames: Vec::new(),
            programs: Vec::new(),
        }
    }
}

impl Environment {
    /// Vouches for these bytes, which the caller leaves alone while programs run.
    pub(crate) fn of(memory: &mut [u8]) -> Environment {
        let start = if memory.is_empty() {
            0
        } else {
            memory.as_mut_ptr().expose_provenance() as u64
        };
        Environment {
            start,
            len: memory.len(),
            ..Environment::default()
        }
    }
}

// SAFETY: the type is `repr(C)`, and a `Vm` is its first field.
unsafe impl Env for Environment {
    const PROBES: [ProbeFn; 4] = [probe::<1>, probe::<2>, probe::<4>, probe::<8>];

    /// The packet is the memory.
    fn load_packet(&mut self, off: i32, size: u32) -> Option<u32> {
        let end = usize::try_from(off).ok()?.checked_add(size as usize)?;
        if end > self.len {
            return None;
        }
        // SAFETY: memory that the environment vouches for, which no program writes meanwhile.
        let at = |i| unsafe { *std::ptr::with_exposed_provenance::<u8>(self.start as usize + i) };
        Some((end - size as usize..end).fold(0, |value, i| value << 8 | u32::from(at(i))))
    }

    fn contains(&self, region: Region, addr: u64, len: usize, write: bool) -> bool {
        let off = addr.wrapping_sub(self.start);
        let inside = off.checked_add(len as u64).is_some_and(|end| end <= self.len as u64);
        let known = matches!(region, MEMORY | Region::MapValue { map: 0 });
        known && inside && !(write && self.read_only)
    }

    fn trace_update(&mut self) {
        self.notes.push("update".to_owned());
    }

    fn trace_delete(&mut self) {
        self.notes.push("delete".to_owned());
    }

    fn register_pointer(&mut self, addr: u64) {
        self.notes
            .push(format!("pointer {:+}", addr.wrapping_sub(self.start).cast_signed()));
    }

    fn flush_pointers(&mut self) {
        self.notes.push("flush".to_owned());
    }
}

/// What there is at an even address: its bytes count up; at others there is nothing.
unsafe extern "C" fn probe<const LEN: u64>(addr: u64) -> u64 {
    match addr % 2 {
        0 => (0..LEN).fold(0, |value, i| value | ((addr + i) & 0xff) << (8 * i)),
        _ => 0,
    }
}

/// Runs code with the environment's memory as the context.
pub(crate) fn run(code: &dyn Code, env: &mut Environment) -> Result<u64, Trap> {
    let ctx = std::ptr::with_exposed_provenance_mut(env.start as usize);
    env.vm = Vm::new(3, [0; 2]);
    // SAFETY: the environment vouches only for memory that its maker leaves alone, and the context is that memory.
    let result = unsafe { code.entry().run(std::ptr::from_mut(env).cast(), ctx) };
    env.vm.take_trap().map_or(Ok(result), Err)
}
