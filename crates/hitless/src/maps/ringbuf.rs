//! Ring buffers: programs write records, the host reads them in order.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hitless_verifier::MapKind;

use super::wait::wait_readable;
use super::{MapTypeError, TypedMap, check_kind};
use crate::map::{MapError, MapHandle};

/// A ring buffer that programs write records to.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use hitless::maps::{RingBuf, TypedMap};
/// use hitless::{MapDef, MapKind, Runtime};
///
/// let runtime = Runtime::default();
/// let map = runtime.create_map(MapDef::new("events", MapKind::Ringbuf, 0, 0, 4096))?;
/// let mut reader = RingBuf::from_map(&map)?.reader()?;
/// // Programs that run meanwhile call bpf_ringbuf_output(&events, ...).
/// while let Some(record) = reader.next_within(Duration::from_millis(1))? {
///     println!("{} bytes", record.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "BPF_MAP_TYPE_RINGBUF")]
#[derive(Clone, Debug)]
pub struct RingBuf {
    map: MapHandle,
}

impl TypedMap for RingBuf {
    fn from_map(map: &MapHandle) -> Result<RingBuf, MapTypeError> {
        check_kind(map, &[MapKind::Ringbuf])?;
        Ok(RingBuf { map: map.clone() })
    }
}

impl RingBuf {
    /// A reader. There may be several, but only one reads at a time: what one has read no other sees.
    ///
    /// # Errors
    /// What the system says when it is to make an eventfd.
    pub fn reader(&self) -> io::Result<RingReader> {
        self.map.ring_event()?;
        Ok(RingReader {
            map: self.map.clone(),
            ahead: VecDeque::new(),
        })
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

/// Why the next record could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Another reader is reading, or the memory was overwritten by another process.
    #[error(transparent)]
    Map(#[from] MapError),
    /// What the system says to waiting.
    #[error("cannot wait for records")]
    Wait(#[source] io::Error),
}

/// Reads the records of a ring buffer: those that were submitted, in the order in which they were reserved. One that is reserved
/// and not yet submitted is waited for, with all behind it; those that were discarded are left out.
///
/// To wait for several things at once, give it to `epoll` as a file descriptor, and when that is readable call
/// [`clear`](RingReader::clear), then [`read`](RingReader::read) until it has read nothing.
#[derive(Debug)]
pub struct RingReader {
    map: MapHandle,
    /// Records that were taken out and not yet given away.
    ahead: VecDeque<Box<[u8]>>,
}

/// How many records [`RingReader::next`] takes at once.
const BATCH: usize = 64;

impl RingReader {
    /// Hands the records that are there to `each`, at most `limit` of them; returns how many. Does not wait.
    ///
    /// # Errors
    /// [`MapError::Busy`] while another reader reads; [`MapError::Corrupt`] if another process has overwritten the memory.
    pub fn read(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> Result<usize, MapError> {
        let before = self.ahead.len().min(limit);
        self.ahead.drain(..before).for_each(|record| each(&record));
        if before == limit {
            return Ok(before);
        }
        Ok(before + self.map.read_records(limit - before, each)?)
    }

    /// The next record, if there is one. Does not wait.
    ///
    /// # Errors
    /// As [`read`](RingReader::read).
    #[expect(
        clippy::should_implement_trait,
        reason = "that there is none now does not mean that there are no more"
    )]
    pub fn next(&mut self) -> Result<Option<Box<[u8]>>, MapError> {
        if self.ahead.is_empty() {
            let ahead = &mut self.ahead;
            self.map.read_records(BATCH, |record| ahead.push_back(record.into()))?;
        }
        Ok(self.ahead.pop_front())
    }

    /// The next record, waiting for it if need be; `None` if there is none after this time.
    ///
    /// # Errors
    /// [`ReadError`], by variant.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Box<[u8]>>, ReadError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(record) = self.next()? {
                return Ok(Some(record));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !self.wait(left).map_err(ReadError::Wait)? {
                return Ok(None);
            }
        }
    }

    /// Waits until there may be records to read: true; or until this time is over, if one is given.
    ///
    /// # Errors
    /// What the system says, `EINTR` excepted.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if !self.ahead.is_empty() {
            return Ok(true);
        }
        let ready = wait_readable(&[self.as_fd()], timeout)?;
        if ready {
            self.clear()?;
        }
        Ok(ready)
    }

    /// Makes the file descriptor unreadable, until there are records behind those that are there now.
    ///
    /// # Errors
    /// What the system says.
    pub fn clear(&mut self) -> io::Result<()> {
        super::wait::clear(self.as_fd())
    }
}

impl AsFd for RingReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let event = self.map.ring_event();
        event.ok().flatten().expect("the reader was made with it")
    }
}

/// A ring buffer that the host writes records to, and programs drain.
#[doc(alias = "BPF_MAP_TYPE_USER_RINGBUF")]
#[derive(Clone, Debug)]
pub struct UserRingBuf {
    map: MapHandle,
}

impl TypedMap for UserRingBuf {
    fn from_map(map: &MapHandle) -> Result<UserRingBuf, MapTypeError> {
        check_kind(map, &[MapKind::UserRingbuf])?;
        Ok(UserRingBuf { map: map.clone() })
    }
}

impl UserRingBuf {
    /// Writes a record.
    ///
    /// # Errors
    /// [`MapError::NoSpace`] until programs have drained records; as [`Map::write_record`](crate::Map::write_record).
    pub fn write(&self, record: &[u8]) -> Result<(), MapError> {
        self.map.write_record(record)
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::map::{MapDef, Ringbuf, Wakeup};
    use crate::region::SharedBytes;
    use crate::runtime::Runtime;

    fn ring() -> RingBuf {
        let def = MapDef::new("events", MapKind::Ringbuf, 0, 0, 4096);
        RingBuf::from_map(&Runtime::default().create_map(def).unwrap()).unwrap()
    }

    /// Reserves a record that says `text`, as a program does.
    fn reserve(ring: &RingBuf, text: &str) -> u64 {
        let buffer = ring.map.ringbuf().unwrap();
        let reserved = ring.map.slots().run(|run| buffer.reserve(run, text.len() as u64));
        let sample = reserved.unwrap().unwrap();
        // SAFETY: the record was just reserved, and is as long.
        unsafe { SharedBytes::from_raw(sample, text.len()).write(SharedBytes::from_slice(text.as_bytes())) };
        sample
    }

    fn commit(sample: u64, discard: bool) {
        // SAFETY: each reservation of these tests is committed once.
        unsafe { Ringbuf::commit(sample, discard, Wakeup::Adaptive) };
    }

    fn all(reader: &mut RingReader) -> Vec<String> {
        std::iter::from_fn(|| reader.next().unwrap())
            .map(|record| String::from_utf8(record.into()).unwrap())
            .collect()
    }

    #[test]
    fn records_come_in_the_order_of_their_reservation() {
        let ring = ring();
        let mut reader = ring.reader().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|text| reserve(&ring, text));
        commit(c, false);
        commit(b, true);
        assert_eq!(all(&mut reader), [""; 0], "the first is not committed yet");
        assert!(!reader.wait(Some(Duration::ZERO)).unwrap());
        commit(a, false);
        assert!(reader.wait(Some(Duration::ZERO)).unwrap());
        assert_eq!(all(&mut reader), ["a", "c"]);
        assert!(!reader.wait(Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn a_record_is_waited_for() {
        let ring = ring();
        let mut reader = ring.reader().unwrap();
        let sample = reserve(&ring, "late");
        let long = Duration::from_secs(60);
        let found = std::thread::scope(|scope| {
            let found = scope.spawn(|| reader.next_within(long).unwrap());
            commit(sample, false);
            found.join().unwrap()
        });
        assert_eq!(found.as_deref(), Some(&b"late"[..]));
        assert!(reader.next_within(Duration::ZERO).unwrap().is_none());
    }

    /// Every record is seen although the reader sleeps whenever there is none: no wakeup is lost.
    #[test]
    fn no_wakeup_is_lost() {
        const RECORDS: usize = 20_000;
        let ring = ring();
        let mut reader = ring.reader().unwrap();
        std::thread::scope(|scope| {
            let ring = &ring;
            scope.spawn(move || {
                let buffer = ring.map.ringbuf().unwrap();
                let mut written = 0;
                while written < RECORDS {
                    let record = (written as u64).to_ne_bytes();
                    let record = SharedBytes::from_slice(&record);
                    let result = ring.map.slots().run(|run| buffer.output(run, record, Wakeup::Adaptive));
                    match result.unwrap() {
                        Ok(()) => written += 1,
                        // The ring is full, or the reader makes room just now.
                        Err(_) => std::thread::yield_now(),
                    }
                }
            });
            for expected in 0..RECORDS as u64 {
                let record = reader.next_within(Duration::from_secs(60)).unwrap().expect("a record");
                assert_eq!(u64::from_ne_bytes((*record).try_into().unwrap()), expected);
            }
        });
    }

    #[test]
    fn records_read_ahead_are_not_lost() {
        let ring = ring();
        let mut reader = ring.reader().unwrap();
        for text in ["a", "b", "c"] {
            commit(reserve(&ring, text), false);
        }
        assert_eq!(reader.next().unwrap().as_deref(), Some(&b"a"[..]));
        assert!(reader.wait(Some(Duration::ZERO)).unwrap());
        let mut rest = Vec::new();
        assert_eq!(reader.read(1, |record| rest.push(record.to_vec())), Ok(1));
        assert_eq!(reader.read(9, |record| rest.push(record.to_vec())), Ok(1));
        assert_eq!(rest, [b"b", b"c"]);
    }
}
