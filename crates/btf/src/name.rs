//! Names: slices of one shared string table.
//!
//! BTF names are offsets into a string section, and nothing keeps a million types from naming the same megabyte. A [`Name`]
//! therefore never copies: it is a place in the table, which all names share.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A name or another string of BTF; dereferences to `str`. Empty for anonymous types.
#[derive(Clone)]
pub struct Name {
    table: Arc<str>,
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
}

impl Default for Name {
    fn default() -> Name {
        Name::from("")
    }
}

impl From<&str> for Name {
    /// A name with a table of its own. Text beyond 4 GiB is cut off.
    fn from(text: &str) -> Name {
        Name {
            table: Arc::from(text),
            start: 0,
            len: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
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

/// A string section, indexed so that finding the end of a string does not scan for it.
#[derive(Clone, Debug)]
pub(crate) struct Strings {
    table: Arc<str>,
    nuls: Vec<u32>,
}

impl Strings {
    /// Takes over a string section. Bytes that are not UTF-8 (source lines in other encodings) become `?`, which keeps
    /// offsets as they are.
    pub(crate) fn new(bytes: &[u8]) -> Strings {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
        }
        let nuls = (0u32..)
            .zip(text.bytes())
            .filter(|&(_, b)| b == 0)
            .map(|(at, _)| at)
            .collect();
        Strings {
            table: Arc::from(text),
            nuls,
        }
    }

    /// The string that starts at `offset`; `None` past the end, inside a character, or without a NUL behind it.
    pub(crate) fn get(&self, offset: u32) -> Option<Name> {
        let end = *self.nuls.get(self.nuls.partition_point(|&nul| nul < offset))?;
        self.table.get(offset as usize..end as usize)?;
        Some(Name {
            table: Arc::clone(&self.table),
            start: offset,
            len: end - offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_their_nul() {
        let strings = Strings::new(b"\0int\0caf\xc3\xa9\0latin \xe9\0tail");
        assert_eq!(strings.get(0).unwrap(), "");
        assert_eq!(strings.get(1).unwrap(), "int");
        assert_eq!(strings.get(2).unwrap(), "nt");
        assert_eq!(strings.get(5).unwrap(), "café");
        assert_eq!(strings.get(9), None, "inside a character");
        assert_eq!(strings.get(11).unwrap(), "latin ?");
        assert_eq!(strings.get(19), None, "no NUL behind it");
        assert_eq!(strings.get(1000), None);
    }
}
