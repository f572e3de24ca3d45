//! Names as C takes them: identifiers, no keywords, each given once.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::types::*;

/// Words that C with GNU extensions keeps for itself.
const KEYWORDS: &[&str] = &[
    "_Alignas",
    "_Alignof",
    "_Atomic",
    "_Bool",
    "_Complex",
    "_Float16",
    "_Generic",
    "_Imaginary",
    "_Noreturn",
    "_Static_assert",
    "_Thread_local",
    "__alignof__",
    "__asm__",
    "__attribute__",
    "__auto_type",
    "__bf16",
    "__builtin_va_list",
    "__const",
    "__extension__",
    "__float128",
    "__fp16",
    "__func__",
    "__inline",
    "__inline__",
    "__int128",
    "__label__",
    "__restrict",
    "__signed__",
    "__thread",
    "__typeof__",
    "__volatile__",
    "asm",
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "typeof",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
];

/// The name as a C identifier that is no keyword.
pub(super) fn identifier(name: &str) -> Cow<'_, str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if KEYWORDS.contains(&name) {
        return format!("{name}_").into();
    }
    if name.bytes().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return name.into();
    }
    let mut text: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text.into()
}

/// What C calls this integer; `None` if C has none of that name.
pub(super) fn builtin(int: &Int) -> Option<&str> {
    match c_size(&int.name) {
        Some(size) if size == int.size => Some(&int.name),
        // A `long` of another machine.
        Some(_) => Some(by_size(int)),
        None => None,
    }
}

/// The C integer that is as large and as signed as this one.
pub(super) fn by_size(int: &Int) -> &'static str {
    let signed = int.encoding == IntEncoding::Signed;
    match (int.size, int.encoding) {
        (1, IntEncoding::Bool) => "_Bool",
        (1, IntEncoding::Char) => "char",
        (1, _) if signed => "signed char",
        (1, _) => "unsigned char",
        (2, _) if signed => "short int",
        (2, _) => "short unsigned int",
        (4, _) if signed => "int",
        (4, _) => "unsigned int",
        (8, _) if signed => "long long int",
        (8, _) => "long long unsigned int",
        (_, _) if signed => "__int128",
        (_, _) => "unsigned __int128",
    }
}

/// The size of the C integer of this name, where pointers have 64 bits.
fn c_size(name: &str) -> Option<u32> {
    let mut words: Vec<_> = name.split(' ').collect();
    words.sort_unstable();
    let signs = words
        .iter()
        .filter(|word| matches!(**word, "signed" | "unsigned"))
        .count();
    words.retain(|word| !matches!(*word, "signed" | "unsigned"));
    match (words.as_slice(), signs) {
        (["_Bool"], 0) | (["char"], 0 | 1) => Some(1),
        (["short"] | ["int", "short"], 0 | 1) => Some(2),
        (["int"], 0 | 1) | ([], 1) => Some(4),
        (["long"] | ["int", "long"] | ["long", "long"] | ["int", "long", "long"], 0 | 1) => Some(8),
        (["__int128"], 0 | 1) => Some(16),
        _ => None,
    }
}

/// Names that were given: of structs, unions and enums, or of everything else, as C keeps these two apart.
#[derive(Default)]
pub(super) struct Given {
    /// What has each name, and how many of that name there were.
    names: HashMap<String, (Use, u32)>,
}

/// What has a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is declared, but not defined, with this keyword.
    Forward(&'static str),
    /// It is defined with this keyword ("" for ordinary identifiers).
    Defined(&'static str),
}

impl Given {
    /// A name like `name` for a definition.
    pub(super) fn define(&mut self, name: &str, keyword: &'static str) -> String {
        let free = |found: Use| found == Use::Forward(keyword);
        self.give(name, Use::Defined(keyword), free)
    }

    /// A name like `name` for something that is declared only, and may be defined elsewhere.
    pub(super) fn forward(&mut self, name: &str, keyword: &'static str) -> String {
        let free = |found: Use| matches!(found, Use::Forward(k) | Use::Defined(k) if k == keyword);
        self.give(name, Use::Forward(keyword), free)
    }

    fn give(&mut self, name: &str, now: Use, free: impl Fn(Use) -> bool) -> String {
        let base = identifier(name);
        let mut count = match self.names.get_mut(&*base) {
            None => {
                self.names.insert(base.to_string(), (now, 1));
                return base.into();
            }
            Some((found, _)) if free(*found) => {
                if matches!(now, Use::Defined(_)) {
                    *found = now;
                }
                return base.into();
            }
            Some((_, count)) => *count,
        };
        loop {
            count += 1;
            let candidate = format!("{base}___{count}");
            if !self.names.contains_key(&candidate) {
                if let Some((_, known)) = self.names.get_mut(&*base) {
                    *known = count;
                }
                self.names.insert(candidate.clone(), (now, 1));
                return candidate;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        assert_eq!(identifier("task_struct"), "task_struct");
        assert_eq!(identifier("typeof"), "typeof_");
        assert_eq!(identifier("Option<u32>"), "Option_u32_");
        assert_eq!(identifier("0"), "_0");
        assert_eq!(identifier("größe"), "gr__e");
    }

    #[test]
    fn names_are_given_once() {
        let mut given = Given::default();
        assert_eq!(given.forward("a", "struct"), "a");
        assert_eq!(given.define("a", "union"), "a___2");
        assert_eq!(given.define("a", "struct"), "a");
        assert_eq!(given.forward("a", "struct"), "a");
        assert_eq!(given.define("a___3", "struct"), "a___3");
        assert_eq!(given.define("a", "struct"), "a___4");
        assert_eq!(given.define("a___3", "struct"), "a___3___2");
    }

    #[test]
    fn integers_of_c() {
        assert_eq!(c_size("long unsigned int"), Some(8));
        assert_eq!(c_size("__int128 unsigned"), Some(16));
        assert_eq!(c_size("unsigned"), Some(4));
        assert_eq!(c_size("u32"), None);
        assert_eq!(c_size("long char"), None);
        assert_eq!(c_size("signed unsigned int"), None);
        assert_eq!(c_size(""), None);
        let long = |name: &str| Int {
            name: name.into(),
            size: 4,
            ..Int::default()
        };
        assert_eq!(builtin(&long("long unsigned int")), Some("unsigned int"));
        assert_eq!(builtin(&long("u32")), None);
    }
}
