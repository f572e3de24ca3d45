//! Perf event arrays: each slot's programs write records to a buffer of their own.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use hitless_verifier::MapKind;

use super::wait::{clear, wait_readable};
use super::{MapTypeError, TypedMap, check_kind};
use crate::map::{MapCreateError, MapError, MapHandle, PerfBuffer, PerfRecord};

/// An array of buffers that programs write records to (`bpf_perf_event_output`).
#[doc(alias = "BPF_MAP_TYPE_PERF_EVENT_ARRAY")]
#[derive(Clone, Debug)]
pub struct PerfEventArray {
    map: MapHandle,
}

impl TypedMap for PerfEventArray {
    fn from_map(map: &MapHandle) -> Result<PerfEventArray, MapTypeError> {
        check_kind(map, &[MapKind::PerfEventArray])?;
        Ok(PerfEventArray { map: map.clone() })
    }
}

/// Why there is no reader.
#[derive(Debug, thiserror::Error)]
pub enum PerfReaderError {
    /// A buffer cannot be made.
    #[error(transparent)]
    Buffer(#[from] MapCreateError),
    /// A buffer cannot be put into the map: it has fewer indices than there are slots, or belongs to a forked child's parent.
    #[error("buffer of slot {slot}")]
    Insert {
        /// The slot.
        slot: u32,
        /// Why.
        source: MapError,
    },
    /// What the system says when it is to make an eventfd.
    #[error("cannot wait for records")]
    Event(#[source] io::Error),
}

impl PerfEventArray {
    /// A reader, with a buffer of `pages` pages (a power of two) for each slot, in place of those that there were. Its buffers are
    /// taken out again when it is dropped.
    ///
    /// # Errors
    /// [`PerfReaderError`], by variant.
    pub fn reader(&self, pages: u32) -> Result<PerfReader, PerfReaderError> {
        let mut reader = PerfReader {
            map: self.map.clone(),
            buffers: Vec::new(),
        };
        for slot in 0..self.map.slot_count() {
            let buffer = self.map.perf_buffer(slot, pages)?;
            buffer.event().map_err(PerfReaderError::Event)?;
            self.map
                .insert_buffer(slot, &buffer)
                .map_err(|source| PerfReaderError::Insert { slot, source })?;
            reader.buffers.push(buffer);
        }
        Ok(reader)
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

/// Reads what programs write to a perf event array: the records of each slot in their order.
#[derive(Debug)]
pub struct PerfReader {
    map: MapHandle,
    buffers: Vec<Arc<PerfBuffer>>,
}

impl PerfReader {
    /// Hands all records that are there to `each`, with their slots; returns how many. Does not wait.
    ///
    /// # Errors
    /// [`MapError::Busy`] while somebody else reads a buffer; [`MapError::Corrupt`] if another process has overwritten its memory.
    pub fn read(&mut self, mut each: impl FnMut(u32, PerfRecord<'_>)) -> Result<usize, MapError> {
        let mut count = 0;
        for buffer in &self.buffers {
            count += buffer.consume(|record| each(buffer.slot(), record))?;
        }
        Ok(count)
    }

    /// Waits until there may be records to read: true; or until this time is over, if one is given.
    ///
    /// # Errors
    /// What the system says, `EINTR` excepted.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let events: Vec<_> = self.events().collect();
        let ready = wait_readable(&events, timeout)?;
        // Before what is there is read.
        events.into_iter().try_for_each(clear)?;
        Ok(ready)
    }

    /// A file descriptor for each slot, for `epoll`: readable when the slot's programs have written a record. To be read (8 bytes)
    /// before the records are.
    pub fn events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.buffers
            .iter()
            .map(|buffer| buffer.event().expect("the reader was made with it"))
    }
}

impl Drop for PerfReader {
    fn drop(&mut self) {
        for buffer in &self.buffers {
            // Somebody may have put another one there.
            let _ = self.map.remove_buffer(buffer);
        }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::map::{CURRENT_SLOT, MapDef};
    use crate::region::SharedBytes;
    use crate::runtime::Runtime;

    fn output(map: &MapHandle, text: &str) -> Result<(), MapError> {
        let events = map.events().unwrap();
        let parts = [SharedBytes::from_slice(text.as_bytes())];
        map.slots().run(|run| events.output(run, CURRENT_SLOT, &parts)).unwrap()
    }

    #[test]
    fn what_programs_write_is_read_until_the_reader_is_gone() {
        let runtime = Runtime::default();
        let slots = runtime
            .create_map(MapDef::new("", MapKind::Array, 4, 4, 1))
            .unwrap()
            .slot_count();
        let map = runtime
            .create_map(MapDef::new("events", MapKind::PerfEventArray, 4, 4, slots))
            .unwrap();
        let array = PerfEventArray::from_map(&map).unwrap();
        assert_eq!(output(&map, "nobody"), Err(MapError::NotFound));
        let mut reader = array.reader(1).unwrap();
        assert!(!reader.wait(Some(Duration::ZERO)).unwrap());
        output(&map, "one").unwrap();
        output(&map, "two").unwrap();
        assert!(reader.wait(None).unwrap());
        let mut found = Vec::new();
        let count = reader.read(|_slot, record| match record {
            PerfRecord::Sample(bytes) => found.push(bytes[..3].to_vec()),
            PerfRecord::Lost(count) => panic!("{count} lost"),
        });
        assert_eq!((count, found), (Ok(2), vec![b"one".to_vec(), b"two".to_vec()]));
        assert!(!reader.wait(Some(Duration::ZERO)).unwrap());
        assert_eq!(reader.events().count(), slots as usize);
        drop(reader);
        assert_eq!(output(&map, "nobody"), Err(MapError::NotFound));
    }

    #[test]
    fn an_array_needs_an_index_for_each_slot() {
        let runtime = Runtime::new(crate::Options {
            slots: Some(2),
            ..crate::Options::default()
        });
        let map = runtime
            .create_map(MapDef::new("events", MapKind::PerfEventArray, 4, 4, 1))
            .unwrap();
        let array = PerfEventArray::from_map(&map).unwrap();
        assert!(matches!(array.reader(1), Err(PerfReaderError::Insert { slot: 1, .. })));
        assert!(matches!(array.reader(3), Err(PerfReaderError::Buffer(_))));
        // Nothing is left behind, and the run may be on the slot that has no index.
        let nobody = output(&map, "nobody");
        assert!(matches!(
            nobody,
            Err(MapError::NotFound | MapError::IndexTooLarge { .. })
        ));
    }
}
