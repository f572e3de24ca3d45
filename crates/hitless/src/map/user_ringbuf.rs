//! `BPF_MAP_TYPE_USER_RINGBUF`: the host writes records, programs drain them (`bpf_user_ringbuf_drain`).
//!
//! The memory is that of a ring buffer (`ring.rs`) with the sides exchanged: the producer's position and the data are
//! written from outside, maybe by another process, so nothing that is read there is believed. One program drains at a time;
//! another one that tries gets `-EBUSY`.

use std::os::fd::BorrowedFd;

use super::audit::Audit;
use super::keyless::{self, Keyless};
use super::ring::{BUSY, DISCARD, HEADER, Header, Outside, Ring, RingFiles, Wakeup};
use super::{Creation, MapCreateError, MapError, MapOps, Special};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU32;
use crate::region::SharedBytes;

/// `BPF_MAX_USER_RINGBUF_SAMPLES`: how many records one call drains at the most.
pub(crate) const MAX_SAMPLES: u32 = 128 * 1024;

/// `DYNPTR_MAX_SIZE`: a longer sample cannot be handed to a program.
const MAX_SAMPLE: u32 = 0xff_ffff;

/// A ring buffer that the host writes.
#[derive(Debug)]
pub(crate) struct UserRingbuf {
    ring: Ring,
    draining: AtomicU32,
    /// Held by the thread that writes for the host.
    writing: AtomicU32,
}

/// The right to take records, which one run has at a time.
pub(crate) struct Drain<'a> {
    map: &'a UserRingbuf,
    taken: u32,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let map = UserRingbuf {
        ring: Ring::new(creation, Outside::Producer)?,
        draining: AtomicU32::new(0),
        writing: AtomicU32::new(0),
    };
    Ok(keyless::make(creation, map))
}

impl Keyless for UserRingbuf {
    const REFUSAL: MapError = MapError::NoElements;

    fn special(&self) -> Special<'_> {
        Special::UserRingbuf(self)
    }

    fn recover(&mut self, audit: &mut Audit) {
        self.ring.recover(audit);
    }
}

impl UserRingbuf {
    /// Begins to take records.
    ///
    /// # Errors
    /// [`MapError::Busy`] if somebody else does.
    pub(crate) fn drain(&self) -> Result<Drain<'_>, MapError> {
        match self.draining.compare_exchange(0, 1, Acquire, Relaxed) {
            Ok(_) => Ok(Drain { map: self, taken: 0 }),
            Err(_) => Err(MapError::Busy),
        }
    }

    /// The oldest record: its position and header; `None` if there is none, or it is not committed.
    fn peek(&self) -> Result<Option<(u64, Header)>, MapError> {
        let ring = &self.ring;
        let producer = ring.producer().load(Acquire);
        if !producer.is_multiple_of(8) {
            return Err(MapError::Corrupt { at: producer });
        }
        let consumer = ring.consumer().load(Acquire);
        if consumer >= producer {
            return Ok(None);
        }
        // It is moved by whole records, but lies beside that of the producer, and may have been overwritten.
        if !consumer.is_multiple_of(8) {
            return Err(MapError::Corrupt { at: consumer });
        }
        let header = Header::from(ring.header(consumer).load(Acquire));
        if header.step() > producer - consumer {
            return Err(MapError::Corrupt { at: consumer });
        }
        if header.step() > ring.size() || header.len > MAX_SAMPLE {
            return Err(MapError::TooLong {
                limit: MAX_SAMPLE.into(),
            });
        }
        if header.busy && !header.discarded {
            return Ok(None);
        }
        Ok(Some((consumer, header)))
    }

    fn release(&self, position: u64, header: Header) {
        self.ring.consumer().store(position + header.step(), Release);
    }

    /// Writes a record (what libbpf's `user_ring_buffer__reserve` and `__submit` do).
    ///
    /// # Errors
    /// [`MapError::TooLong`]; [`MapError::NoSpace`] until a program has drained records; [`MapError::Busy`] if another thread
    /// writes; [`MapError::Corrupt`] if somebody has overwritten the positions.
    pub(crate) fn write(&self, sample: &[u8]) -> Result<(), MapError> {
        let ring = &self.ring;
        let len = u32::try_from(sample.len())
            .ok()
            .filter(|len| len & (BUSY | DISCARD) == 0);
        let step = len
            .map(|len| Header::from(len).step())
            .filter(|step| *step <= ring.size());
        let (Some(len), Some(step)) = (len, step) else {
            return Err(MapError::TooLong {
                limit: ring.size() - HEADER,
            });
        };
        if self.writing.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            return Err(MapError::Busy);
        }
        // Both may have been overwritten: what is no distance between two words in the ring is not believed.
        let position = ring.producer().load(Acquire);
        let used = position.wrapping_sub(ring.consumer().load(Acquire));
        let result = if !position.is_multiple_of(8) || used > ring.size() {
            Err(MapError::Corrupt { at: position })
        } else if used + step > ring.size() {
            Err(MapError::NoSpace)
        } else {
            ring.header(position).store(len, Relaxed);
            // SAFETY: the ring's memory is writable; these bytes are between the producer and the consumer, hence ours.
            unsafe {
                ring.sample(position, sample.len())
                    .write(SharedBytes::from_slice(sample))
            };
            ring.producer().store(position.wrapping_add(step), Release);
            Ok(())
        };
        self.writing.store(0, Release);
        result
    }

    /// The memory, for a writer that maps it itself.
    pub(crate) fn files(&self) -> Option<RingFiles<'_>> {
        self.ring.files()
    }

    /// An eventfd that becomes readable when a program has drained records.
    pub(crate) fn event(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.ring.event()
    }

    /// Whether `len` bytes at an address lie in its data.
    pub(crate) fn holds(&self, address: u64, len: usize) -> bool {
        self.ring.holds(address, len)
    }
}

impl Drain<'_> {
    /// Hands the next record to `each`, and gives its memory back to the writer afterwards. Records that were discarded are
    /// passed over, and count, as in Linux, toward [`MAX_SAMPLES`].
    ///
    /// # Errors
    /// [`MapError::Corrupt`] or [`MapError::TooLong`] if what lies there is no record.
    pub(crate) fn next<R>(&mut self, each: impl FnOnce(u64, u32) -> R) -> Result<Option<R>, MapError> {
        while self.taken < MAX_SAMPLES
            && let Some((position, header)) = self.map.peek()?
        {
            self.taken += 1;
            if header.discarded {
                self.map.release(position, header);
                continue;
            }
            let result = each(self.map.ring.sample_address(position), header.len);
            self.map.release(position, header);
            return Ok(Some(result));
        }
        Ok(None)
    }

    /// Ends, and wakes the writer.
    pub(crate) fn finish(self, wakeup: Wakeup) {
        let due = match wakeup {
            Wakeup::Always => true,
            Wakeup::Never => false,
            Wakeup::Adaptive => self.taken > 0,
        };
        if due {
            self.map.ring.handle().wake();
        }
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        self.map.draining.store(0, Release);
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::map::{Map, MapDef, MapSource};
    use crate::memory::{Budget, MemoryLimit};
    use crate::run::Slots;
    use hitless_verifier::MapKind;

    fn map() -> Map {
        let slots = Slots::new(0, 4, Box::default());
        let def = MapDef::new("commands", MapKind::UserRingbuf, 0, 0, 4096);
        let runtime = (slots.into(), std::sync::Weak::new());
        let budget = Budget::new(MemoryLimit::None);
        Map::new(1, def, runtime, budget.into(), MapSource::default()).expect("a map")
    }

    fn drain(map: &Map) -> Result<Vec<Vec<u8>>, MapError> {
        let mut drain = map.user_ringbuf().expect("a user ring buffer").drain()?;
        let mut records = Vec::new();
        let each = |address, len: u32| {
            let mut record = vec![0; len as usize];
            // SAFETY: the record is not given back before this ends.
            unsafe { SharedBytes::from_raw(address, len as usize).read(&mut record) };
            record
        };
        while let Some(record) = drain.next(each)? {
            records.push(record);
        }
        drain.finish(Wakeup::Adaptive);
        Ok(records)
    }

    #[test]
    fn what_the_host_writes_programs_drain() {
        let map = map();
        assert_eq!(drain(&map), Ok(vec![]));
        for n in 0..500u32 {
            let records = [vec![n as u8; (n % 1000) as usize], vec![1, 2, 3]];
            for record in &records {
                map.write_record(record).unwrap();
            }
            assert_eq!(drain(&map).unwrap(), records);
        }
    }

    #[test]
    fn a_full_buffer_takes_more_once_it_is_drained() {
        let map = map();
        assert_eq!(map.write_record(&[0; 4089]), Err(MapError::TooLong { limit: 4088 }));
        map.write_record(&[0; 4088]).unwrap();
        assert_eq!(map.write_record(&[]), Err(MapError::NoSpace));
        let event = map.ring_event().unwrap().expect("a ring buffer");
        let mut count = [0; 8];
        let _ = rustix::io::read(event, &mut count);
        assert_eq!(drain(&map).unwrap().len(), 1);
        assert!(rustix::io::read(event, &mut count).is_ok(), "the writer is woken");
        map.write_record(&[]).unwrap();
    }

    #[test]
    fn one_program_drains_at_a_time() {
        let map = map();
        let first = map.user_ringbuf().unwrap().drain().unwrap();
        assert_eq!(drain(&map), Err(MapError::Busy));
        drop(first);
        assert_eq!(drain(&map), Ok(vec![]));
    }

    #[test]
    fn nothing_that_is_written_from_outside_is_believed() {
        let map = map();
        let ring = &map.user_ringbuf().unwrap().ring;
        ring.producer().store(12, Relaxed);
        assert_eq!(drain(&map), Err(MapError::Corrupt { at: 12 }));
        ring.producer().store(16, Relaxed);
        ring.header(0).store(9, Relaxed);
        assert_eq!(
            drain(&map),
            Err(MapError::Corrupt { at: 0 }),
            "longer than what was produced"
        );
        ring.producer().store(1 << 20, Relaxed);
        ring.header(0).store(5000, Relaxed);
        assert_eq!(
            drain(&map),
            Err(MapError::TooLong { limit: 0xff_ffff }),
            "longer than the buffer"
        );
        ring.header(0).store(8 | super::BUSY, Relaxed);
        assert_eq!(drain(&map), Ok(vec![]), "not written yet");
        ring.producer().store(32, Relaxed);
        ring.header(0).store(8 | super::DISCARD, Relaxed);
        ring.header(16).store(8, Relaxed);
        assert_eq!(drain(&map), Ok(vec![vec![0; 8]]), "the first was discarded");
        ring.producer().store(u64::MAX - 7, Relaxed);
        assert_eq!(
            map.write_record(b"x"),
            Err(MapError::Corrupt { at: u64::MAX - 7 }),
            "further than the buffer is long"
        );
        ring.producer().store(33, Relaxed);
        assert_eq!(map.write_record(b"x"), Err(MapError::Corrupt { at: 33 }));
        ring.producer().store(32, Relaxed);
        ring.consumer().store(4, Relaxed);
        assert_eq!(drain(&map), Err(MapError::Corrupt { at: 4 }), "between two words");
    }

    #[test]
    fn the_host_writes_nowhere_else_whatever_the_positions_are() {
        let map = map();
        let ring = &map.user_ringbuf().unwrap().ring;
        for (producer, consumer) in [(12, 0), (8, 16), (8192, 0), (u64::MAX, 0), (16, u64::MAX - 15)] {
            ring.producer().store(producer, Relaxed);
            ring.consumer().store(consumer, Relaxed);
            let written = map.write_record(&[1; 40]);
            let expected = match (producer, consumer) {
                (16, _) => Ok(()),
                _ => Err(MapError::Corrupt { at: producer }),
            };
            assert_eq!(written, expected, "{producer} {consumer}");
        }
    }
}
