//! Which functions there are, and which of them are programs. Functions are found by their symbols.

use crate::elf::{Elf, Section, Symbol, SymbolKind};
use crate::error::ObjectError;
use hitless_isa::Insn;

/// A function as its symbol describes it. Slots count from the start of the section.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) section: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Whether it is a program, rather than a subprogram.
    pub(crate) entry: bool,
    /// Whether other objects see it.
    pub(crate) global: bool,
}

/// Whether functions of the section are not meant to be programs: nobody has given them a section. Compilers put them into
/// sections of their own, ".text.NAME", if asked to.
pub(crate) fn is_text(section: &Section<'_>) -> bool {
    section.name == ".text" || section.name.starts_with(".text.")
}

/// All functions, by section and start.
pub(crate) fn functions<'a>(elf: &Elf<'a>) -> Result<Vec<Function<'a>>, ObjectError> {
    let code = |symbol: &Symbol<'a>| symbol.section.filter(|&index| elf.sections[index].executable);
    let mut has_types = vec![false; elf.sections.len()];
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == SymbolKind::Func) {
        code(symbol).inspect(|&index| has_types[index] = true);
    }
    let mut found: Vec<(usize, &Symbol<'a>)> = elf
        .symbols
        .iter()
        .filter_map(|symbol| Some((code(symbol)?, symbol)))
        .filter(|&(section, symbol)| match symbol.kind {
            SymbolKind::Func => true,
            // LLVM before version 7 says neither type nor size of functions. Its labels are local.
            SymbolKind::None => !has_types[section] && !symbol.local && !symbol.name.is_empty(),
            SymbolKind::Object | SymbolKind::Section | SymbolKind::Other => false,
        })
        .collect();
    found.sort_by_key(|(section, symbol)| (*section, symbol.value, symbol.local));
    let ends = ends(elf, &found);
    let mut functions: Vec<Function<'a>> = Vec::with_capacity(found.len());
    for (&(section, symbol), end) in found.iter().zip(ends) {
        let function = function(elf, section, symbol, end)?;
        match functions.last() {
            // Several names of one function.
            Some(last) if (last.section, last.start, last.len) == (section, function.start, function.len) => {}
            Some(last) if last.section == section && last.start + last.len > function.start => {
                return Err(ObjectError::Function {
                    function: function.name.into(),
                    section: elf.sections[section].name.into(),
                    reason: format!("overlaps with function {:?}", last.name),
                });
            }
            _ => functions.push(function),
        }
    }
    check_all_found(elf, &functions)?;
    // As in libbpf: one function and nothing else can only be a program.
    if let [only] = &mut functions[..] {
        only.entry |= only.global;
    }
    Ok(functions)
}

/// Where functions that do not say how long they are end: where the next one starts, or with their section.
fn ends(elf: &Elf<'_>, sorted: &[(usize, &Symbol<'_>)]) -> Vec<u64> {
    let mut ends = Vec::with_capacity(sorted.len());
    for (index, (section, symbol)) in sorted.iter().enumerate().rev() {
        ends.push(match sorted.get(index + 1) {
            Some((other, next)) if other == section && next.value != symbol.value => next.value,
            Some((other, _)) if other == section => ends.last().copied().unwrap_or_default(),
            _ => elf.sections[*section].data.len() as u64,
        });
    }
    ends.reverse();
    ends
}

/// The function of a symbol, which ends at the latest at `end`.
fn function<'a>(elf: &Elf<'a>, section: usize, symbol: &Symbol<'a>, end: u64) -> Result<Function<'a>, ObjectError> {
    let header = &elf.sections[section];
    let (insn, len) = (Insn::SIZE as u64, header.data.len() as u64);
    let size = match symbol.size {
        0 => end.saturating_sub(symbol.value),
        size => size,
    };
    let inside = symbol.value.checked_add(size).is_some_and(|end| end <= len);
    if !inside || size == 0 || !symbol.value.is_multiple_of(insn) || !size.is_multiple_of(insn) {
        return Err(ObjectError::Function {
            function: symbol.name.into(),
            section: header.name.into(),
            reason: format!("{size} bytes at offset {}, of {len} bytes", symbol.value),
        });
    }
    Ok(Function {
        name: symbol.name,
        section,
        start: (symbol.value / insn) as usize,
        len: (size / insn) as usize,
        // Static functions are only called.
        entry: !is_text(header) && !symbol.local,
        global: !symbol.local && !symbol.hidden,
    })
}

/// Refuses sections of programs without any function: what is meant to be loaded would be left out silently.
fn check_all_found(elf: &Elf<'_>, functions: &[Function<'_>]) -> Result<(), ObjectError> {
    let mut has_function = vec![false; elf.sections.len()];
    functions
        .iter()
        .for_each(|function| has_function[function.section] = true);
    let without = |(index, section): &(usize, &Section<'_>)| {
        section.executable && !section.data.is_empty() && !is_text(section) && !has_function[*index]
    };
    match elf.sections.iter().enumerate().find(without) {
        None => Ok(()),
        Some((_, section)) => Err(ObjectError::Section {
            section: section.name.into(),
            reason: "holds code, but no symbol says where a function starts: keep symbols when stripping, and declare \
                     functions of assembly with .type NAME,@function"
                .into(),
        }),
    }
}
