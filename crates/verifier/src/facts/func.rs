//! Functions of a program that are verified by themselves.

use hitless_btf::TypeId;

/// A global function: neither `static` nor hidden. It is verified once, for any arguments of its prototype's types; callers
/// have to give such arguments, and get a number of which nothing is known. So is a program that takes the place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalFunc {
    /// Its first slot.
    pub start: usize,
    /// Its C name, for messages.
    pub name: String,
    /// What it takes in `r1` and so on, or why that cannot be said.
    pub args: Result<Vec<FuncArg>, String>,
}

/// What a global function takes in one argument register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FuncArg {
    /// A number.
    Scalar,
    /// The context, unmodified.
    Context,
    /// Memory of so many bytes, that it may read and write.
    Memory {
        /// How many bytes.
        size: u32,
        /// Whether NULL will do.
        nullable: bool,
    },
    /// An object that the host keeps alive while the program runs (`__arg_trusted`).
    Object {
        /// The struct, in the types of the host.
        ty: TypeId,
        /// Whether NULL will do (`__arg_nullable`).
        nullable: bool,
    },
}
