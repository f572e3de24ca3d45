//! Errors as one line.

use std::error::Error;

use hitless::LoadError;

/// The error and its causes, joined with ": ".
///
/// A cause that its parent has printed already is left out. Of a refused program the first error is printed and the number
/// of the others.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    joined(error.chain())
}

/// As [`one_line`].
pub(crate) fn joined<'a>(chain: impl Iterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut line = String::new();
    for cause in chain {
        let text = cause.to_string();
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
        if let Some(rejection) = rejection(cause) {
            line.push_str(": ");
            line.push_str(&rejection);
            break;
        }
    }
    printable(&line)
}

/// What the verifier says, shortened to its first error.
fn rejection(cause: &(dyn Error + 'static)) -> Option<String> {
    let LoadError::Rejected { source, .. } = cause.downcast_ref()? else {
        return None;
    };
    let first = source.errors.first()?;
    Some(match source.errors.len() - 1 {
        0 => first.to_string(),
        1 => format!("{first} (1 more error left out)"),
        more => format!("{first} ({more} more errors left out)"),
    })
}

/// Control characters, which names from files may hold, are escaped: the text stays on its line.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn causes_are_joined_and_none_is_printed_twice() {
        let error = anyhow!("the file ends")
            .context("record 3: the file ends")
            .context("cannot read x");
        assert_eq!(one_line(&error), "cannot read x: record 3: the file ends");
        let error = Err::<(), _>(anyhow!("no such map")).context("cannot dump").unwrap_err();
        assert_eq!(one_line(&error), "cannot dump: no such map");
    }

    #[test]
    fn a_name_cannot_add_a_line() {
        assert_eq!(one_line(&anyhow!("map a\nb\u{1b}[2J: é")), "map a\\nb\\u{1b}[2J: é");
    }
}
