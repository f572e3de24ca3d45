//! `BPF_MAP_TYPE_PERF_EVENT_ARRAY`: buffers that programs write records to, and the host reads.
//!
//! Of perf events there are those of software here (`PERF_COUNT_SW_BPF_OUTPUT`): a [`PerfBuffer`] belongs to a slot, as a
//! perf event belongs to a CPU, and the host puts it into the array at an index, usually the slot's. Its memory is that of perf:
//!
//! ```text
//! 0          lock, eventfd, records lost, head              one page that only this process has
//! page       struct perf_event_mmap_page                    data_head at 1024, data_tail at 1032; from here on a memory file
//! 2 * page   data                                           a power of two; a second mapping follows
//! ```
//!
//! A record is a `struct perf_event_header` and what follows it: `PERF_RECORD_SAMPLE` with the length and the data, or
//! `PERF_RECORD_LOST` with an id and how many records found no room since the one before. What does not fit is counted, never
//! silently dropped: the count precedes the next record that fits.
//!
//! Who maps the file may write all of it, as in Linux: where records go says the head in the first page, of which the other is a
//! copy.
//!
//! Only runs of the buffer's slot write it, so a lock is needed for signal handlers only: one that interrupts a record being
//! written counts its own as lost.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::ClockId;

use super::indexed::{self, Indexed, IndexedMap};
use super::references::References;
use super::ring::Reading;
use super::{Creation, MapCreateError, MapError, MapOps, Special};
use crate::lock::lock;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes};
use crate::run::Run;
use crate::sys;

const LOCK: usize = 0;
const EVENT: usize = 4;
const LOST: usize = 8;
const READING: usize = 16;
const OWN_HEAD: usize = 24;
const HEAD: usize = 1024;
const TAIL: usize = 1032;
const DATA_OFFSET: usize = 1040;
const DATA_SIZE: usize = 1048;

/// `sizeof(struct perf_event_header)`.
const HEADER: usize = 8;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// A record's length is a 16-bit number.
const MAX_RECORD: usize = u16::MAX as usize & !7;

/// `BPF_F_CURRENT_CPU`: the entry of the run's slot.
pub(crate) const CURRENT_SLOT: u32 = u32::MAX;

/// A record that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PerfRecord<'a> {
    /// What a program wrote, padded with zeros so that it and its four bytes of length are a multiple of eight.
    Sample(&'a [u8]),
    /// So many records had no room.
    Lost(u64),
}

/// A buffer for records of the programs that run on one slot.
#[derive(Debug)]
pub struct PerfBuffer {
    slot: u32,
    region: Region,
    page: usize,
    size: usize,
    file: OwnedFd,
    event: OnceLock<OwnedFd>,
    /// When it was made, by the monotonic clock, in ns.
    made: u64,
}

/// What a program reads of a perf event (`struct bpf_perf_event_value`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counted {
    /// The count: of the events that there are here, which only carry records, always 0.
    pub(crate) counter: u64,
    /// For how long it has been there, in ns.
    pub(crate) enabled: u64,
    /// And for how long it was counted.
    pub(crate) running: u64,
}

impl PerfBuffer {
    /// A buffer of `pages` pages, a power of two, for records of the programs that run on a slot.
    ///
    /// # Errors
    /// [`MapCreateError`], by variant.
    pub(crate) fn new(creation: &Creation<'_>, slot: u32, pages: u32) -> Result<PerfBuffer, MapCreateError> {
        let page = rustix::param::page_size();
        creation.check(pages.is_power_of_two(), "pages", pages, "a power of two")?;
        creation.check(
            (slot as usize) < creation.slots,
            "slot",
            slot,
            "less than the number of slots",
        )?;
        let size = page * pages as usize;
        let (region, mut files) = creation.reserve_ring(page, &[page + size], size)?;
        let no_memory = |error: std::io::Error| creation.no_memory(size as u64, error);
        let file = files
            .pop()
            .ok_or_else(|| no_memory(std::io::ErrorKind::Unsupported.into()))?;
        sys::seal(file.as_fd(), false).map_err(|error| no_memory(error.into()))?;
        region.word64(page + DATA_OFFSET).store(page as u64, Relaxed);
        region.word64(page + DATA_SIZE).store(size as u64, Relaxed);
        Ok(PerfBuffer {
            slot,
            region,
            page,
            size,
            file,
            event: OnceLock::new(),
            made: crate::helpers::now(ClockId::Monotonic),
        })
    }

    /// The slot whose programs write it.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Where the next record goes.
    fn head(&self) -> &AtomicU64 {
        self.region.word64(OWN_HEAD)
    }

    /// What others are told of it.
    fn shown_head(&self) -> &AtomicU64 {
        self.region.word64(self.page + HEAD)
    }

    fn tail(&self) -> &AtomicU64 {
        self.region.word64(self.page + TAIL)
    }

    fn lost(&self) -> &AtomicU64 {
        self.region.word64(LOST)
    }

    fn reading(&self) -> &AtomicU32 {
        self.region.word32(READING)
    }

    /// The `len` bytes of data at a position.
    fn at(&self, position: u64, len: usize) -> SharedBytes<'_> {
        let off = (position & (self.size as u64 - 1)) as usize;
        self.region.bytes(2 * self.page + off, len)
    }

    fn put(&self, position: u64, bytes: &[u8]) {
        // SAFETY: memory of this buffer's region, which is writable.
        unsafe { self.at(position, bytes.len()).write(SharedBytes::from_slice(bytes)) };
    }

    /// Writes a record of these parts, one after the other.
    fn output(&self, run: &Run<'_>, parts: &[SharedBytes<'_>]) -> Result<(), MapError> {
        let data: usize = parts.iter().map(|part| part.len()).sum();
        let record = (HEADER + 4 + data).next_multiple_of(8);
        if record > MAX_RECORD {
            return Err(MapError::TooLong {
                limit: (MAX_RECORD - HEADER - 4) as u64,
            });
        }
        let Ok(_guard) = lock(run, self.region.word32(LOCK)) else {
            self.lost().fetch_add(1, Relaxed);
            return Err(MapError::Busy);
        };
        let lost = self.lost().load(Relaxed);
        let notice = if lost > 0 { HEADER + 16 } else { 0 };
        let head = self.head().load(Relaxed);
        // Acquire: what the reader has read before it moved the tail is ours.
        let used = head.wrapping_sub(self.tail().load(Acquire));
        if used.saturating_add((record + notice) as u64) >= self.size as u64 {
            self.lost().fetch_add(1, Relaxed);
            return Err(MapError::NoSpace);
        }
        let mut position = head;
        if lost > 0 {
            self.put(position, &header(RECORD_LOST, notice));
            self.put(position + 8, &0u64.to_ne_bytes());
            self.put(position + 16, &lost.to_ne_bytes());
            // A handler may have lost one more meanwhile.
            self.lost().fetch_add(lost.wrapping_neg(), Relaxed);
            position += notice as u64;
        }
        let end = position + record as u64;
        self.put(position, &header(RECORD_SAMPLE, record));
        self.put(position + 8, &((record - HEADER - 4) as u32).to_ne_bytes());
        position += (HEADER + 4) as u64;
        for part in parts {
            // SAFETY: memory of this buffer's region, which is writable.
            unsafe { self.at(position, part.len()).write(*part) };
            position += part.len() as u64;
        }
        self.put(position, &[0; 8][..(end - position) as usize]);
        self.head().store(end, Release);
        self.shown_head().store(end, Release);
        self.wake();
        Ok(())
    }

    /// Takes all records, in order, and hands each to `each`; returns how many.
    ///
    /// # Errors
    /// [`MapError::Busy`] if somebody else reads, [`MapError::Corrupt`] if the memory, which others may map, holds no records.
    pub fn consume(&self, mut each: impl FnMut(PerfRecord<'_>)) -> Result<usize, MapError> {
        let _reader = Reading::begin(self.reading())?;
        let mut body = Vec::new();
        let mut taken = 0;
        let mut tail = self.tail().load(Acquire);
        let head = self.head().load(Acquire);
        while tail < head {
            let corrupt = MapError::Corrupt { at: tail };
            let mut start = [0; HEADER];
            self.at(tail, HEADER).read(&mut start);
            let word = u64::from_ne_bytes(start);
            let (kind, len) = (word as u32, (word >> 48) as usize);
            if len <= HEADER || len as u64 > head - tail || len > self.size {
                return Err(corrupt);
            }
            body.resize(len - HEADER, 0);
            self.at(tail + HEADER as u64, len - HEADER).read(&mut body);
            tail += len as u64;
            self.tail().store(tail, Release);
            taken += 1;
            match kind {
                RECORD_SAMPLE => each(PerfRecord::Sample(body.get(4..).ok_or(corrupt)?)),
                RECORD_LOST => {
                    let count = body.get(8..16).and_then(|bytes| bytes.try_into().ok());
                    each(PerfRecord::Lost(u64::from_ne_bytes(count.ok_or(corrupt)?)));
                }
                _ => return Err(corrupt),
            }
        }
        Ok(taken)
    }

    /// How many records had no room, and were not yet reported as [`PerfRecord::Lost`].
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        self.lost().load(Relaxed)
    }

    /// The memory, for a reader that maps it itself: at offset 0 the `struct perf_event_mmap_page`, behind it the data.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// An eventfd that becomes readable with each record.
    ///
    /// # Errors
    /// What the system says.
    pub fn event(&self) -> std::io::Result<BorrowedFd<'_>> {
        if let Some(event) = self.event.get() {
            return Ok(event.as_fd());
        }
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let event = self.event.get_or_init(|| made);
        self.region.word32(EVENT).store(event.as_raw_fd() as u32 + 1, Release);
        if self.head().load(Acquire) > self.tail().load(Acquire) {
            self.wake();
        }
        Ok(event.as_fd())
    }

    fn wake(&self) {
        let event = self.region.word32(EVENT).load(Acquire);
        if event != 0 {
            // SAFETY: the descriptor stays open as long as the buffer lives. An error means that the counter is at its limit.
            let event = unsafe { BorrowedFd::borrow_raw(event as i32 - 1) };
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }
}

/// A `struct perf_event_header`.
fn header(kind: u32, len: usize) -> [u8; HEADER] {
    (u64::from(kind) | (len as u64) << 48).to_ne_bytes()
}

/// An array of buffers.
pub(crate) type PerfEventArray = IndexedMap<References<PerfBuffer>>;

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    indexed::make(creation, References::<PerfBuffer>::new)
}

impl Indexed for References<PerfBuffer> {
    /// The host sees none of them.
    fn is_there(&self, _index: u32) -> bool {
        false
    }

    fn special(map: &IndexedMap<Self>) -> Special<'_> {
        Special::Events(map)
    }
}

impl PerfEventArray {
    /// Writes a record to the buffer at an index, or at that of the run's slot ([`CURRENT_SLOT`]).
    ///
    /// # Errors
    /// The errno of `bpf_perf_event_output`: [`MapError::IndexTooLarge`] (`-E2BIG`), [`MapError::NotFound`],
    /// [`MapError::OtherSlot`] (`-EOPNOTSUPP`), [`MapError::NoSpace`] and [`MapError::Busy`], by which the record is lost.
    pub(crate) fn output(&self, run: &Run<'_>, index: u32, parts: &[SharedBytes<'_>]) -> Result<(), MapError> {
        self.of_slot(run, index)?.output(run, parts)
    }

    /// Reads the event at an index, or at that of the run's slot ([`CURRENT_SLOT`]).
    ///
    /// # Errors
    /// The first three of [`output`](Self::output).
    pub(crate) fn count(&self, run: &Run<'_>, index: u32) -> Result<Counted, MapError> {
        let buffer = self.of_slot(run, index)?;
        let time = crate::helpers::now(ClockId::Monotonic).saturating_sub(buffer.made);
        Ok(Counted {
            counter: 0,
            enabled: time,
            running: time,
        })
    }

    fn of_slot<'a>(&'a self, run: &'a Run<'_>, index: u32) -> Result<&'a PerfBuffer, MapError> {
        let at = self.check(if index == CURRENT_SLOT { run.index() } else { index })?;
        // SAFETY: this is in a run, and the buffer is not used for longer.
        let buffer = unsafe { self.elements.get(at) }.ok_or(MapError::NotFound)?;
        if buffer.slot != run.index() {
            return Err(MapError::OtherSlot);
        }
        Ok(buffer)
    }

    /// Puts a buffer in; what was there is to be dropped a grace period later.
    pub(super) fn insert(&self, index: u32, buffer: &Arc<PerfBuffer>) -> Result<Option<Arc<PerfBuffer>>, MapError> {
        let at = self.check(index)?;
        Ok(self.elements.replace(at, Some(Arc::clone(buffer))))
    }

    /// Takes this buffer out if it is at its slot's index; it is to be dropped a grace period later.
    pub(super) fn take(&self, _run: &Run<'_>, buffer: &Arc<PerfBuffer>) -> Option<Arc<PerfBuffer>> {
        let at = self.check(buffer.slot).ok()?;
        // SAFETY: this is in a run, and what is found is not used for longer.
        let found = unsafe { self.elements.get(at) }?;
        std::ptr::eq(found, Arc::as_ptr(buffer)).then(|| self.elements.replace(at, None))?
    }

    /// Takes a buffer out, which is to be dropped a grace period later.
    pub(super) fn remove(&self, index: u32) -> Result<Arc<PerfBuffer>, MapError> {
        let at = self.check(index)?;
        self.elements.replace(at, None).ok_or(MapError::NotFound)
    }

    /// Takes all buffers out, which are to be dropped a grace period later.
    pub(super) fn clear(&self) -> Vec<Arc<PerfBuffer>> {
        self.elements.clear()
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::map::{Map, MapDef, MapSource};
    use crate::memory::{Budget, MemoryLimit};
    use crate::run::Slots;
    use hitless_verifier::MapKind;

    /// A map with a buffer of a page for each of two slots.
    fn map() -> (Map, [Arc<PerfBuffer>; 2]) {
        let slots = Slots::new(0, 2, Box::default());
        let def = MapDef::new("events", MapKind::PerfEventArray, 4, 4, 2);
        let runtime = (slots.into(), std::sync::Weak::new());
        let map = Map::new(
            1,
            def,
            runtime,
            Budget::new(MemoryLimit::None).into(),
            MapSource::default(),
        )
        .expect("a map");
        let buffers = [0, 1].map(|slot| map.perf_buffer(slot, 1).expect("a buffer"));
        for (slot, buffer) in (0..).zip(&buffers) {
            map.insert_buffer(slot, buffer).expect("it fits");
        }
        (map, buffers)
    }

    fn output(map: &Map, index: u32, parts: &[&[u8]]) -> (u32, Result<(), MapError>) {
        let parts: Vec<_> = parts.iter().map(|part| SharedBytes::from_slice(part)).collect();
        let events = map.events().expect("a perf event array");
        let run = |run: &Run<'_>| (run.index(), events.output(run, index, &parts));
        map.slots().run(run).expect("not forked")
    }

    #[derive(Debug, PartialEq)]
    enum Seen {
        Sample(Vec<u8>),
        Lost(u64),
    }

    fn read(buffer: &PerfBuffer) -> Vec<Seen> {
        let mut seen = Vec::new();
        let each = |record: PerfRecord<'_>| {
            seen.push(match record {
                PerfRecord::Sample(data) => Seen::Sample(data.to_vec()),
                PerfRecord::Lost(count) => Seen::Lost(count),
            });
        };
        buffer.consume(each).unwrap();
        seen
    }

    #[test]
    fn records_go_to_the_buffer_of_the_slot() {
        let (map, buffers) = map();
        let (slot, written) = output(&map, CURRENT_SLOT, &[b"ab", b"cde"]);
        assert_eq!(written, Ok(()));
        // Five bytes, and four of length, are padded to sixteen.
        assert_eq!(
            read(&buffers[slot as usize]),
            [Seen::Sample(b"abcde\0\0\0\0\0\0\0".to_vec())]
        );
        assert_eq!(read(&buffers[1 - slot as usize]), []);
        let (slot, other) = output(&map, 1 - slot, &[b"x"]);
        assert_eq!(other, Err(MapError::OtherSlot));
        assert_eq!(output(&map, 2, &[]).1.unwrap_err().errno(), libc::E2BIG);
        map.delete(&slot.to_ne_bytes()).unwrap();
        assert_eq!(output(&map, slot, &[b"x"]).1, Err(MapError::NotFound));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (map, buffers) = map();
        let record = [7; 500];
        let mut written = 0;
        let slot = loop {
            match output(&map, CURRENT_SLOT, &[&record]) {
                (_, Ok(())) => written += 1,
                (slot, Err(error)) => {
                    assert_eq!(error, MapError::NoSpace);
                    break slot;
                }
            }
        };
        assert_eq!(output(&map, slot, &[&record]).1, Err(MapError::NoSpace));
        let buffer = &buffers[slot as usize];
        assert_eq!(buffer.lost_count(), 2);
        assert_eq!(read(buffer).len(), written);
        output(&map, slot, &[b"later"]).1.unwrap();
        let seen = read(buffer);
        assert_eq!((&seen[0], seen.len(), buffer.lost_count()), (&Seen::Lost(2), 2, 0));
        let long = vec![0; 1 << 16];
        assert!(matches!(output(&map, slot, &[&long]).1, Err(MapError::TooLong { .. })));
    }

    /// Readers own their position; one that claims to be further than it can be harms itself only.
    #[test]
    fn a_reader_that_is_ahead_of_the_records_stops_no_program() {
        let (map, buffers) = map();
        for buffer in &buffers {
            buffer.tail().store(8, Relaxed);
        }
        assert_eq!(output(&map, CURRENT_SLOT, &[b"record"]).1, Err(MapError::NoSpace));
    }

    #[test]
    fn a_reader_that_panics_reads_no_more() {
        let (map, buffers) = map();
        let (slot, written) = output(&map, CURRENT_SLOT, &[b"record"]);
        written.unwrap();
        let buffer = &buffers[slot as usize];
        let read_it = || buffer.consume(|_| panic!("as the test has it"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(read_it)).is_err());
        assert_eq!(buffer.consume(|_| ()), Ok(0));
    }

    #[test]
    fn records_wrap_around_and_wake() {
        let (map, buffers) = map();
        for buffer in &buffers {
            buffer.event().unwrap();
        }
        for n in 0..1000usize {
            let record = vec![n as u8; n % 300];
            let (slot, written) = output(&map, CURRENT_SLOT, &[&record]);
            written.unwrap();
            let buffer = &buffers[slot as usize];
            let mut count = [0; 8];
            assert!(rustix::io::read(buffer.event().unwrap(), &mut count).is_ok());
            let padded = (record.len() + 4).next_multiple_of(8) - 4;
            let expected = [record, vec![0; padded - n % 300]].concat();
            assert_eq!(read(buffer), [Seen::Sample(expected)]);
        }
    }
}
