//! Executable memory: the compiled functions of one program, laid out and linked. The compiler's unsafe code.

use std::ffi::c_void;
use std::mem;
use std::ops::Range;
use std::ptr;

use cranelift_codegen::binemit::Reloc;
use memmap2::{Mmap, MmapMut};

use super::symbols::{self, Registered, Symbol, Symbols};
use super::{calls, codegen};
use crate::runtime::EntryFn;
use crate::{Code, Entry, Function, Vm};

/// Functions begin at multiples of this.
const ALIGNMENT: usize = 8;

/// Bytes that a processor fetches at once, or keeps in one piece; loops longer than two are not laid out by this.
const LINE: usize = 64;

/// A program as native code. Its pages were writable before they became executable, and never are again.
pub(super) struct NativeCode {
    /// What debuggers know of it; taken back before the pages go.
    _registered: Option<Registered>,
    pages: Mmap,
    /// Where each subprogram begins.
    starts: Box<[usize]>,
    /// Whether the main program may end with a tail call.
    tail_calls: bool,
}

/// Why code could not be made executable.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// There is no memory for it.
    #[error("no executable memory: {0}")]
    Memory(#[from] std::io::Error),
    /// The code generator asks for something that its settings exclude.
    #[error("a relocation of kind {0:?}")]
    Relocation(Reloc),
    /// A call goes to a function that is not there, or too far away.
    #[error("a call that cannot be linked")]
    Target,
}

impl NativeCode {
    /// Lays out functions, the main program first, and links their calls.
    pub(super) fn new(name: &str, functions: &[codegen::Function], symbols: Symbols) -> Result<NativeCode, LinkError> {
        let mut starts = Vec::with_capacity(functions.len());
        let mut len = 0usize;
        for function in functions {
            len = start(len, function);
            starts.push(len);
            len += function.code.len();
        }
        let mut pages = MmapMut::map_anon(len.max(1))?;
        for (function, &start) in functions.iter().zip(&starts) {
            pages[start..start + function.code.len()].copy_from_slice(&function.code);
            for call in &function.calls {
                let target = *starts.get(call.callee).ok_or(LinkError::Target)? as i64;
                let place = start + call.offset;
                let distance = target + call.addend - place as i64;
                link(&mut pages, place, call.kind, distance)?;
            }
        }
        let pages = pages.make_exec()?;
        let named = functions
            .iter()
            .zip(&starts)
            .enumerate()
            .map(|(index, (function, start))| {
                let start = pages.as_ptr().addr() + start;
                Symbol {
                    name: match index {
                        0 => format!("bpf_prog_{name}"),
                        _ => format!("bpf_prog_{name}.{index}"),
                    },
                    addresses: start..start + function.code.len(),
                }
            });
        let registered = symbols::publish(symbols, &named.collect::<Vec<_>>());
        Ok(NativeCode {
            _registered: registered,
            pages,
            starts: starts.into(),
            tail_calls: functions.first().is_some_and(|main| main.tail_calls),
        })
    }
}

/// Where a function begins, behind `len` bytes: so that its short loops lie in as few lines as possible. It can make a short
/// loop half as fast if it lies in two.
fn start(len: usize, function: &codegen::Function) -> usize {
    let first = len.next_multiple_of(ALIGNMENT);
    let short = function.loops.iter().filter(|range| range.len() <= 2 * LINE);
    let short: Vec<_> = short.collect();
    let lines = |start: usize| -> usize {
        let lines = |range: &&Range<usize>| (start + range.end - 1) / LINE - (start + range.start) / LINE;
        short.iter().map(lines).sum()
    };
    let places = (first..first + LINE).step_by(ALIGNMENT);
    places.min_by_key(|start| lines(*start)).unwrap_or(first)
}

/// Writes the distance of a callee into the instruction at `place`.
fn link(pages: &mut [u8], place: usize, kind: Reloc, distance: i64) -> Result<(), LinkError> {
    let field = pages.get_mut(place..place + 4).ok_or(LinkError::Target)?;
    let word: &mut [u8; 4] = field.try_into().map_err(|_| LinkError::Target)?;
    match kind {
        Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => {
            *word = i32::try_from(distance).map_err(|_| LinkError::Target)?.to_le_bytes();
        }
        // The low 26 bits of the instruction count words.
        Reloc::Arm64Call if distance % 4 == 0 && (-(1 << 27)..1 << 27).contains(&distance) => {
            let words = (distance >> 2) as u32 & 0x03ff_ffff;
            *word = (u32::from_le_bytes(*word) & !0x03ff_ffff | words).to_le_bytes();
        }
        kind => return Err(LinkError::Relocation(kind)),
    }
    Ok(())
}

/// Calls a function of a program back, by its address.
///
/// # Safety
/// As for [`Vm::callback`]; the program is native code.
pub(crate) unsafe fn callback(vm: *mut Vm, func: u64, args: [u64; 5]) -> u64 {
    type Callback = unsafe extern "C" fn(vm: *mut Vm, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64;
    let function = ptr::with_exposed_provenance::<c_void>(func as usize);
    // SAFETY: a program has no address of code but of its own subprograms, which take five arguments if it has.
    let function = unsafe { mem::transmute::<*const c_void, Callback>(function) };
    let [r1, r2, r3, r4, r5] = args;
    // SAFETY: the environment and the arguments are what the function was verified with, by the caller's promise.
    unsafe { function(vm, r1, r2, r3, r4, r5) }
}

impl NativeCode {
    /// Where a subprogram begins.
    fn address(&self, subprog: usize) -> usize {
        self.pages.as_ptr().expose_provenance() + self.starts[subprog]
    }
}

impl Code for NativeCode {
    fn entry(&self) -> Entry {
        let state = ptr::with_exposed_provenance::<c_void>(self.address(0));
        // SAFETY: that is where the function compiled from the main program begins. It has this calling convention, takes the
        // first two of these arguments in registers, and has no use for the third. The pages are executable and stay so while
        // `self` lives, as whoever runs the entry promises.
        let body = unsafe { mem::transmute::<*const c_void, EntryFn>(state) };
        let call = if self.tail_calls { calls::begin } else { body };
        Entry { call, body, state }
    }

    fn function(&self, func: u64) -> Option<Function> {
        let start = usize::try_from(func).ok()?.checked_sub(self.pages.as_ptr().addr())?;
        let index = self.starts.iter().position(|known| *known == start)?;
        Some(Function(index as u32))
    }

    unsafe fn run_function(&self, vm: *mut Vm, function: Function, args: [u64; 5]) -> u64 {
        let address = self.address(function.0 as usize);
        // SAFETY: as for this function; `function` names one of this program's, which it takes the address of.
        unsafe { callback(vm, address as u64, args) }
    }
}
