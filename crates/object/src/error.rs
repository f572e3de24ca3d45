//! Why an object file is refused.

use hitless_btf::{BtfError, DatasecError};

/// Why an object file is refused. Every variant names the thing, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The file is shorter than an ELF header.
    #[error("not a BPF object: {len} bytes, expected at least {expected} for an ELF header")]
    Short {
        /// Size of the file in bytes.
        len: usize,
        /// Size of the header.
        expected: usize,
    },
    /// The file does not start as ELF files do.
    #[error("not a BPF object: magic {found:02x?}, expected {expected:02x?} (ELF)", expected = *b"\x7fELF")]
    NotElf {
        /// The first bytes.
        found: [u8; 4],
    },
    /// A field of the ELF header has another value.
    #[error("not a BPF object: {field} {found}{meaning}, expected {expected}")]
    Header {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u32,
        /// What that value means, if it is well known: " (x86-64)".
        meaning: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The ELF structure makes no sense, or the file is cut off.
    #[error("malformed ELF file of {len} bytes: {reason}")]
    Elf {
        /// Size of the file in bytes.
        len: usize,
        /// What the ELF reader says.
        reason: String,
    },
    /// The file is cut off.
    #[error("truncated: {what} takes bytes {start} to {end}, but the file has {len}")]
    Truncated {
        /// What is cut off.
        what: String,
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
        /// Size of the file in bytes.
        len: usize,
    },
    /// More of something than is supported.
    #[error("{what}: {found}, at most {max} are supported")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// How much there is.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Sections that share bytes of the file.
    #[error("sections of {total} bytes in a file of {len}")]
    Overlap {
        /// Their sizes together.
        total: u64,
        /// Size of the file in bytes.
        len: usize,
    },
    /// A section that must be there is not.
    #[error("no section {section}, expected because of {because}")]
    MissingSection {
        /// The section.
        section: &'static str,
        /// What needs it.
        because: String,
    },
    /// A section that cannot be what it should be.
    #[error("section {section}: {reason}")]
    Section {
        /// The section.
        section: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `.BTF` or `.BTF.ext` is no BTF.
    #[error("section {section} is malformed")]
    Btf {
        /// The section.
        section: &'static str,
        /// Why.
        #[source]
        source: BtfError,
    },
    /// BTF and symbols disagree about global data.
    #[error("BTF and symbols disagree about section {section}")]
    Datasec {
        /// The section.
        section: String,
        /// Why.
        #[source]
        source: DatasecError,
    },
    /// A map's declaration that makes no sense.
    #[error("map {map:?}: {reason}")]
    Map {
        /// The map.
        map: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A map's declaration has an attribute that is not known.
    #[error("map {map:?}: unsupported attribute {attribute:?}")]
    MapAttribute {
        /// The map.
        map: String,
        /// The attribute.
        attribute: String,
    },
    /// A pointer in a map's declaration makes no sense.
    #[error("map {map:?}: initial value at offset {at} of the declaration, {target:?}: {reason}")]
    MapValue {
        /// The map.
        map: String,
        /// Where in the declaration.
        at: u64,
        /// What it points to.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pointer in a struct of functions makes no sense.
    #[error("struct_ops {name:?}: pointer at offset {at}, {target:?}: {reason}")]
    StructOps {
        /// The variable.
        name: String,
        /// Where in the struct.
        at: u64,
        /// What it points to.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A map's definition in a `maps` section that cannot be understood.
    #[error(
        "map {map:?}: definition of {size} bytes in section {section}: {reason}; supported are bpf_map_def of libbpf, of the \
         kernel's samples, of aya and of gobpf, and bpf_elf_map; or declare the map in .maps"
    )]
    LegacyMap {
        /// The map.
        map: String,
        /// Its section.
        section: String,
        /// Size of its definition in bytes.
        size: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A function that does not fit in its section, or overlaps with another.
    #[error("function {function:?} in section {section}: {reason}")]
    Function {
        /// The function.
        function: String,
        /// Its section.
        section: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference to a symbol that cannot be resolved.
    #[error("section {section}, instruction {insn}: reference to {symbol:?}: {reason}")]
    Relocation {
        /// The section of the instruction.
        section: String,
        /// The instruction slot in that section.
        insn: u64,
        /// The symbol.
        symbol: String,
        /// Why it cannot be resolved.
        reason: String,
    },
    /// A call to something that is no function.
    #[error(
        "section {section}, instruction {insn}: call to slot {target} of section {target_section}, where no function starts"
    )]
    CallTarget {
        /// The section of the call.
        section: String,
        /// The instruction slot in that section.
        insn: u64,
        /// The section called into.
        target_section: String,
        /// The slot called.
        target: i64,
    },
    /// An extern that can be none.
    #[error("extern {name:?} {reason}")]
    Extern {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}
