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
        let (starts, len) = lay_out(functions);
        let mut pages = MmapMut::map_anon(len.max(1))?;
        let address = pages.as_ptr().addr() as u64;
        link_all(functions, &starts, &mut pages, address)?;
        let pages = pages.make_exec()?;
        synchronize_instructions();
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

/// Where each function begins, and how many bytes there are in all.
fn lay_out(functions: &[codegen::Function]) -> (Vec<usize>, usize) {
    let mut starts = Vec::with_capacity(functions.len());
    let mut len = 0usize;
    for function in functions {
        len = start(len, function);
        starts.push(len);
        len += function.code.len();
    }
    (starts, len)
}

/// Puts functions where they begin in bytes that are to lie at an address, and links their calls.
fn link_all(
    functions: &[codegen::Function],
    starts: &[usize],
    bytes: &mut [u8],
    address: u64,
) -> Result<(), LinkError> {
    for (function, &start) in functions.iter().zip(starts) {
        bytes[start..start + function.code.len()].copy_from_slice(&function.code);
        for call in &function.calls {
            let target = *starts.get(call.callee).ok_or(LinkError::Target)? as u64;
            let target = (address + target).wrapping_add_signed(call.addend);
            link(bytes, start + call.offset, call.kind, address, target)?;
        }
    }
    Ok(())
}

/// Functions laid out and linked, to be looked at: as they would lie at an address.
pub(super) fn linked(functions: &[codegen::Function], address: u64) -> Result<Vec<u8>, LinkError> {
    let (starts, len) = lay_out(functions);
    let mut bytes = vec![0; len];
    link_all(functions, &starts, &mut bytes, address)?;
    Ok(bytes)
}

/// Other processors may have fetched what was at this address before: has all threads of the process look again. The kernel has
/// made the caches agree when it made the pages executable.
#[cfg(target_arch = "aarch64")]
fn synchronize_instructions() {
    const REGISTER: i32 = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;
    const SYNC: i32 = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE;
    for command in [REGISTER, SYNC] {
        // Fails on kernels that have no such command, older than 4.16; then there is none.
        // SAFETY: the call takes numbers and touches no memory.
        let _ = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn synchronize_instructions() {}

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

/// Has the instruction at `place`, of bytes that lie at `address`, refer to `target`.
fn link(bytes: &mut [u8], place: usize, kind: Reloc, address: u64, target: u64) -> Result<(), LinkError> {
    let field = bytes.get_mut(place..place + 4).ok_or(LinkError::Target)?;
    let word: &mut [u8; 4] = field.try_into().map_err(|_| LinkError::Target)?;
    let insn = u32::from_le_bytes(*word);
    let place = address + place as u64;
    let distance = target.wrapping_sub(place).cast_signed();
    let linked = match kind {
        Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => {
            let distance = i32::try_from(distance).map_err(|_| LinkError::Target)?;
            distance.cast_unsigned()
        }
        // The low 26 bits of the instruction count words.
        Reloc::Arm64Call if distance % 4 == 0 && (-(1 << 27)..1 << 27).contains(&distance) => {
            insn & !0x03ff_ffff | (distance >> 2) as u32 & 0x03ff_ffff
        }
        // `adrp`: how many pages of 4 KiB away, 21 bits of which the low two are apart from the others.
        Reloc::Aarch64AdrPrelPgHi21 => {
            let pages = ((target >> 12).wrapping_sub(place >> 12)).cast_signed();
            if !(-(1 << 20)..1 << 20).contains(&pages) {
                return Err(LinkError::Target);
            }
            let pages = pages as u32;
            insn & !0x60ff_ffe0 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5
        }
        // `add`: where in its page, 12 bits.
        Reloc::Aarch64AddAbsLo12Nc => insn & !0x003f_fc00 | (target as u32 & 0xfff) << 10,
        kind => return Err(LinkError::Relocation(kind)),
    };
    *word = linked.to_le_bytes();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Instructions of AArch64 as an assembler has them, for code at an address.
    #[test]
    fn instructions_of_aarch64_are_linked() {
        let linked = |insn: u32, kind, place: usize, address, target| {
            let mut bytes = vec![0; place];
            bytes.extend(insn.to_le_bytes());
            link(&mut bytes, place, kind, address, target).map(|()| {
                let word = &bytes[place..];
                u32::from_le_bytes(word.try_into().expect("four bytes"))
            })
        };
        // bl -8, bl +0x7fffffc
        let bl = |target| linked(0x9400_0000, Reloc::Arm64Call, 8, 0x1000, target);
        assert_eq!(bl(0x1000).ok(), Some(0x97ff_fffe));
        assert_eq!(bl(0x1008 + 0x7ff_fffc).ok(), Some(0x95ff_ffff));
        assert!(bl(0x1008 + 0x800_0000).is_err() && bl(0x100a).is_err());
        // adrp x0, +1 page, -1 page, +5 pages; add x0, x0, #0x124
        let adrp = |target| linked(0x9000_0000, Reloc::Aarch64AdrPrelPgHi21, 4, 0x7_f000, target);
        assert_eq!(adrp(0x8_0010).ok(), Some(0xb000_0000));
        assert_eq!(adrp(0x7_e010).ok(), Some(0xf0ff_ffe0));
        assert_eq!(adrp(0x8_4010).ok(), Some(0xb000_0020));
        assert!(adrp(0x1_8000_0000).is_err());
        let add = linked(0x9100_0000, Reloc::Aarch64AddAbsLo12Nc, 0, 0, 0x8_0124);
        assert_eq!(add.ok(), Some(0x9104_9000));
    }
}
