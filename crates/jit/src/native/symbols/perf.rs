//! perf's map of code that is made at run time: a line for each function, address and size in hexadecimal, and name.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use super::Symbol;

/// Appends functions to the process' map, in one piece. Not through a link, which anybody could have put there.
pub(super) fn append(functions: &[Symbol]) -> io::Result<()> {
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    file.write_all(lines(functions).as_bytes())
}

fn lines(functions: &[Symbol]) -> String {
    let mut lines = String::new();
    for Symbol { name, addresses } in functions {
        // Writing to a `String` cannot fail.
        let _ = writeln!(lines, "{:x} {:x} {name}", addresses.start, addresses.len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_function() {
        let symbol = |name: &str, addresses| Symbol {
            name: name.to_owned(),
            addresses,
        };
        let functions = [
            symbol("bpf_prog_a", 0x1000..0x1020),
            symbol("bpf_prog_a.1", 0x1020..0x1030),
        ];
        assert_eq!(lines(&functions), "1000 20 bpf_prog_a\n1020 10 bpf_prog_a.1\n");
    }
}
