//! The checked interpreter.
//!
//! It trusts nobody: each load, store and atomic operation is compared with what the verifier promised for its
//! instruction, and an access outside of that is a [`Trap`](crate::Trap), not a wild write. That makes it the oracle for
//! engines that do not check.
//!
//! Compiling turns an image into steps: operands, jump targets and the regions of each access are looked up once. A run
//! then needs its registers, eight frames of 512 bytes and eight return addresses, all on the native stack: it
//! allocates nothing, takes no lock, and may be interrupted by a signal handler that runs it again.
//!
//! What keeps the checks sound: the frames in use are one stretch of memory, from the end of the outermost down to the
//! beginning of the innermost, and are cleared when entered; a context access must lie in the very field that was
//! proved; every other region is the runtime's answer ([`Env::contains`](crate::Env::contains)).

mod alu;
mod machine;
mod memory;
mod step;

pub(crate) use machine::callback;

use std::sync::Arc;

use crate::{Code, CompileError, Engine, Image};

/// The checked interpreter. See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Interpreter {
    budget: u64,
}

impl Interpreter {
    /// How many instructions a run may take by default: about a second's worth, which only a defect uses up.
    pub const DEFAULT_BUDGET: u64 = 1 << 30;

    /// An interpreter whose runs end with [`Trap::Budget`](crate::Trap::Budget) after this many instructions.
    #[must_use]
    pub const fn with_budget(instructions: u64) -> Interpreter {
        Interpreter { budget: instructions }
    }
}

/// What a program has in a register for one of its subprograms: no address.
const FUNCTION: u64 = 0xbf0c_0000_0000_0000;

const fn function_value(index: usize) -> u64 {
    FUNCTION | index as u64
}

/// The subprogram that such a value stands for.
fn function_index(func: u64) -> Option<u32> {
    u32::try_from(func ^ FUNCTION).ok()
}

impl Default for Interpreter {
    fn default() -> Interpreter {
        Interpreter::with_budget(Interpreter::DEFAULT_BUDGET)
    }
}

impl Engine for Interpreter {
    fn compile(&self, image: Arc<Image>) -> Result<Box<dyn Code>, CompileError> {
        let program = step::compile(&image).map_err(|reason| CompileError {
            engine: "interpreter",
            reason,
        })?;
        Ok(Box::new(machine::Interpreted {
            program,
            budget: self.budget,
        }))
    }
}
