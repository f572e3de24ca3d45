//! What programs print (`bpf_trace_printk`): a buffer of a runtime, as the kernel's `trace_pipe` is one of all of it.
//!
//! The buffer is a ring of bytes under a lock that names its holder (`lock.rs`): a signal handler that interrupts the holder does
//! not wait, its text is lost. When the ring is full, the oldest texts give way. Both are counted, and reported with the next text
//! that is read. Whoever prints copies into memory that is there from the beginning; only readers allocate.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::{Duration, Instant};

use crate::lock::lock;
use crate::primitive::Ordering::{Relaxed, SeqCst};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::run::{Forked, Run, Slots};
use crate::sys;

/// How many bytes of texts are kept for a reader.
const SIZE: usize = 256 << 10;

/// The longest text; the kernel cuts them off there, too.
pub(crate) const LONGEST: usize = 1024;

/// A thread's name, with the zero at its end.
pub(crate) const COMM: usize = 16;

/// Length, slot, thread, time, and the thread's name.
const HEADER: usize = 4 + 4 + 4 + 8 + COMM;

/// The texts that programs have printed, and nobody has read yet.
#[derive(Debug)]
pub(crate) struct TraceBuffer {
    /// Holds the number of the slot that uses the rest, plus 1.
    owner: AtomicU32,
    bytes: Box<[AtomicU8]>,
    /// How many bytes have been taken and put, ever.
    taken: AtomicU64,
    put: AtomicU64,
    lost: AtomicU64,
    /// Moves with each text, for readers that wait.
    texts: AtomicU32,
    waiting: AtomicU32,
}

impl TraceBuffer {
    pub(crate) fn new() -> TraceBuffer {
        TraceBuffer {
            owner: AtomicU32::new(0),
            bytes: (0..SIZE).map(|_| AtomicU8::new(0)).collect(),
            taken: AtomicU64::new(0),
            put: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            texts: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Adds a text, of which [`LONGEST`] bytes are kept.
    pub(crate) fn print(&self, run: &Run<'_>, thread: u32, comm: &[u8; COMM], now: u64, text: &[u8]) {
        let text = &text[..text.len().min(LONGEST)];
        let Ok(_held) = lock(run, &self.owner) else {
            self.lost.fetch_add(1, Relaxed);
            return;
        };
        let len = HEADER + text.len();
        let put = self.put.load(Relaxed);
        while put + len as u64 - self.taken.load(Relaxed) > SIZE as u64 {
            self.skip();
            self.lost.fetch_add(1, Relaxed);
        }
        let mut at = put;
        let parts: [&[u8]; 6] = [
            &(text.len() as u32).to_ne_bytes(),
            &run.index().to_ne_bytes(),
            &thread.to_ne_bytes(),
            &now.to_ne_bytes(),
            comm,
            text,
        ];
        for part in parts {
            for byte in part {
                self.byte(at).store(*byte, Relaxed);
                at += 1;
            }
        }
        self.put.store(at, Relaxed);
        self.texts.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            sys::futex_wake_all(&self.texts);
        }
    }

    /// Takes the oldest text. The caller holds the lock.
    fn take(&self) -> Option<TraceText> {
        let at = self.taken.load(Relaxed);
        if at == self.put.load(Relaxed) {
            return None;
        }
        let len = u32::from_ne_bytes(self.read(at)) as usize;
        let mut text = vec![0; len];
        self.copy(at + HEADER as u64, &mut text);
        let comm: [u8; COMM] = self.read(at + 20);
        let end = comm.iter().position(|byte| *byte == 0).unwrap_or(COMM);
        let taken = TraceText {
            cpu: u32::from_ne_bytes(self.read(at + 4)),
            thread: u32::from_ne_bytes(self.read(at + 8)),
            time: Duration::from_nanos(u64::from_ne_bytes(self.read(at + 12))),
            comm: String::from_utf8_lossy(&comm[..end]).into_owned(),
            text,
            lost: self.lost.load(Relaxed),
        };
        self.lost.fetch_add(taken.lost.wrapping_neg(), Relaxed);
        self.skip();
        Some(taken)
    }

    /// Passes over the oldest text.
    fn skip(&self) {
        let at = self.taken.load(Relaxed);
        let len = u32::from_ne_bytes(self.read(at)) as usize;
        self.taken.store(at + (HEADER + len) as u64, Relaxed);
    }

    fn byte(&self, at: u64) -> &AtomicU8 {
        &self.bytes[at as usize % SIZE]
    }

    fn copy(&self, at: u64, to: &mut [u8]) {
        for (at, byte) in (at..).zip(to) {
            *byte = self.byte(at).load(Relaxed);
        }
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.copy(at, &mut bytes);
        bytes
    }
}

/// A text that a program has printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceText {
    /// The slot that the program ran on, which programs see as their CPU.
    pub cpu: u32,
    /// The thread that ran it.
    pub thread: u32,
    /// That thread's name.
    pub comm: String,
    /// When it was printed, by the clock of `bpf_ktime_get_ns`.
    pub time: Duration,
    /// What it printed, without the zero at its end.
    pub text: Vec<u8>,
    /// How many texts were lost before this one: because nobody had read them in time, or because a signal handler
    /// printed while the code that it interrupted did.
    pub lost: u64,
}

impl fmt::Display for TraceText {
    /// A line as the kernel's `trace_pipe` has it, without the letters that tell of interrupts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        write!(
            f,
            "{:>16}-{:<7} [{:03}] {:5}.{:06}: bpf_trace_printk: {text}",
            self.comm,
            self.thread,
            self.cpu,
            self.time.as_secs(),
            self.time.subsec_micros(),
        )
    }
}

/// Reads what the programs of a runtime print. Made by [`Runtime::trace_pipe`](crate::Runtime::trace_pipe). Each text is read once,
/// by whichever reader comes first.
///
/// # Examples
/// ```
/// let runtime = hitless::Runtime::default();
/// let pipe = runtime.trace_pipe();
/// while let Some(text) = pipe.read()? {
///     println!("{text}");
/// }
/// # Ok::<(), hitless::Forked>(())
/// ```
#[derive(Clone, Debug)]
pub struct TracePipe {
    slots: Arc<Slots>,
    buffer: Arc<TraceBuffer>,
}

impl TracePipe {
    pub(crate) fn new(slots: Arc<Slots>, buffer: Arc<TraceBuffer>) -> TracePipe {
        TracePipe { slots, buffer }
    }

    /// Takes the oldest text, or returns at once that there is none.
    ///
    /// # Errors
    /// [`Forked`] in a forked child.
    pub fn read(&self) -> Result<Option<TraceText>, Forked> {
        // A handler that runs programs while the lock is held nests in this run, and so finds out that it must not wait.
        self.slots.run(|run| {
            let _held = lock(run, &self.buffer.owner).ok()?;
            self.buffer.take()
        })
    }

    /// Takes the oldest text; if there is none, waits for one for so long.
    ///
    /// # Errors
    /// [`Forked`] in a forked child.
    pub fn wait(&self, timeout: Duration) -> Result<Option<TraceText>, Forked> {
        let buffer = &self.buffer;
        let start = Instant::now();
        // Either this thread sees the text, or who prints it sees this thread.
        buffer.waiting.fetch_add(1, SeqCst);
        let result = loop {
            let seen = buffer.texts.load(SeqCst);
            let text = self.read();
            let left = timeout.saturating_sub(start.elapsed());
            if !matches!(text, Ok(None)) || left.is_zero() {
                break text;
            }
            sys::futex_wait_for(&buffer.texts, seen, Some(left));
        };
        buffer.waiting.fetch_add(u32::MAX, Relaxed);
        result
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    fn pipe() -> TracePipe {
        let slots = Arc::new(Slots::new(0, 2, Box::default()));
        TracePipe::new(slots, Arc::new(TraceBuffer::new()))
    }

    fn print(pipe: &TracePipe, text: &[u8]) {
        let comm = b"tester\0\0\0\0\0\0\0\0\0\0";
        pipe.slots
            .run(|run| pipe.buffer.print(run, 7, comm, 1_002_003_004, text))
            .unwrap();
    }

    #[test]
    fn texts_come_in_order() {
        let pipe = pipe();
        print(&pipe, b"first\n");
        print(&pipe, b"second");
        let first = pipe.read().unwrap().unwrap();
        assert_eq!(
            (first.text.as_slice(), first.comm.as_str(), first.thread),
            (&b"first\n"[..], "tester", 7)
        );
        let line = first.to_string();
        assert!(line.starts_with("          tester-7       [00"), "{line}");
        assert!(line.ends_with("]     1.002003: bpf_trace_printk: first"), "{line}");
        assert_eq!(pipe.wait(Duration::MAX).unwrap().unwrap().text, b"second");
        assert_eq!(pipe.read(), Ok(None));
        assert_eq!(pipe.wait(Duration::from_millis(1)), Ok(None));
    }

    #[test]
    fn the_oldest_give_way() {
        let pipe = pipe();
        let count = 2 * SIZE / LONGEST;
        for i in 0..count {
            print(&pipe, &[i as u8; LONGEST + 1]);
        }
        let oldest = pipe.read().unwrap().unwrap();
        assert_eq!(oldest.text.len(), LONGEST);
        assert!(oldest.lost > (count / 2) as u64);
        assert_eq!(u64::from(oldest.text[0]), oldest.lost % 256);
        let mut left = 1;
        while let Some(text) = pipe.read().unwrap() {
            assert_eq!(text.lost, 0);
            left += 1;
        }
        assert_eq!(left + oldest.lost, count as u64);
    }

    #[test]
    fn a_handler_does_not_wait_for_what_it_interrupted() {
        let pipe = pipe();
        print(&pipe, b"before");
        pipe.slots
            .run(|run| {
                let _held = lock(run, &pipe.buffer.owner).ok();
                print(&pipe, b"nested");
                assert_eq!(pipe.read(), Ok(None));
            })
            .unwrap();
        assert_eq!(pipe.read().unwrap().unwrap().lost, 1);
        assert_eq!(pipe.read(), Ok(None));
    }
}
