//! The host's side of ring buffers, queues, stacks and bloom filters.

use std::io;
use std::os::fd::BorrowedFd;

use super::ring::RingFiles;
use super::{Map, MapError, Special};
use crate::region::SharedBytes;

impl Map {
    /// Adds a value to a queue, stack or bloom filter (`bpf_map_push_elem`). [`UpdateFlags::EXIST`](super::UpdateFlags::EXIST)
    /// lets the oldest value of a full queue or stack go.
    ///
    /// # Errors
    /// [`MapError::Full`]; [`MapError::InvalidFlags`]; [`MapError::OtherKind`] for another type of map; and as
    /// [`Map::update`].
    pub fn push(&self, value: &[u8], flags: super::UpdateFlags) -> Result<(), MapError> {
        let values = self.values().ok_or(self.lacks("push"))?;
        self.check_value(value, self.def.value_size as usize)?;
        self.slots.run(|run| {
            self.check_writable()?;
            self.count_busy(values.push(run, SharedBytes::from_slice(value), flags.bits()))
        })?
    }

    /// Takes the next value out of a queue or stack; `None` if it is empty.
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for another type of map; and as [`Map::update`].
    pub fn pop(&self) -> Result<Option<Vec<u8>>, MapError> {
        self.next_value(true)
    }

    /// The next value of a queue or stack, which stays there; `None` if it is empty.
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for another type of map; [`MapError::Busy`]; [`MapError::Forked`].
    pub fn peek(&self) -> Result<Option<Vec<u8>>, MapError> {
        self.next_value(false)
    }

    fn next_value(&self, pop: bool) -> Result<Option<Vec<u8>>, MapError> {
        let mut value = vec![0; self.def.value_size as usize];
        let found = self.next_into(&mut value, pop)?;
        Ok(found.then_some(value))
    }

    /// Copies the next value of a queue or stack, and removes it if asked to; false if there is none.
    pub(super) fn next_into(&self, value: &mut [u8], pop: bool) -> Result<bool, MapError> {
        let values = self.values().ok_or(self.lacks(if pop { "pop" } else { "peek" }))?;
        self.check_value(value, self.def.value_size as usize)?;
        let (target, len) = (value.as_mut_ptr() as u64, value.len());
        let result = self.slots.run(|run| {
            self.check_readable()?;
            // SAFETY: that is a slice which is borrowed for the call, and not touched meanwhile.
            let target = unsafe { SharedBytes::from_raw(target, len) };
            if pop {
                self.check_writable()?;
                // SAFETY: the slice is writable.
                self.count_busy(unsafe { values.pop(run, target) })
            } else {
                // SAFETY: as above.
                self.count_busy(unsafe { values.peek(run, target) })
            }
        })?;
        match result {
            Ok(()) => Ok(true),
            Err(MapError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a bloom filter may hold a value: certainly, if it was pushed.
    ///
    /// # Errors
    /// [`MapError::OtherKind`] for another type of map; [`MapError::ValueSize`]; [`MapError::Forked`].
    pub fn contains(&self, value: &[u8]) -> Result<bool, MapError> {
        let lacks = self.lacks("contains");
        let values = self.values().ok_or(lacks)?;
        if self.def.kind != hitless_verifier::MapKind::BloomFilter {
            return Err(lacks);
        }
        self.check_value(value, self.def.value_size as usize)?;
        let found = self.slots.run(|run| {
            self.check_readable()?;
            // SAFETY: a bloom filter only reads it.
            unsafe { values.peek(run, SharedBytes::from_slice(value)) }
        })?;
        match found {
            Ok(()) => Ok(true),
            Err(MapError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes records out of a ring buffer, at most `limit` of them, and hands each to `each`, in the order in which they were
    /// reserved; returns how many. Ends at the first one that is not committed yet.
    ///
    /// # Errors
    /// [`MapError::Busy`] while somebody else reads; [`MapError::Corrupt`] if another process has overwritten the memory;
    /// [`MapError::OtherKind`] for another type of map.
    pub fn read_records(&self, limit: usize, each: impl FnMut(&[u8])) -> Result<usize, MapError> {
        let ringbuf = self.ringbuf().ok_or(self.lacks("read_records"))?;
        ringbuf.consume(limit, each)
    }

    /// Writes a record to a user ring buffer, for programs to drain.
    ///
    /// # Errors
    /// [`MapError::NoSpace`] until programs have drained records; [`MapError::TooLong`]; [`MapError::Busy`] while somebody else
    /// writes; [`MapError::OtherKind`] for another type of map.
    pub fn write_record(&self, record: &[u8]) -> Result<(), MapError> {
        let ringbuf = self.user_ringbuf().ok_or(self.lacks("write_record"))?;
        ringbuf.write(record)
    }

    /// The memory of a ring buffer, or user ring buffer, for who maps it by itself. `None` for another type of map, and for one
    /// that is kept in a file.
    #[must_use]
    pub fn ring_files(&self) -> Option<RingFiles<'_>> {
        match self.ops.special() {
            Special::Ringbuf(ringbuf) => ringbuf.files(),
            Special::UserRingbuf(ringbuf) => ringbuf.files(),
            _ => None,
        }
    }

    /// An eventfd to `poll(2)`: readable when a ring buffer has records for a reader that had read all there were, or as the
    /// wakeup flags of programs say; for a user ring buffer, when a program has drained some. `None` for another type of map.
    ///
    /// # Errors
    /// What the system says when it is made.
    pub fn ring_event(&self) -> io::Result<Option<BorrowedFd<'_>>> {
        match self.ops.special() {
            Special::Ringbuf(ringbuf) => ringbuf.event().map(Some),
            Special::UserRingbuf(ringbuf) => ringbuf.event().map(Some),
            _ => Ok(None),
        }
    }
}
