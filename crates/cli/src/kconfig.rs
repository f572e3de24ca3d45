//! Configuration options of a kernel, as in `/boot/config-*`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;

use crate::host::read_text;

/// Reads a file of options.
pub(crate) fn read(path: &Path) -> Result<HashMap<String, String>> {
    Ok(options(&read_text(path)?))
}

/// Lines like `CONFIG_HZ=250`; all others are comments.
fn options(text: &str) -> HashMap<String, String> {
    let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_the_lines_that_set_one() {
        let options = options("# CONFIG_OFF is not set\nCONFIG_HZ=250\nCONFIG_S=\"a=b\"\n\n");
        assert_eq!(options.get("CONFIG_HZ").map(String::as_str), Some("250"));
        assert_eq!(options.get("CONFIG_S").map(String::as_str), Some("\"a=b\""));
        assert_eq!(options.len(), 2);
    }
}
