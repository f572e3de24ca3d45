//! Names: slices of one shared string table.
//!
//! BTF names are offsets into a string section, and nothing keeps a million types from naming the same megabyte. A [`Name`]
//! therefore never copies: it is a place in the table, which all names share.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A name or another string of BTF; dereferences to `str`, and never holds a NUL. Empty for anonymous types.
#[derive(Clone)]
pub struct Name {
    /// Boxed once more, so that the pointer to it is thin: there are as many names as members and enumerators.
    table: Arc<Box<str>>,
    start: u32,
    len: u32,
}

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let start = self.start as usize;
        self.table.get(start..start + self.len as usize).unwrap_or_default()
    }

    /// The table that this is a part of, and where in it the name ends. Names with the same place share their ends.
    pub(crate) fn end(&self) -> (&Arc<Box<str>>, u32) {
        (&self.table, self.start + self.len)
    }

    /// The longest string that ends where this one does.
    pub(crate) fn longest(&self) -> Name {
        let before = &self.table.as_bytes()[..self.start as usize];
        let start = memchr::memrchr(0, before).map_or(0, |nul| nul as u32 + 1);
        Name {
            table: Arc::clone(&self.table),
            start,
            len: self.start + self.len - start,
        }
    }
}

impl Default for Name {
    fn default() -> Name {
        Name::from("")
    }
}

impl From<&str> for Name {
    /// A name with a table of its own. Text from a NUL on, or beyond 4 GiB, is cut off.
    fn from(text: &str) -> Name {
        let text = text.split('\0').next().unwrap_or_default();
        Name {
            table: Arc::new(Box::from(text)),
            start: 0,
            len: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// How far a string is scanned for its end before the index is asked.
const SCAN: usize = 64;

/// A string section, indexed so that finding the end of a long string does not scan for it. That of a split BTF goes on
/// where its base's ends.
#[derive(Clone, Debug)]
pub(crate) struct Strings {
    base: Option<Arc<Strings>>,
    /// Offset of the first byte: where the base ends.
    first: u32,
    table: Arc<Box<str>>,
    nuls: Vec<u32>,
}

impl Strings {
    /// Takes over a string section. Bytes that are not UTF-8 (source lines in other encodings) become `?`, which keeps
    /// offsets as they are.
    pub(crate) fn new(bytes: &[u8], base: Option<Arc<Strings>>) -> Strings {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
        }
        let nuls = memchr::memchr_iter(0, text.as_bytes()).map(|at| at as u32).collect();
        Strings {
            first: base.as_ref().map_or(0, |base| base.end()),
            base,
            table: Arc::new(text.into()),
            nuls,
        }
    }

    /// Offset of the first byte behind it.
    pub(crate) fn end(&self) -> u32 {
        self.first.saturating_add(self.table.len() as u32)
    }

    /// The table itself, and the offset of its first byte.
    pub(crate) fn table(&self) -> (&Arc<Box<str>>, u32) {
        (&self.table, self.first)
    }

    /// This one, that of the base, that of its base.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Strings> {
        std::iter::successors(Some(self), |strings| strings.base.as_deref())
    }

    /// All strings with their offsets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Name, u32)> {
        let mut start = 0;
        self.nuls.iter().map(move |&nul| {
            let name = Name {
                table: Arc::clone(&self.table),
                start,
                len: nul - start,
            };
            let offset = self.first + start;
            start = nul + 1;
            (name, offset)
        })
    }

    /// The string that starts at `offset`; `None` past the end, inside a character, or without a NUL behind it.
    pub(crate) fn get(&self, offset: u32) -> Option<Name> {
        let strings = self.chain().find(|strings| strings.first <= offset)?;
        let start = offset - strings.first;
        let rest = strings.table.as_bytes().get(start as usize..)?;
        let end = match memchr::memchr(0, &rest[..rest.len().min(SCAN)]) {
            Some(len) => start + len as u32,
            None => *strings.nuls.get(strings.nuls.partition_point(|&nul| nul < start))?,
        };
        strings.table.get(start as usize..end as usize)?;
        Some(Name {
            table: Arc::clone(&strings.table),
            start,
            len: end - start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_their_nul() {
        let strings = Strings::new(b"\0int\0caf\xc3\xa9\0latin \xe9\0tail", None);
        assert_eq!(strings.get(0).unwrap(), "");
        assert_eq!(strings.get(1).unwrap(), "int");
        assert_eq!(strings.get(2).unwrap(), "nt");
        assert_eq!(strings.get(5).unwrap(), "café");
        assert_eq!(strings.get(9), None, "inside a character");
        assert_eq!(strings.get(11).unwrap(), "latin ?");
        assert_eq!(strings.get(19), None, "no NUL behind it");
        assert_eq!(strings.get(1000), None);

        let split = Strings::new(b"more\0", Some(Arc::new(strings)));
        assert_eq!(split.get(1).unwrap(), "int");
        assert_eq!(split.get(23).unwrap(), "more");
        assert_eq!(split.get(25).unwrap(), "re");
        assert_eq!(split.get(28), None);
    }

    #[test]
    fn long_strings_end_too() {
        let text = format!("\0{}\0{}", "x".repeat(1000), "y".repeat(1000));
        let strings = Strings::new(text.as_bytes(), None);
        assert_eq!(strings.get(1).unwrap().len(), 1000);
        assert_eq!(strings.get(900).unwrap().len(), 101);
        assert_eq!(strings.get(900).unwrap().longest().len(), 1000);
        assert_eq!(strings.get(1002), None);
    }

    #[test]
    fn names_hold_no_nul() {
        assert_eq!(Name::from("a\0b"), "a");
    }
}
