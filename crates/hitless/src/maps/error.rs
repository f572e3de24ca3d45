//! Why a map or a variable is not what it was taken for.

use crate::btf_type::LayoutMismatch;

/// Why a map cannot be used with these types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapTypeError {
    /// It is a map of another kind.
    #[error("map {map}: type {found}, expected {expected}")]
    Kind {
        /// The map.
        map: String,
        /// Its type.
        found: &'static str,
        /// What it has to be.
        expected: String,
    },
    /// Its keys have another layout than the Rust type.
    #[error("map {map}: key {source}")]
    Key {
        /// The map.
        map: String,
        /// How they differ.
        source: LayoutMismatch,
    },
    /// Its values have another layout than the Rust type.
    #[error("map {map}: value {source}")]
    Value {
        /// The map.
        map: String,
        /// How they differ.
        source: LayoutMismatch,
    },
}

/// Why a loaded object did not give a typed map or variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetMapError {
    /// There is none of this name.
    #[error("no {what} {name}, expected one of: {}", known.join(", "))]
    NotFound {
        /// `map` or `variable`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The map is not what it is asked for as.
    #[error(transparent)]
    Type(#[from] MapTypeError),
    /// The variable is not of this type.
    #[error("variable {name}: {source}")]
    Global {
        /// The variable.
        name: String,
        /// How they differ.
        source: LayoutMismatch,
    },
}

/// Why a variable of an object could not be set before it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetGlobalError {
    /// There is no variable of this name; those that the compiler removed, or that have no BTF, are not there either.
    #[error("no variable {name}, expected one of: {}", known.join(", "))]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The variable is not of this type.
    #[error("variable {name}: {source}")]
    Type {
        /// The variable.
        name: String,
        /// How they differ.
        source: LayoutMismatch,
    },
}
