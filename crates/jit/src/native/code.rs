//! Executable memory: the compiled functions of one program, laid out and linked. The compiler's unsafe code.

use std::mem;

use cranelift_codegen::binemit::Reloc;
use memmap2::{Mmap, MmapMut};

use super::calls::Vm;
use super::translate::Function;
use crate::{Code, Env, Trap};

/// Where functions begin.
const ALIGNMENT: usize = 16;

/// A program as native code. Its pages were writable before they became executable, and never are again.
pub(super) struct NativeCode {
    pages: Mmap,
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
    pub(super) fn new(functions: &[Function]) -> Result<NativeCode, LinkError> {
        let mut starts = Vec::with_capacity(functions.len());
        let mut len = 0usize;
        for function in functions {
            len = len.next_multiple_of(ALIGNMENT);
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
        Ok(NativeCode {
            pages: pages.make_exec()?,
        })
    }
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

impl Code for NativeCode {
    unsafe fn run(&self, ctx: *mut u8, _: usize, env: &mut dyn Env) -> Result<u64, Trap> {
        type Main = for<'a, 'b> extern "C" fn(&'a mut Vm<'b>, u64, u64, u64, u64, u64) -> u64;
        // SAFETY: the pages begin with the function compiled from the main program, with this signature and calling
        // convention. They are executable and stay so while `self` is borrowed.
        let main = unsafe { mem::transmute::<*const u8, Main>(self.pages.as_ptr()) };
        let mut vm = Vm::new(env);
        // What the code does to memory is what the verifier proved of a program that gets such a context and environment;
        // both are what the caller of this function promises.
        Ok(main(&mut vm, ctx.expose_provenance() as u64, 0, 0, 0, 0))
    }
}
