//! Why a program is refused.

use std::fmt;

use crate::facts::{SourceLine, Stats};
use crate::hint::hint;
use crate::path::Trail;
use crate::requirements::Requirement;

/// A refused program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong, never empty. Paths are followed one by one and the first that fails ends the search, so there is
    /// one error unless the program is malformed.
    pub errors: Vec<VerifierError>,
    /// What the search cost.
    pub stats: Stats,
    /// How the search came to the instruction, and what was known there. Empty if the program is malformed.
    pub trail: Box<Trail>,
}

impl Rejection {
    /// All that is known of the refusal, on several lines: the message, the instruction and its source line, what it
    /// requires and what was found, the branches that led there, and what to do about it.
    #[must_use]
    pub fn explanation(&self) -> String {
        let mut lines = Vec::new();
        for error in &self.errors {
            lines.push(error.message.clone());
            lines.push(format!("  insn {}: {}", error.pc, error.insn));
            if let Some(line) = &error.source {
                lines.push(format!("  source {}:{}: {}", line.file, line.line, line.text));
            }
            lines.push(format!("  requires {}", error.requirement));
            lines.push(format!("  found {}", error.found));
            if !self.trail.known.is_empty() {
                lines.push(format!("  known {}", self.trail.known.join(" ")));
            }
            lines.extend(error.hint().map(|hint| format!("  hint {hint}")));
        }
        let Trail { decisions, omitted, .. } = &*self.trail;
        if !decisions.is_empty() {
            lines.push(match omitted {
                0 => "  path".to_owned(),
                more => format!("  path, after {more} other branches"),
            });
        }
        lines.extend(decisions.iter().map(|decision| format!("    {decision}")));
        lines.join("\n")
    }
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

impl VerifierError {
    /// What can be done about it, if that can be told from the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        hint(&self.message)
    }
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
