//! Why an object cannot be loaded at a place.

use hitless_btf::core::CoreError;

/// Why an object cannot be loaded at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelocateError {
    /// A relocation makes no sense.
    #[error("program {program:?}: CO-RE relocation of insn {pc}")]
    Core {
        /// The program.
        program: String,
        /// The instruction's slot.
        pc: usize,
        /// Why.
        #[source]
        source: CoreError,
    },
    /// A program has CO-RE relocations, and either the object or the place has no types.
    #[error(
        "program {program:?}: CO-RE relocation of insn {pc} needs a target BTF, and the object's own; name a BTF file"
    )]
    NoTypes {
        /// The program.
        program: String,
        /// The instruction's slot.
        pc: usize,
    },
    /// An instruction cannot take what a relocation gives.
    #[error("program {program:?}: relocation of insn {pc} for {what}")]
    Insn {
        /// The program.
        program: String,
        /// The instruction's slot.
        pc: usize,
        /// What the relocation is about.
        what: String,
        /// Why.
        #[source]
        source: InsnError,
    },
    /// An instruction refers to an extern that the object does not declare.
    #[error("program {program:?}: insn {pc} refers to extern {index}, but there are {count}")]
    UnknownExtern {
        /// The program.
        program: String,
        /// The instruction's slot.
        pc: usize,
        /// Index of the extern.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A configuration option without a value.
    #[error("extern {name} (strong): the option is not set here; set it, or declare it __weak, which makes it 0")]
    MissingOption {
        /// The option.
        name: String,
    },
    /// A `__kconfig` variable that is no option of a kernel, nor one of the values that libbpf provides.
    #[error(
        "extern {name}: no such kconfig variable, expected CONFIG_*, LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE or \
         LINUX_HAS_SYSCALL_WRAPPER"
    )]
    UnknownOption {
        /// The variable.
        name: String,
    },
    /// A configuration option whose value does not suit its variable.
    #[error("extern {name}: value {value} of the option")]
    Option {
        /// The option.
        name: String,
        /// Its value as the configuration has it.
        value: String,
        /// Why it does not suit.
        #[source]
        source: OptionError,
    },
    /// A symbol that is not there.
    #[error("extern {name} (strong): no such {kind} here; declare it __weak and test it before use, or load elsewhere")]
    MissingSymbol {
        /// The symbol.
        name: String,
        /// "variable" or "kfunc".
        kind: &'static str,
    },
    /// A symbol of another type.
    #[error("extern {name}: type {expected} in the object, {found} in the target BTF")]
    Incompatible {
        /// The symbol.
        name: String,
        /// Its type in the object.
        expected: String,
        /// Its type in the target.
        found: String,
    },
    /// The types of a symbol cannot be compared.
    #[error("extern {name}: its type")]
    Compare {
        /// The symbol.
        name: String,
        /// Why.
        #[source]
        source: CoreError,
    },
    /// An extern that is not in the map of its kind.
    #[error("extern {name}: bytes {start} to {end} of map .kconfig, which has {len}")]
    OptionPlace {
        /// The option.
        name: String,
        /// Offset of its variable in bytes.
        start: u64,
        /// Where it ends.
        end: u64,
        /// Size of the map's value in bytes; 0 if there is no such map.
        len: u64,
    },
}

/// Why an instruction cannot take what a relocation gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsnError {
    /// An instruction that holds no such value, or none at all.
    #[error("opcode {code:#04x}, expected {expected}")]
    Form {
        /// Its opcode; 0 if the program has no such instruction.
        code: u8,
        /// What can be relocated.
        expected: &'static str,
    },
    /// The instruction does not hold what the relocation says that it holds.
    #[error(
        "the instruction holds {found}, expected {expected} by the object's BTF; was the object changed after it was compiled?"
    )]
    Value {
        /// The value in the instruction.
        found: i64,
        /// What it is by the object's types.
        expected: i64,
    },
    /// An access whose size is not that of the field.
    #[error("the instruction accesses {found} bytes, expected {expected} by the object's BTF")]
    Size {
        /// Bytes that the instruction accesses.
        found: u32,
        /// Size of the field.
        expected: u32,
    },
    /// A field of a size that no instruction can access.
    #[error("the field has {size} bytes in the target, expected 1, 2, 4 or 8")]
    TargetSize {
        /// Its size in bytes.
        size: u32,
    },
    /// An offset that does not fit in an instruction.
    #[error("the field is at byte {offset} in the target, a load or store can reach {max}")]
    Offset {
        /// The offset.
        offset: u64,
        /// The largest possible.
        max: u64,
    },
}

/// Why the value of a configuration option does not suit its variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A variable of a type that no option has.
    #[error("the variable has type {ty}, expected bool, char, an integer, enum libbpf_tristate or an array of char")]
    Unsupported {
        /// The type.
        ty: String,
    },
    /// A value of another sort than the variable.
    #[error("the variable has type {ty}, expected {expected}")]
    Sort {
        /// The type.
        ty: String,
        /// What the value suits.
        expected: &'static str,
    },
    /// A number that does not fit.
    #[error("does not fit in type {ty}")]
    Range {
        /// The type.
        ty: String,
    },
    /// Not a number.
    #[error("is no integer")]
    Integer,
    /// A text without its closing quote.
    #[error("does not end with a quote")]
    Quote,
}
