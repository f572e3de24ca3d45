//! `BPF_MAP_TYPE_RINGBUF`: programs reserve records, fill and commit them; a reader takes them in the order of reservation.
//!
//! Reservations are made one at a time, under a lock that a signal handler which interrupted its holder does not wait for: its
//! reservation fails, as one in an NMI fails in Linux. A record is marked busy before the producer's position makes it
//! visible, and committed by one exchange of its header, which needs no lock. Readers stop at the first busy record.
//!
//! A record may be reserved only if neither unread nor uncommitted ones are overwritten: the oldest uncommitted one is
//! remembered (`pending`), since the reader may be past it only in its imagination (it owns its position).

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::fence;

use super::audit::Audit;
use super::keyless::{self, Keyless};
use super::ring::{BUSY, DISCARD, HEADER, Handle, Header, Outside, Reading, Ring, RingFiles, Wakeup};
use super::{Creation, MapCreateError, MapError, MapOps, Special};
use crate::lock::{OwnerGuard, lock};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU32;
use crate::region::SharedBytes;
use crate::run::Run;

/// `RINGBUF_MAX_RECORD_SZ`.
const MAX_RECORD: u64 = u32::MAX as u64 / 4;

/// What can be asked about a ring buffer (`bpf_ringbuf_query`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum RingQuery {
    /// Bytes that are not read yet, reserved ones among them.
    Available = 0,
    /// The size.
    Size = 1,
    /// Position of the consumer.
    Consumer = 2,
    /// Position of the producer.
    Producer = 3,
}

impl RingQuery {
    /// The query with this number.
    pub(crate) fn from_bits(bits: u64) -> Option<RingQuery> {
        [
            RingQuery::Available,
            RingQuery::Size,
            RingQuery::Consumer,
            RingQuery::Producer,
        ]
        .into_iter()
        .find(|query| *query as u64 == bits)
    }
}

/// A ring buffer.
#[derive(Debug)]
pub(crate) struct Ringbuf {
    ring: Ring,
    /// Held by the thread that reads for the host.
    reading: AtomicU32,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let ring = Ring::new(creation, Outside::Consumer)?;
    let reading = AtomicU32::new(0);
    Ok(keyless::make(creation, Ringbuf { ring, reading }))
}

impl Keyless for Ringbuf {
    const REFUSAL: MapError = MapError::NoElements;

    fn special(&self) -> Special<'_> {
        Special::Ringbuf(self)
    }

    fn recover(&mut self, audit: &mut Audit) {
        self.ring.recover(audit);
    }
}

impl Ringbuf {
    /// Reserves a record of `size` bytes: the address of its sample. What it holds is undefined.
    ///
    /// # Errors
    /// [`MapError::TooLong`], [`MapError::NoSpace`], [`MapError::Busy`]; programs see NULL.
    pub(crate) fn reserve(&self, run: &Run<'_>, size: u64) -> Result<u64, MapError> {
        let ring = &self.ring;
        let len = (size.min(MAX_RECORD + 1) + HEADER).next_multiple_of(8);
        if size > MAX_RECORD || len > ring.size() {
            return Err(MapError::TooLong {
                limit: ring.size() - HEADER,
            });
        }
        let _guard = lock_producers(run, ring)?;
        let consumer = ring.consumer().load(Acquire);
        // Nobody else writes these two while the lock is held.
        let producer = ring.producer().load(Relaxed);
        let mut pending = ring.pending().load(Relaxed);
        while pending < producer {
            let header = Header::from(ring.header(pending).load(Acquire));
            if header.busy {
                break;
            }
            pending += header.step();
        }
        ring.pending().store(pending, Relaxed);
        let end = producer + len;
        let full = |from: u64| end.wrapping_sub(from) > ring.size() - 1;
        if full(consumer) || full(pending) {
            return Err(MapError::NoSpace);
        }
        ring.begin(producer, size as u32);
        ring.producer().store(end, Release);
        Ok(ring.sample_address(producer))
    }

    /// Commits a record by the address of its sample: submits or discards it. Also finds records of other ring buffers.
    ///
    /// # Safety
    /// The address is what [`Ringbuf::reserve`] gave, of a record that was not committed, in a ring buffer that lives for the
    /// call: what the verifier proves of the argument of `bpf_ringbuf_submit`.
    pub(crate) unsafe fn commit(sample: u64, discard: bool, wakeup: Wakeup) {
        // SAFETY: by the caller's word.
        let (handle, header, offset) = unsafe { Handle::of(sample) };
        let len = header.load(Relaxed) & !BUSY;
        // With the reader's fence in `is_ready`, so that either it sees this, or `notify` sees its position.
        header.swap(if discard { len | DISCARD } else { len }, SeqCst);
        handle.notify(offset, wakeup);
    }

    /// Copies a record in (`bpf_ringbuf_output`).
    ///
    /// # Errors
    /// As [`Ringbuf::reserve`]; programs see `-EAGAIN`.
    pub(crate) fn output(&self, run: &Run<'_>, data: SharedBytes<'_>, wakeup: Wakeup) -> Result<(), MapError> {
        // SAFETY: the record was just reserved, and is as long.
        let write = |sample| unsafe { SharedBytes::from_raw(sample, data.len()).write(data) };
        self.output_with(run, data.len() as u64, write, wakeup)
    }

    /// Like [`Ringbuf::output`], with a record of `size` bytes that `write` fills, given the address of its sample.
    pub(crate) fn output_with(
        &self,
        run: &Run<'_>,
        size: u64,
        write: impl FnOnce(u64),
        wakeup: Wakeup,
    ) -> Result<(), MapError> {
        let sample = self.reserve(run, size)?;
        write(sample);
        // SAFETY: the record was just reserved, and is committed once, here.
        unsafe { Ringbuf::commit(sample, false, wakeup) };
        Ok(())
    }

    /// What `bpf_ringbuf_query` answers.
    pub(crate) fn query(&self, what: RingQuery) -> u64 {
        let (consumer, producer) = (self.ring.consumer(), self.ring.producer());
        match what {
            RingQuery::Available => {
                let consumer = consumer.load(Acquire);
                producer.load(Acquire).wrapping_sub(consumer)
            }
            RingQuery::Size => self.ring.size(),
            RingQuery::Consumer => consumer.load(Acquire),
            RingQuery::Producer => producer.load(Acquire),
        }
    }

    /// Takes records, at most `limit` of them, and hands each that was submitted to `each`, in order; returns how many.
    ///
    /// # Errors
    /// [`MapError::Busy`] if somebody else reads, [`MapError::Corrupt`] if the memory, which others may map, holds no records.
    pub(crate) fn consume(&self, limit: usize, mut each: impl FnMut(&[u8])) -> Result<usize, MapError> {
        let ring = &self.ring;
        let _reader = Reading::begin(&self.reading)?;
        let mut sample = Vec::new();
        let mut taken = 0;
        let mut position = ring.consumer().load(Acquire);
        while taken < limit && self.is_ready(position) {
            if !position.is_multiple_of(8) {
                return Err(MapError::Corrupt { at: position });
            }
            let header = Header::from(ring.header(position).load(Acquire));
            // It was less than the producer's position a moment ago, and may be in the middle of a record.
            if header.step() > ring.producer().load(Acquire) - position {
                return Err(MapError::Corrupt { at: position });
            }
            if !header.discarded {
                sample.resize(header.len as usize, 0);
                ring.sample(position, header.len as usize).read(&mut sample);
            }
            position += header.step();
            // The record's memory is the producers' again; its copy is ours.
            ring.consumer().store(position, Release);
            if !header.discarded {
                taken += 1;
                each(&sample);
            }
        }
        Ok(taken)
    }

    /// Whether there is a committed record at the consumer's position, or something that is no record. If not, whoever commits it
    /// sees that position, and wakes the reader: either the commit comes before the second look, or the position that was stored
    /// before it is seen by the commit.
    fn is_ready(&self, position: u64) -> bool {
        let look = || {
            let is_busy = || Header::from(self.ring.header(position).load(Acquire)).busy;
            position < self.ring.producer().load(Acquire) && !(position.is_multiple_of(8) && is_busy())
        };
        look() || {
            fence(SeqCst);
            look()
        }
    }

    /// The memory, for a reader that maps it itself.
    pub(crate) fn files(&self) -> Option<RingFiles<'_>> {
        self.ring.files()
    }

    /// An eventfd that becomes readable when the reader is to wake up.
    pub(crate) fn event(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.ring.event()
    }

    /// Whether `len` bytes at an address lie in its data.
    pub(crate) fn holds(&self, address: u64, len: usize) -> bool {
        self.ring.holds(address, len)
    }
}

/// Takes the lock of producers.
fn lock_producers<'a>(run: &Run<'_>, ring: &'a Ring) -> Result<Option<OwnerGuard<'a>>, MapError> {
    #[cfg(hitless_model)]
    if crate::model::fault(crate::model::Fault::NoReserveLock) {
        return Ok(None);
    }
    lock(run, ring.lock_word()).map(Some)
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use crate::memory::{Budget, MemoryLimit};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

    use super::*;
    use crate::map::{Map, MapDef, MapSource};
    use crate::run::Slots;
    use hitless_verifier::MapKind;

    fn map(size: u32) -> Map {
        let slots = Slots::new(0, 4, Box::default());
        let def = MapDef::new("events", MapKind::Ringbuf, 0, 0, size);
        let runtime = (slots.into(), std::sync::Weak::new());
        let budget = Budget::new(MemoryLimit::None);
        Map::new(1, def, runtime, budget.into(), MapSource::default()).expect("a map")
    }

    fn in_run<R>(map: &Map, f: impl FnOnce(&Run<'_>, &Ringbuf) -> R) -> R {
        let ringbuf = map.ringbuf().expect("a ring buffer");
        map.slots().run(|run| f(run, ringbuf)).expect("not forked")
    }

    fn reserve(map: &Map, size: u64) -> Result<u64, MapError> {
        in_run(map, |run, ringbuf| ringbuf.reserve(run, size))
    }

    fn commit(sample: u64, discard: bool) {
        // SAFETY: tests commit each reservation once.
        unsafe { Ringbuf::commit(sample, discard, Wakeup::Adaptive) };
    }

    fn output(map: &Map, data: &[u8], wakeup: Wakeup) -> Result<(), MapError> {
        in_run(map, |run, ringbuf| {
            ringbuf.output(run, SharedBytes::from_slice(data), wakeup)
        })
    }

    fn records(map: &Map) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        map.read_records(usize::MAX, |record| records.push(record.to_vec()))
            .unwrap();
        records
    }

    #[test]
    fn records_come_in_the_order_of_reservation() {
        let map = map(4096);
        let first = reserve(&map, 8).unwrap();
        output(&map, b"second", Wakeup::Adaptive).unwrap();
        let third = reserve(&map, 100).unwrap();
        assert_eq!(records(&map), Vec::<Vec<u8>>::new());
        // SAFETY: eight bytes were reserved.
        unsafe { SharedBytes::from_raw(first, 8).write(SharedBytes::from_slice(b"first...")) };
        commit(first, false);
        assert_eq!(records(&map), [b"first...".to_vec(), b"second".to_vec()]);
        commit(third, true);
        assert_eq!(records(&map), Vec::<Vec<u8>>::new());
        in_run(&map, |_, ringbuf| {
            // 8 + 8, 8 + 8 for six bytes, 8 + 104.
            assert_eq!(ringbuf.query(RingQuery::Producer), 144);
            assert_eq!(ringbuf.query(RingQuery::Consumer), 144);
            assert_eq!(ringbuf.query(RingQuery::Available), 0);
            assert_eq!(ringbuf.query(RingQuery::Size), 4096);
        });
    }

    #[test]
    fn records_wrap_around() {
        let map = map(4096);
        for n in 0..1000u32 {
            let record = vec![n as u8; (n % 700) as usize];
            output(&map, &record, Wakeup::Adaptive).unwrap();
            assert_eq!(records(&map), [record]);
        }
    }

    #[test]
    fn what_is_not_read_is_not_overwritten() {
        let map = map(4096);
        assert_eq!(reserve(&map, 4096), Err(MapError::TooLong { limit: 4088 }));
        assert_eq!(reserve(&map, u64::MAX), Err(MapError::TooLong { limit: 4088 }));
        // As in Linux, one record cannot fill the buffer to the last byte.
        assert_eq!(reserve(&map, 4088), Err(MapError::NoSpace));
        let busy = reserve(&map, 1000).unwrap();
        output(&map, &[1; 2000], Wakeup::Adaptive).unwrap();
        assert_eq!(output(&map, &[2; 1100], Wakeup::Adaptive), Err(MapError::NoSpace));
        // A reader that claims to be further than it can be gains nothing: the first record is still busy.
        map.ringbuf().unwrap().ring.consumer().store(3016, Relaxed);
        assert_eq!(output(&map, &[2; 1100], Wakeup::Adaptive), Err(MapError::NoSpace));
        map.ringbuf().unwrap().ring.consumer().store(0, Relaxed);
        commit(busy, false);
        assert_eq!(records(&map).len(), 2);
        output(&map, &[2; 1100], Wakeup::Adaptive).unwrap();
    }

    fn is_readable(event: BorrowedFd<'_>) -> bool {
        let mut count = [0; 8];
        rustix::io::read(event, &mut count).is_ok()
    }

    #[test]
    fn readers_are_woken_as_the_flags_say() {
        let map = map(4096);
        output(&map, b"early", Wakeup::Adaptive).unwrap();
        let event = map.ring_event().unwrap().expect("a ring buffer");
        assert!(is_readable(event), "there was one already");
        output(&map, b"x", Wakeup::Adaptive).unwrap();
        assert!(!is_readable(event), "the reader is behind, so it is awake");
        records(&map);
        output(&map, b"x", Wakeup::Never).unwrap();
        assert!(!is_readable(event));
        output(&map, b"x", Wakeup::Always).unwrap();
        assert!(is_readable(event));
        records(&map);
        output(&map, b"x", Wakeup::Adaptive).unwrap();
        assert!(is_readable(event));
    }

    /// What a reader sees that maps the memory itself.
    #[test]
    fn the_memory_is_laid_out_as_the_kernels() {
        let map = map(8192);
        output(&map, b"hello", Wakeup::Adaptive).unwrap();
        let page = rustix::param::page_size();
        let files = map.ring_files().expect("a ring buffer");
        let read = |file: BorrowedFd<'_>, len| {
            let mut bytes = vec![0; len];
            rustix::io::pread(file, &mut bytes, 0).unwrap();
            bytes
        };
        let (consumer, producer) = (read(files.consumer, page), read(files.producer, 2 * page));
        assert_eq!(consumer[..8], 0u64.to_ne_bytes(), "the consumer's position");
        assert_eq!(producer[..8], 16u64.to_ne_bytes(), "the producer's position");
        let data = &producer[page..];
        assert_eq!(data[..4], 5u32.to_ne_bytes(), "the length");
        assert_eq!(&data[8..13], b"hello");
    }

    /// A reader may move its position, and nothing else, however it opens the file.
    #[test]
    fn a_reader_writes_its_position_only() {
        use rustix::fs::{Mode, OFlags, ftruncate, open};
        use rustix::io::{Errno, pwrite};
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let map = map(4096);
        let files = map.ring_files().expect("a ring buffer");
        let map_to_write = |file: BorrowedFd<'_>| {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a fresh mapping of a page, which is never used.
            unsafe { mmap(std::ptr::null_mut(), 4096, access, MapFlags::SHARED, file, 0) }
        };
        assert!(map_to_write(files.consumer).is_ok());
        let path = format!("/proc/self/fd/{}", files.producer.as_raw_fd());
        let again = open(path, OFlags::RDWR, Mode::empty()).unwrap();
        for file in [files.producer, again.as_fd()] {
            assert_eq!(map_to_write(file), Err(Errno::PERM));
            assert_eq!(pwrite(file, &[1], 0), Err(Errno::PERM));
        }
        for file in [files.consumer, files.producer] {
            assert_eq!(ftruncate(file, 0), Err(Errno::PERM));
        }
        output(&map, b"still written", Wakeup::Adaptive).unwrap();
        assert_eq!(records(&map), [b"still written"]);
    }

    /// A position that a reader claims is compared with what was produced.
    #[test]
    fn a_position_in_the_middle_of_a_record_is_not_believed() {
        let map = map(4096);
        output(&map, &[0xff; 24], Wakeup::Adaptive).unwrap();
        output(&map, &[0x3f; 24], Wakeup::Adaptive).unwrap();
        let ring = &map.ringbuf().unwrap().ring;
        ring.header(8).store(25, Relaxed);
        ring.consumer().store(8, Relaxed);
        let mut lens = Vec::new();
        let read = map.read_records(9, |record| lens.push(record.len()));
        assert!(matches!(read, Err(MapError::Corrupt { .. })), "{read:?}, {lens:?}");
        ring.consumer().store(1 << 40, Relaxed);
        assert_eq!(map.read_records(9, |_| ()), Ok(0));
        assert_eq!(output(&map, b"x", Wakeup::Adaptive), Err(MapError::NoSpace));
    }

    #[test]
    fn memory_that_was_overwritten_is_no_record() {
        let map = map(4096);
        output(&map, b"x", Wakeup::Adaptive).unwrap();
        let ring = &map.ringbuf().unwrap().ring;
        ring.header(0).store(5000, Relaxed);
        assert_eq!(map.read_records(1, |_| ()), Err(MapError::Corrupt { at: 0 }));
        ring.consumer().store(3, Relaxed);
        assert_eq!(map.read_records(1, |_| ()), Err(MapError::Corrupt { at: 3 }));
    }

    #[test]
    fn many_producers_lose_nothing() {
        const EACH: u64 = 20_000;
        let map = map(64 << 10);
        let mut seen = [0u64; 3];
        std::thread::scope(|scope| {
            for producer in 0..3u64 {
                let map = &map;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let record = [producer.to_ne_bytes(), n.to_ne_bytes()].concat();
                        let long = [record.clone(), vec![0; (n % 50) as usize]].concat();
                        while output(map, &long, Wakeup::Adaptive) == Err(MapError::NoSpace) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            while seen.iter().sum::<u64>() < 3 * EACH {
                let each = |record: &[u8]| {
                    let word = |at: usize| u64::from_ne_bytes(record[at..at + 8].try_into().unwrap());
                    let (producer, n) = (word(0) as usize, word(8));
                    assert_eq!((n, record.len() as u64), (seen[producer], 16 + n % 50));
                    seen[producer] += 1;
                };
                map.read_records(100, each).unwrap();
                std::thread::yield_now();
            }
        });
    }
}
