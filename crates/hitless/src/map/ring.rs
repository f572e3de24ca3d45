//! The memory of ring buffers: laid out as the kernel has it, so that whoever knows the kernel's can read ours.
//!
//! ```text
//! 0              lock, pending position, mask, eventfd          one page that only this process has
//! page           consumer position                              u64; a memory file
//! 2 * page       producer position                              u64; another one, from here on
//! 3 * page       data                                           max_entries bytes, a power of two
//! 3 * page + n   the same data                                  so that a record that wraps around is contiguous
//! ```
//!
//! Who is outside gets the two files, and may write one of them: the reader its position, the writer of a user ring buffer
//! its own and the data. The other one is sealed, so that it can be mapped to be read only, whoever opens it: headers and positions
//! there are the runtime's alone. What comes from outside is compared with those before it is used. A map that is kept in a file
//! has both parts there, one behind the other, and gives out neither.
//!
//! A record is a header of eight bytes, the length with two flags, and a word that the kernel uses for itself, then the
//! sample, padded to a multiple of eight. Positions only grow; a position modulo the size is an offset into the data.
//!
//! The first page makes the address of a record enough to find everything else: its header says how many pages lie between
//! the two, as in Linux. What is written there is out of reach of programs and of other processes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;

use rustix::event::{EventfdFlags, eventfd};

use super::audit::{Audit, FindingKind};
use super::{Creation, MapCreateError, MapError};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes};
use crate::sys;

/// `BPF_RINGBUF_BUSY_BIT`: the record is reserved and not yet committed.
pub(super) const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: the record is to be skipped.
pub(super) const DISCARD: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`.
pub(super) const HEADER: u64 = 8;

const LOCK: usize = 0;
const EVENT: usize = 4;
const PENDING: usize = 8;
const MASK: usize = 16;
const BASE: usize = 24;

/// When the reader of a ring is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Wakeup {
    /// If it has read everything up to this record, so that it may be asleep.
    #[default]
    Adaptive,
    /// Never (`BPF_RB_NO_WAKEUP`).
    Never,
    /// Always (`BPF_RB_FORCE_WAKEUP`).
    Always,
}

impl Wakeup {
    /// What the flags of `bpf_ringbuf_submit` say. Other bits mean nothing; helpers that refuse them look at
    /// [`Wakeup::from_known_bits`].
    pub(crate) fn from_bits(flags: u64) -> Wakeup {
        match flags {
            _ if flags & 2 != 0 => Wakeup::Always,
            _ if flags & 1 != 0 => Wakeup::Never,
            _ => Wakeup::Adaptive,
        }
    }

    /// The same, for helpers that answer `-EINVAL` if there are other bits.
    pub(crate) fn from_known_bits(flags: u64) -> Option<Wakeup> {
        (flags & !3 == 0).then(|| Wakeup::from_bits(flags))
    }
}

/// A record's header, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Length of the sample.
    pub(super) len: u32,
    pub(super) busy: bool,
    pub(super) discarded: bool,
}

impl Header {
    /// How far it is to the next record.
    pub(super) fn step(self) -> u64 {
        (u64::from(self.len) + HEADER).next_multiple_of(8)
    }
}

impl From<u32> for Header {
    fn from(word: u32) -> Header {
        Header {
            len: word & !(BUSY | DISCARD),
            busy: word & BUSY != 0,
            discarded: word & DISCARD != 0,
        }
    }
}

/// The side of a ring buffer that is outside of the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outside {
    Consumer,
    Producer,
}

/// The memory of a ring buffer, for who maps it as libbpf does. One of the two can be mapped to be read only.
#[derive(Clone, Copy, Debug)]
pub struct RingFiles<'a> {
    /// A page: the consumer's position. Writable for the reader of a ring buffer, not for the writer of a user ring buffer.
    pub consumer: BorrowedFd<'a>,
    /// A page, the producer's position, and behind it the data, which are to be mapped twice in a row. Writable for the writer of
    /// a user ring buffer, not for the reader of a ring buffer.
    pub producer: BorrowedFd<'a>,
}

/// The memory of a ring buffer, and what wakes its reader.
#[derive(Debug)]
pub(super) struct Ring {
    region: Region,
    page: usize,
    size: usize,
    /// Those of [`RingFiles`]; none if the map is kept in a file.
    files: Vec<OwnedFd>,
    event: OnceLock<OwnedFd>,
}

impl Ring {
    pub(super) fn new(creation: &Creation<'_>, outside: Outside) -> Result<Ring, MapCreateError> {
        let def = creation.def;
        let page = rustix::param::page_size();
        let size = def.max_entries as usize;
        creation.check(def.key_size == 0, "key_size", def.key_size, "0 for a ring buffer")?;
        creation.check(def.value_size == 0, "value_size", def.value_size, "0 for a ring buffer")?;
        let fits = size.is_power_of_two() && size.is_multiple_of(page);
        creation.check(
            fits,
            "max_entries",
            size as u64,
            "a power of two and a multiple of the page size",
        )?;
        let (region, files) = creation.reserve_ring(page, &[page, page + size], size)?;
        let foreign = [outside == Outside::Consumer, outside == Outside::Producer];
        for (file, is_foreign) in files.iter().zip(foreign) {
            let sealed = sys::seal(file.as_fd(), !is_foreign);
            sealed.map_err(|error| creation.no_memory(size as u64, error.into()))?;
        }
        let ring = Ring {
            region,
            page,
            size,
            files,
            event: OnceLock::new(),
        };
        ring.region.word64(MASK).store(size as u64 - 1, Relaxed);
        ring.region.word64(BASE).store(ring.region.address(0), Release);
        Ok(ring)
    }

    /// How many bytes of data it has.
    pub(super) fn size(&self) -> u64 {
        self.size as u64
    }

    /// The word that producers lock.
    pub(super) fn lock_word(&self) -> &AtomicU32 {
        self.region.word32(LOCK)
    }

    /// Position of the oldest record that was not committed when somebody last looked.
    pub(super) fn pending(&self) -> &AtomicU64 {
        self.region.word64(PENDING)
    }

    pub(super) fn consumer(&self) -> &AtomicU64 {
        self.region.word64(self.page)
    }

    pub(super) fn producer(&self) -> &AtomicU64 {
        self.region.word64(2 * self.page)
    }

    fn offset(&self, position: u64) -> usize {
        3 * self.page + (position & (self.size as u64 - 1)) as usize
    }

    /// The header of the record at a position, which is a multiple of eight.
    pub(super) fn header(&self, position: u64) -> &AtomicU32 {
        self.region.word32(self.offset(position))
    }

    /// Address of the sample of the record at a position.
    pub(super) fn sample_address(&self, position: u64) -> u64 {
        self.region.address(self.offset(position) + HEADER as usize)
    }

    /// The first `len` bytes, at most the ring's size, of the sample of the record at a position.
    pub(super) fn sample(&self, position: u64, len: usize) -> SharedBytes<'_> {
        self.region.bytes(self.offset(position) + HEADER as usize, len)
    }

    /// Writes the header of a new record, before the position of the producer makes it visible.
    pub(super) fn begin(&self, position: u64, len: u32) {
        let off = self.offset(position);
        self.region.word32(off + 4).store((off / self.page) as u32, Relaxed);
        self.region.word32(off).store(len | BUSY, Release);
    }

    /// Whether an address lies in the data, with `len` bytes behind it.
    pub(super) fn holds(&self, address: u64, len: usize) -> bool {
        let first = 3 * self.page;
        let end = first + 2 * self.size;
        self.region
            .offset_of(address)
            .is_some_and(|off| off >= first && off + len <= end)
    }

    /// The memory, for who is outside.
    pub(super) fn files(&self) -> Option<RingFiles<'_>> {
        match &self.files[..] {
            [consumer, producer] => Some(RingFiles {
                consumer: consumer.as_fd(),
                producer: producer.as_fd(),
            }),
            _ => None,
        }
    }

    /// Mends what another process has left: records that it had reserved and not committed are discarded, since nobody would
    /// commit them.
    pub(super) fn recover(&self, audit: &mut Audit) {
        let (mut position, end) = (self.consumer().load(Relaxed), self.producer().load(Relaxed));
        // Positions that nobody reaches would overflow.
        let is_whole = position.is_multiple_of(8) && end.is_multiple_of(8) && end <= i64::MAX as u64;
        if !is_whole || end.checked_sub(position).is_none_or(|len| len > self.size()) {
            audit.note(FindingKind::Reference, position);
            self.consumer().store(0, Relaxed);
            self.producer().store(0, Relaxed);
            return;
        }
        while position < end {
            let word = self.header(position);
            let header = Header::from(word.load(Relaxed));
            if header.step() > end - position {
                // What follows cannot be found.
                audit.note(FindingKind::Form, position);
                self.producer().store(position, Relaxed);
                break;
            }
            if header.busy {
                audit.note(FindingKind::Uncommitted, position);
                word.store(header.len | DISCARD, Relaxed);
            } else if !header.discarded {
                audit.elements += 1;
            }
            position += header.step();
        }
        self.pending().store(position, Relaxed);
    }

    /// An eventfd that is readable once the reader has been woken. Made when it is first asked for: until then nobody waits.
    pub(super) fn event(&self) -> std::io::Result<BorrowedFd<'_>> {
        if let Some(event) = self.event.get() {
            return Ok(event.as_fd());
        }
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let event = self.event.get_or_init(|| made);
        self.region.word32(EVENT).store(event.as_raw_fd() as u32 + 1, Release);
        // What was committed before anybody could be woken.
        if self.producer().load(Acquire) > self.consumer().load(Acquire) {
            self.handle().wake();
        }
        Ok(event.as_fd())
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        Handle {
            private: self.region.bytes(0, self.page),
            consumer: self.consumer(),
        }
    }
}

/// Who reads for the host: one at a time.
pub(super) struct Reading<'a>(&'a AtomicU32);

impl Reading<'_> {
    /// # Errors
    /// [`MapError::Busy`] if somebody reads.
    pub(super) fn begin(word: &AtomicU32) -> Result<Reading<'_>, MapError> {
        match word.compare_exchange(0, 1, Acquire, Relaxed) {
            Ok(_) => Ok(Reading(word)),
            Err(_) => Err(MapError::Busy),
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.store(0, Release);
    }
}

/// What committing a record needs of a ring.
pub(super) struct Handle<'a> {
    private: SharedBytes<'a>,
    consumer: &'a AtomicU64,
}

impl<'a> Handle<'a> {
    /// Finds the ring of a record by the address of its sample; also gives the header, and its offset into the data.
    ///
    /// # Safety
    /// The address is what a reservation gave, of a record that was not committed, in a ring that lives for `'a`.
    pub(super) unsafe fn of(sample: u64) -> (Handle<'a>, &'a AtomicU32, u64) {
        let page = rustix::param::page_size() as u64;
        let header = sample - HEADER;
        // SAFETY: by the caller's word a header lies there, which `Ring::begin` has written, and which is aligned; the ring's
        // first page is as many pages before it as it says. All of it is accessed atomically.
        unsafe {
            let pages = (*((header + 4) as *const AtomicU32)).load(Relaxed);
            let start = (header & !(page - 1)) - u64::from(pages) * page;
            let handle = Handle {
                private: SharedBytes::from_raw(start, page as usize),
                consumer: &*((start + page) as *const AtomicU64),
            };
            debug_assert_eq!(handle.word64(BASE).load(Relaxed), start, "a record of a ring");
            (handle, &*(header as *const AtomicU32), header - start - 3 * page)
        }
    }

    fn word32(&self, off: usize) -> &'a AtomicU32 {
        let word = self.private.part(off, 4);
        // SAFETY: it lies in the ring's first page, which is aligned, lives for `'a`, and is accessed atomically.
        unsafe { &*(word.address() as *const AtomicU32) }
    }

    fn word64(&self, off: usize) -> &'a AtomicU64 {
        let word = self.private.part(off, 8);
        // SAFETY: as in `word32`.
        unsafe { &*(word.address() as *const AtomicU64) }
    }

    /// Wakes the reader after the record at an offset into the data was committed.
    pub(super) fn notify(&self, record: u64, wakeup: Wakeup) {
        let mask = self.word64(MASK).load(Relaxed);
        let due = match wakeup {
            Wakeup::Never => false,
            Wakeup::Always => true,
            // The offset is in the first or in the second mapping of the data.
            Wakeup::Adaptive => self.consumer.load(SeqCst) & mask == record & mask,
        };
        if due {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        let event = self.word32(EVENT).load(Acquire);
        if event != 0 {
            // SAFETY: the descriptor stays open as long as the ring lives. An error means that the counter is at its limit: it
            // is readable then.
            let event = unsafe { BorrowedFd::borrow_raw(event as i32 - 1) };
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }
}
