//! Why a program is refused.

use std::fmt;

use crate::facts::{SourceLine, Stats};
use crate::requirements::Requirement;

/// A refused program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong, never empty. Paths are followed one by one and the first that fails ends the search, so there is
    /// one error unless the program is malformed.
    pub errors: Vec<VerifierError>,
    /// What the search cost.
    pub stats: Stats,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

/// An instruction that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierError {
    /// Its slot.
    pub pc: usize,
    /// The instruction as text.
    pub insn: String,
    /// What it requires.
    pub requirement: Requirement,
    /// What was found instead.
    pub found: String,
    /// The kernel's words for it.
    pub message: String,
    /// The source line that it comes from, if known.
    pub source: Option<SourceLine>,
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "insn {}: {}: {}: requires {}, found {}",
            self.pc, self.insn, self.message, self.requirement, self.found
        )?;
        match &self.source {
            Some(line) => write!(f, " ({}:{})", line.file, line.line),
            None => Ok(()),
        }
    }
}

impl std::error::Error for VerifierError {}

/// A requirement that does not hold: what was found, and the kernel's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) found: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(found: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure {
            found: found.into(),
            message: message.into(),
        }
    }
}
