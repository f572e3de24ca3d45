//! The verifier log, in the format of the kernel's.
//!
//! Tools read it: they look for the line that begins with "processed", and at the lines before it. What each instruction
//! made of the state stands beside it, as in Linux 6.18; `trace` says when, `text` how. Other than there,
//!
//! - scalars are not marked as precise, and there are no lines of `mark_precise` nor about the liveness of the stack;
//! - maps show by their index, `r1 = map[idx:0]`, not by an address;
//! - ids are numbered otherwise;
//! - an error has one line. What is known beyond that is in [`Rejection`](crate::Rejection).

pub(crate) mod text;
pub(crate) mod trace;

/// What a log is to tell: any of these, or several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogLevel(u32);

impl LogLevel {
    /// The path to the instruction that is refused; of an accepted program no instruction (`BPF_LOG_LEVEL1`).
    pub const PATH: LogLevel = LogLevel(1);
    /// Every path (`BPF_LOG_LEVEL2`).
    pub const ALL: LogLevel = LogLevel(2);
    /// What it cost: time, stack, instructions, states (`BPF_LOG_STATS`).
    pub const STATS: LogLevel = LogLevel(4);

    /// The level with this number in `bpf(2)` (`log_level`), if it is one that this log has.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<LogLevel> {
        if bits < 8 { Some(LogLevel(bits)) } else { None }
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: LogLevel) -> LogLevel {
        LogLevel(self.0 | other.0)
    }

    const fn has(self, other: LogLevel) -> bool {
        self.0 & other.0 != 0
    }

    const fn insns(self) -> bool {
        self.has(LogLevel::PATH.and(LogLevel::ALL))
    }
}

/// A verifier log, bounded in size: if there is more of it, it keeps the end, as in Linux since 6.4.
///
/// ```
/// use hitless_verifier::{Log, LogLevel};
///
/// let log = Log::new(LogLevel::STATS, 1 << 16);
/// assert_eq!(log.text(), "");
/// ```
#[derive(Clone, Debug)]
pub struct Log {
    level: LogLevel,
    limit: usize,
    /// The end of what was written.
    tail: String,
    /// How many bytes were before it.
    dropped: u64,
    /// The most bytes that there were at once, dropped ones included.
    size: u64,
}

impl Log {
    /// An empty log that keeps `limit` bytes.
    #[must_use]
    pub fn new(level: LogLevel, limit: usize) -> Log {
        Log {
            level,
            limit,
            tail: String::new(),
            dropped: 0,
            size: 0,
        }
    }

    /// What it tells: the last bytes of it, no more than its limit.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.tail[self.kept_from()..]
    }

    /// The limit with which nothing would have been left out (`log_true_size`, without the NUL that ends it there).
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    fn kept_from(&self) -> usize {
        let excess = self.tail.len().saturating_sub(self.limit);
        (excess..=self.tail.len())
            .find(|&at| self.tail.is_char_boundary(at))
            .unwrap_or(excess)
    }

    fn write(&mut self, text: &str) {
        self.tail += text;
        self.size = self.size.max(self.position());
        // Seldom, so that each byte is moved once at the most.
        if self.tail.len() / 2 > self.limit.max(1 << 12) {
            let from = self.kept_from();
            self.tail.drain(..from);
            self.dropped += from as u64;
        }
    }

    fn position(&self) -> u64 {
        self.dropped + self.tail.len() as u64
    }

    /// Takes back what was written since the log ended at `position`.
    fn reset(&mut self, position: u64) {
        match position.checked_sub(self.dropped) {
            Some(len) => self.tail.truncate(len as usize),
            None => {
                self.tail.clear();
                self.dropped = position;
            }
        }
    }

    /// Goes on in the last line.
    fn reopen_line(&mut self) -> usize {
        if self.tail.ends_with('\n') {
            self.tail.pop();
        }
        let line = self.tail.rfind('\n').map_or(0, |newline| newline + 1);
        self.tail.len() - line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut log = Log::new(LogLevel::ALL, 10);
        for i in 0..10_000 {
            log.write(&format!("{i}\n"));
        }
        assert_eq!(log.text(), "9998\n9999\n");
        assert_eq!(log.size(), 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5);
        assert!(log.tail.len() < 1 << 14);
        let mut log = Log::new(LogLevel::ALL, 3);
        log.write("aéé");
        assert_eq!(log.text(), "é", "characters are not cut");
    }

    #[test]
    fn what_was_taken_back_counts_for_the_size() {
        let mut log = Log::new(LogLevel::PATH, 100);
        log.write("one\n");
        let position = log.position();
        log.write("two\n");
        log.reset(position);
        assert_eq!((log.text(), log.size()), ("one\n", 8));
        let mut small = Log::new(LogLevel::PATH, 1);
        (0..10_000).for_each(|_| small.write("line\n"));
        small.reset(3);
        small.write("x");
        assert_eq!((small.text(), small.position()), ("x", 4));
    }
}
