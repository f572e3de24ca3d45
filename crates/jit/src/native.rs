//! The compiler: native code by way of Cranelift.
//!
//! Each subprogram becomes a native function, each BPF register a variable of it, and its frame a stack slot of as many bytes
//! as the verifier found it to use. The code checks nothing: what the verifier proved is true of it, or the process is lost,
//! as a kernel would be. What is called of the runtime is called by address (`calls`); every function is passed the
//! environment first, and passes it on.
//!
//! - Loads and stores are done as often and in the order in which the program does them: other threads and the host see the
//!   same memory, and BPF C says `volatile` where it matters, of which the instructions keep no trace. So no alias analysis.
//! - clang has optimised the program. So the code generator's own optimiser is off; what BPF cannot say is made good when the
//!   code is made (`codegen/simplify.rs`, `codegen/select.rs`), small subprograms are put in place of their calls, and short
//!   loops do not cross lines of the processor's (`code.rs`).
//! - A tail call ends its function with a mark in the environment; whoever called the function goes on with the next program.
//!   So the stack does not grow.
//! - Division by zero yields 0, a remainder by zero the dividend, and what overflows in C wraps, as the instruction set says.
//! - Functions keep frame pointers, so that stacks unwind through them. They do not probe the stack: eight frames of 512 bytes,
//!   and those of the few calls that were replaced, are less than two guard pages.
//! - Code pages are never writable and executable at once.

mod calls;
mod code;
mod codegen;
#[cfg(test)]
mod plain;
mod symbols;

pub(crate) use code::callback;
pub use symbols::Symbols;

use std::sync::Arc;

use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use crate::{Code, CompileError, Engine, Image};

/// The compiler. See the [module](self).
pub struct Compiler {
    isa: OwnedTargetIsa,
    symbols: Symbols,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("isa", &self.isa.name()).finish()
    }
}

const ENGINE: &str = "compiler";

fn refused(reason: impl ToString) -> CompileError {
    CompileError {
        engine: ENGINE,
        reason: reason.to_string(),
    }
}

/// How code is generated, for every processor.
fn flags() -> Result<settings::Flags, CompileError> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "none"),
        ("enable_alias_analysis", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("preserve_frame_pointers", "true"),
        ("enable_probestack", "false"),
        ("unwind_info", "false"),
    ] {
        flags.set(name, value).map_err(refused)?;
    }
    Ok(settings::Flags::new(flags))
}

/// What an image becomes for a processor, by its target triple ("aarch64-unknown-linux-gnu"): its functions one after the
/// other, the main program first, as they would lie at an address. To be looked at: it calls the runtime of this process.
///
/// # Errors
/// [`CompileError`] if there is no such processor, or the code generator was built without it; and as for compiling.
pub fn code_for(target: &str, image: &Image, address: u64) -> Result<Vec<u8>, CompileError> {
    let isa = isa::lookup_by_name(target).map_err(refused)?;
    let isa = isa.finish(flags()?).map_err(refused)?;
    let functions = codegen::functions(&*isa, image).map_err(refused)?;
    code::linked(&functions, address).map_err(refused)
}

impl Compiler {
    /// A compiler for the processor that this process runs on.
    ///
    /// # Errors
    /// [`CompileError`] if there is none for it.
    pub fn new() -> Result<Compiler, CompileError> {
        let isa = cranelift_native::builder().map_err(refused)?;
        let isa = isa.finish(flags()?).map_err(refused)?;
        Ok(Compiler {
            isa,
            symbols: Symbols::default(),
        })
    }

    /// The same, but the code that it makes has names that tools find.
    #[must_use]
    pub fn with_symbols(self, symbols: Symbols) -> Compiler {
        Compiler { symbols, ..self }
    }
}

impl Engine for Compiler {
    fn compile(&self, image: Arc<Image>) -> Result<Box<dyn Code>, CompileError> {
        let functions = codegen::functions(&*self.isa, &image).map_err(refused)?;
        Ok(Box::new(
            code::NativeCode::new(&image.name, &functions, self.symbols).map_err(refused)?,
        ))
    }
}
