//! Why an upgrade is refused: what each reason names, what was found, and what was expected.

use std::fmt;

use hitless_btf::layout::LayoutError;

use crate::extension::ExtensionError;
use crate::link::AttachError;
use crate::load::LoadError;

/// Why an upgrade is refused: every reason, not only the first. Nothing has been changed.
#[derive(Debug)]
pub struct PlanError {
    /// The reasons.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, refusal) in self.refusals.iter().enumerate() {
            write!(f, "{}{refusal}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

/// One reason why an upgrade is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The new map can hold fewer elements than the old one.
    #[error("map {map}: max_entries is {found}, expected at least {expected}, which the running map can hold")]
    Smaller {
        /// The map.
        map: String,
        /// `max_entries` of the new map.
        found: u32,
        /// `max_entries` of the old map.
        expected: u32,
    },
    /// A field would lose information.
    #[error("map {map}: field {field} of the {part} would lose information: {change}")]
    Lossy {
        /// The map.
        map: String,
        /// `key` or `value`.
        part: &'static str,
        /// The field's path.
        field: String,
        /// What would become of it, and what to do if that is not meant.
        change: String,
    },
    /// Maps of this type cannot be moved to another layout.
    #[error("map {map}: {change}, and what a map of type {kind} holds cannot be copied: it has to stay as it is")]
    NotCopied {
        /// The map.
        map: String,
        /// Its type.
        kind: &'static str,
        /// What makes it necessary to copy.
        change: String,
    },
    /// A prog array holds a program that has no successor.
    #[error("map {map}: the new object has no program for element {index}, which the running map has")]
    NoProgram {
        /// The map.
        map: String,
        /// The element.
        index: u32,
    },
    /// The map changed its type.
    #[error("map {map}: its type is {found}, expected {expected} as it runs: the type of a map cannot change")]
    TypeChanged {
        /// The map.
        map: String,
        /// Type of the new map.
        found: &'static str,
        /// Type of the old map.
        expected: &'static str,
    },
    /// Sizes differ, and there is no BTF that says what the bytes mean.
    #[error(
        "map {map}: {part} size is {found}, expected {expected}, and without BTF for both there is no way from one to the other"
    )]
    NoBtf {
        /// The map.
        map: String,
        /// `key` or `value`.
        part: &'static str,
        /// Size in the new map.
        found: u32,
        /// Size in the old map.
        expected: u32,
    },
    /// The types cannot be compared.
    #[error("map {map}: the {part} types cannot be compared: {reason}")]
    Layout {
        /// The map.
        map: String,
        /// `key` or `value`.
        part: &'static str,
        /// Why.
        reason: LayoutError,
    },
    /// The old map has no successor, and its content would be lost.
    #[error("map {map}: the new object has no map of this name, so its content would be lost; maps cannot be renamed")]
    Lost {
        /// The map.
        map: String,
    },
    /// The new object's map cannot be made.
    #[error("{0}")]
    Unsupported(LoadError),
    /// A program that is not upgraded may write a map that moves.
    #[error("map {map}: program {program} (id {id}) is not part of the upgrade and may write it")]
    OutsideWriter {
        /// The map.
        map: String,
        /// The program.
        program: String,
        /// Its id.
        id: u32,
    },
    /// A tracer is attached to a map that moves, or writes one; it would stay with the old map.
    #[error("map {maps}: link {link} of tracer {program} would stay behind with the old map: detach it first")]
    Traced {
        /// Those of the maps that move which it traces or writes.
        maps: String,
        /// The tracer.
        program: String,
        /// The link's id.
        link: u32,
    },
    /// A function of an old program is replaced by an extension, which would stay behind.
    #[error("program {program}: link {link} of extension {extension} would stay behind with it: detach it first")]
    Extended {
        /// The old program.
        program: String,
        /// The extension.
        extension: String,
        /// The link's id.
        link: u32,
    },
    /// An extension cannot take the place of the one before.
    #[error("program {program}: it cannot take the place of the old extension: {source}")]
    Extension {
        /// The new program.
        program: String,
        /// Why.
        source: ExtensionError,
    },
    /// The program of an iterator would not fit the map that it is to walk.
    #[error("program {program}: its iterator cannot go on: {source}")]
    Iterator {
        /// The new program.
        program: String,
        /// Why.
        source: AttachError,
    },
    /// An attached program has no successor.
    #[error("program {program}: the new object has no program of this name and type for hook {hook}")]
    NoSuccessor {
        /// The old program.
        program: String,
        /// A hook that it is attached to.
        hook: String,
    },
    /// The running object belongs to another runtime.
    #[error("the running object belongs to another runtime")]
    OtherRuntime,
    /// Nothing of the old object is attached to a hook.
    #[error("nothing of the running object is attached to a hook")]
    NothingAttached,
}
