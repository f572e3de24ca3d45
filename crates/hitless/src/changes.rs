//! Change feeds: what happens to a map, for the host to read.
//!
//! A feed is a tracer of the runtime's own that writes a record into a ring buffer for each change, under the stripe of the
//! changed key. So for each key the records come in the order of its changes. A change that does not fit is counted, and each
//! record says how many were missed until then.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hitless_verifier::MapKind;

use crate::link::{AttachError, Link};
use crate::map::{Map, MapCreateError, MapDef, MapError, MapHandle, Wakeup};
use crate::maps::{ReadError, RingBuf, RingReader, TypedMap};
use crate::primitive::Ordering::Relaxed;
use crate::primitive::atomic::AtomicU64;
use crate::region::SharedBytes;
use crate::run::Run;
use crate::trace::{Action, Cell, Mirror, TraceEvent};

/// What a record begins with: number of the event, slot, changes missed before.
const HEADER: usize = 16;

/// One change of a map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What happened.
    pub event: TraceEvent,
    /// The element's key.
    pub key: Vec<u8>,
    /// The value that it has got, [`MapDef::value_size`] bytes; empty if the element is gone.
    pub value: Vec<u8>,
    /// In a per-CPU map: the slot whose value it is.
    pub slot: Option<u32>,
    /// How many changes were missed since the one before, because the reader was too slow.
    pub missed: u64,
}

/// The changes of a map, from [`Map::changes`], in the order in which they happened to each key. Ends when dropped.
#[derive(Debug)]
pub struct Changes {
    map: Arc<Map>,
    feed: Arc<Feed>,
    reader: RingReader,
    /// How many missed changes the reader was told of.
    told: u64,
    /// Detaches the feed when dropped.
    _link: Link,
}

/// Why there is no feed.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The ring buffer could not be made.
    #[error("cannot make the buffer for changes")]
    Buffer(#[source] MapCreateError),
    /// What the system says when it is to make what wakes the reader.
    #[error("cannot make the reader of changes")]
    Reader(#[source] std::io::Error),
    /// The feed could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The map's runtime is gone: nothing changes the map but the caller.
    #[error("the map's runtime is gone")]
    NoRuntime,
}

impl Map {
    /// A feed of the map's changes, made by programs and by the host, from now on. `buffer` is how many bytes there are for changes
    /// that are not read yet: a power of two, at least a page.
    ///
    /// While there is a feed, the map is traced. Programs and calls of the host do not wait for the reader: what does not fit
    /// into the buffer is missed, and counted exactly.
    ///
    /// # Errors
    /// [`ChangesError`], by variant.
    ///
    /// # Examples
    /// ```
    /// use hitless::{MapDef, MapKind, Runtime, TraceEvent, UpdateFlags};
    ///
    /// let runtime = Runtime::default();
    /// let map = runtime.create_map(MapDef::new("flows", MapKind::Hash, 4, 4, 100))?;
    /// let mut changes = map.changes(1 << 16)?;
    /// map.update(&[1, 0, 0, 0], &[7, 0, 0, 0], UpdateFlags::ANY)?;
    /// map.delete(&[1, 0, 0, 0])?;
    /// let update = changes.next()?.expect("a change");
    /// assert_eq!((update.event, &update.value[..]), (TraceEvent::UpdateElem, &[7, 0, 0, 0][..]));
    /// assert_eq!(changes.next()?.expect("a change").event, TraceEvent::DeleteElem);
    /// assert!(changes.next()?.is_none());
    /// assert_eq!(changes.missed(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn changes(self: &Arc<Map>, buffer: u32) -> Result<Changes, ChangesError> {
        let runtime = self.inner_runtime().upgrade().ok_or(ChangesError::NoRuntime)?;
        let def = MapDef::new("changes", MapKind::Ringbuf, 0, 0, buffer);
        let ring = runtime
            .create_map(def, crate::map::MapSource::default())
            .map_err(ChangesError::Buffer)?;
        let handle = MapHandle::new(Arc::clone(&ring), &runtime);
        let buffer = RingBuf::from_map(&handle).expect("it was made as a ring buffer");
        let reader = buffer.reader().map_err(ChangesError::Reader)?;
        let feed = Arc::new(Feed {
            ring,
            missed: AtomicU64::new(0),
        });
        let action = Action::Mirror(Arc::clone(&feed) as _);
        let link = runtime.attach_tracer(self, action, &[], None)?;
        Ok(Changes {
            map: Arc::clone(self),
            feed,
            reader,
            told: 0,
            _link: Link::new(runtime, link),
        })
    }
}

impl Changes {
    /// The next change, if there is one. Does not wait.
    ///
    /// # Errors
    /// [`MapError::Corrupt`] if another process has overwritten the buffer.
    #[expect(
        clippy::should_implement_trait,
        reason = "that there is none now does not mean that there are no more"
    )]
    pub fn next(&mut self) -> Result<Option<Change>, MapError> {
        let record = self.reader.next()?;
        record.map(|record| self.parse(&record)).transpose()
    }

    /// The next change, waiting for it if need be; `None` if there is none after this time.
    ///
    /// # Errors
    /// [`ReadError`], by variant.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Change>, ReadError> {
        let record = self.reader.next_within(timeout)?;
        Ok(record.map(|record| self.parse(&record)).transpose()?)
    }

    /// How many changes were missed since the feed began: those that [`Change::missed`] has told of, and others, if none that
    /// was not missed has followed them yet.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.feed.missed.load(Relaxed)
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &Arc<Map> {
        &self.map
    }

    fn parse(&mut self, record: &[u8]) -> Result<Change, MapError> {
        let corrupt = MapError::Corrupt { at: 0 };
        let def = self.map.def();
        let (header, rest) = record.split_first_chunk::<HEADER>().ok_or(corrupt)?;
        let [e0, e1, e2, e3, s0, s1, s2, s3, missed @ ..] = *header;
        let number = u32::from_ne_bytes([e0, e1, e2, e3]);
        let mut events = TraceEvent::ALL.into_iter();
        let event = events.find(|event| event.table().number == number).ok_or(corrupt)?;
        let (key, value) = rest.split_at_checked(def.key_size as usize).ok_or(corrupt)?;
        let missed = u64::from_ne_bytes(missed);
        let untold = missed.saturating_sub(self.told);
        self.told += untold;
        let is_value = event == TraceEvent::UpdateElem && def.is_per_cpu();
        Ok(Change {
            event,
            key: key.to_vec(),
            value: value.to_vec(),
            slot: is_value.then_some(u32::from_ne_bytes([s0, s1, s2, s3])),
            missed: untold,
        })
    }
}

/// Writes the records.
struct Feed {
    ring: Arc<Map>,
    /// Changes that did not fit.
    missed: AtomicU64,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl Feed {
    fn miss(&self) {
        self.missed.fetch_add(1, Relaxed);
    }

    /// Writes a record with this key and value.
    fn record(&self, run: &Run<'_>, event: TraceEvent, slot: u32, key: &[u8], value: Option<SharedBytes<'_>>) {
        let len = HEADER + key.len() + value.map_or(0, |value| value.len());
        let written = self.ring.ringbuf().is_some_and(|ring| {
            let header = |at: u64| {
                let missed = self.missed.load(Relaxed).to_ne_bytes();
                let [e0, e1, e2, e3] = event.table().number.to_ne_bytes();
                let [s0, s1, s2, s3] = slot.to_ne_bytes();
                let mut header = [e0, e1, e2, e3, s0, s1, s2, s3, 0, 0, 0, 0, 0, 0, 0, 0];
                header[8..].copy_from_slice(&missed);
                // SAFETY: the record was just reserved, and is that long.
                unsafe {
                    SharedBytes::from_raw(at, HEADER).write(SharedBytes::from_slice(&header));
                    SharedBytes::from_raw(at + HEADER as u64, key.len()).write(SharedBytes::from_slice(key));
                    if let Some(value) = value {
                        SharedBytes::from_raw(at + (HEADER + key.len()) as u64, value.len()).write(value);
                    }
                }
            };
            ring.output_with(run, len as u64, header, Wakeup::Adaptive).is_ok()
        });
        if !written {
            self.miss();
        }
    }
}

impl Mirror for Feed {
    fn updated(&self, run: &Run<'_>, map: &Map, key: &[u8], cell: Cell) {
        let event = TraceEvent::UpdateElem;
        let Some(buffers) = map.trace().and_then(|trace| trace.snapshot_buffers()) else {
            let value = map.ops().value(cell.elem, cell.slot);
            return self.record(run, event, cell.slot, key, Some(value));
        };
        // The value is guarded by a spin lock.
        let copied = buffers.with(run, |value| {
            map.read_element(run, cell, value)
                .map(|()| self.record(run, event, cell.slot, key, Some(SharedBytes::from_slice(value))))
        });
        if !matches!(copied, Some(Ok(()))) {
            self.miss();
        }
    }

    fn removed(&self, run: &Run<'_>, key: &[u8], evicted: bool) {
        let event = if evicted {
            TraceEvent::EvictElem
        } else {
            TraceEvent::DeleteElem
        };
        self.record(run, event, 0, key, None);
    }

    fn lost(&self) {
        self.miss();
    }
}
