//! Maps that are kept in files: made, opened again by another process, or by the same program after it was killed.
//!
//! A file is a header (`header.rs`) and behind it the region, as it lies in memory (of a ring buffer, what others may map). It
//! appears under its name when it is complete, by one link. All its blocks are there from the start, whatever the map's flags: a
//! file system that is full could refuse one later only by a signal that ends the process.
//!
//! Whoever has a map open holds a lock of its file, exclusively, for as long as the region is mapped. It is the open file's, so
//! children have a share in it that do not execute another program.
//!
//! What lies in a file is believed by nobody. The header is checked before anything else; what it says of the map goes through the
//! same checks as that of a new one, and the layout of the region is computed from it, not read. The region itself is examined as a
//! whole (`audit.rs`), first in a private view, so that nothing is changed in a file that is refused.

mod error;
mod header;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use hitless_verifier::MapKind;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, ftruncate, linkat, openat};

use super::audit::{Audit, FindingKind};
use super::{Creation, Elem, Map, MapCreateError, MapDef, MapHandle, MapOps, check_def};
use crate::memory::{Budget, MemoryLimit};
use crate::primitive::Ordering::Relaxed;
use crate::runtime::{Inner, Runtime};
use crate::sys::{self, FilePart, Sharing};
pub use error::{MapOpenError, MapOpenReason};
use header::Header;

/// The host has frozen the map.
pub(super) const FROZEN: u32 = 1;
/// The map's content has moved to another map.
pub(super) const SEALED: u32 = 2;

/// The file of a map, locked.
#[derive(Debug)]
pub(crate) struct MapFile {
    file: File,
    /// Where the region begins.
    at: u64,
    /// How long it is, if that is known.
    region: Option<u64>,
    state: AtomicU32,
}

/// Whether the state of such maps lies in their regions alone.
fn can_be_kept(kind: MapKind) -> bool {
    matches!(
        kind,
        MapKind::Array
            | MapKind::PercpuArray
            | MapKind::Hash
            | MapKind::PercpuHash
            | MapKind::LruHash
            | MapKind::LruPercpuHash
            | MapKind::LpmTrie
            | MapKind::Queue
            | MapKind::Stack
            | MapKind::BloomFilter
            | MapKind::Ringbuf
            | MapKind::UserRingbuf
    )
}

impl MapFile {
    /// A file that has no name yet, on the file system of the directory that `path` is to lie in.
    fn create(path: &Path) -> io::Result<MapFile> {
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        let mode = Mode::RUSR | Mode::WUSR;
        let file = openat(CWD, dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
        // Nobody else can have it.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(MapFile {
            file: file.into(),
            at: header::MIN_SPACE.next_multiple_of(rustix::param::page_size()) as u64,
            region: None,
            state: AtomicU32::new(0),
        })
    }

    /// Writes the header of the map that was made in it, and gives it its name.
    fn publish(&self, creation: &Creation<'_>, path: &Path) -> io::Result<()> {
        let header = Header {
            at: self.at,
            region: self.file.metadata()?.len() - self.at,
            slots: creation.slots as u32,
            seed: creation.seed,
            def: creation.def.clone(),
            state: 0,
        };
        self.file.write_all_at(&header.encode(), 0)?;
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Opens a file, to change it or only to look at it.
    fn open(path: &Path, access: Access) -> Result<(MapFile, Header), MapOpenReason> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Change)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(MapOpenReason::NotAFile);
        }
        let operation = match access {
            Access::Change => FlockOperation::NonBlockingLockExclusive,
            Access::Look => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, operation) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(MapOpenReason::InUse),
            locked => locked.map_err(io::Error::from)?,
        }
        let found = file.metadata()?.len();
        let length = |expected| MapOpenReason::Length { found, expected };
        if found < header::LEN as u64 {
            return Err(length(header::LEN as u64));
        }
        let mut bytes = [0; header::LEN];
        file.read_exact_at(&mut bytes, 0)?;
        let header = Header::decode(&bytes)?;
        let is_page = header.at.is_multiple_of(rustix::param::page_size() as u64);
        if !is_page || header.at < header::MIN_SPACE as u64 {
            return Err(MapOpenReason::Header {
                what: "length, no multiple of the page size,",
                found: header.at,
            });
        }
        let expected = header.at.checked_add(header.region);
        if expected != Some(found) {
            return Err(length(expected.unwrap_or(u64::MAX)));
        }
        if header.slots == 0 {
            return Err(MapOpenReason::Header {
                what: "number of slots",
                found: 0,
            });
        }
        if !can_be_kept(header.def.kind) {
            return Err(MapOpenReason::Header {
                what: "map type",
                found: header.def.kind.number().into(),
            });
        }
        let map = MapFile {
            file,
            at: header.at,
            region: Some(header.region),
            state: AtomicU32::new(header.state),
        };
        Ok((map, header))
    }

    /// Reserves the region, of `len` bytes.
    pub(super) fn reserve(&self, creation: &Creation<'_>, len: usize) -> Result<FilePart<'_>, MapCreateError> {
        let len = len.next_multiple_of(8);
        match self.region {
            Some(found) if found != len as u64 => {
                return Err(MapCreateError::OtherSize {
                    name: creation.def.name.clone(),
                    found,
                    expected: len as u64,
                });
            }
            Some(_) => {}
            None => {
                let grown = ftruncate(&self.file, self.at + len as u64);
                grown.map_err(|error| creation.no_memory(len as u64, error.into()))?;
            }
        }
        Ok(FilePart {
            file: self.file.as_fd(),
            at: self.at,
            len,
        })
    }

    /// Has the file system find all the blocks now.
    fn allocate(&self) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        Ok(sys::allocate(self.file.as_fd(), len)?)
    }

    /// Remembers that something has become of the map.
    pub(super) fn mark(&self, mark: u32) {
        let state = self.state.fetch_or(mark, Relaxed) | mark;
        // Of a file that is there, and long enough, no write fails but for a disk that does.
        let _ = self.file.write_all_at(&state.to_le_bytes(), header::STATE as u64);
    }

    fn is(&self, mark: u32) -> bool {
        self.state.load(Relaxed) & mark != 0
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Change,
    Look,
}

impl Header {
    fn creation<'a>(&'a self, file: &'a MapFile, sharing: Sharing, budget: &'a Arc<Budget>) -> Creation<'a> {
        Creation {
            seed: self.seed,
            file: Some((file, sharing)),
            ..Creation::new(&self.def, self.slots as usize, budget)
        }
    }

    /// Makes the map of a file's region, and mends that.
    fn make(
        &self,
        file: &MapFile,
        sharing: Sharing,
        budget: &Arc<Budget>,
    ) -> Result<(Box<dyn MapOps>, Audit), MapCreateError> {
        let known = check_def(&self.def)?;
        let mut ops = (known.make)(&self.creation(file, sharing, budget))?;
        let mut audit = Audit::default();
        ops.recover(&mut audit);
        if let Some(off) = self.def.spin_lock {
            release_spin_locks(ops.as_ref(), off as usize, &mut audit);
        }
        Ok((ops, audit))
    }
}

/// Who held one of them is gone. One of an element that is free may be held, too, by somebody who looked it up before.
fn release_spin_locks(ops: &dyn MapOps, off: usize, audit: &mut Audit) {
    for index in 0..ops.indices() {
        let lock = ops.value(Elem(index), 0).part(off, 4);
        if lock.load_word() != 0 {
            audit.note(FindingKind::SpinLock, index);
            // SAFETY: memory of the map's region, which is writable.
            unsafe { lock.clear() };
        }
    }
}

/// A map that was opened from a file.
#[derive(Debug)]
pub struct OpenedMap {
    /// The map.
    pub map: MapHandle,
    /// What its last owner has left, and was mended.
    pub audit: Audit,
}

impl Runtime {
    /// Makes a map that is kept in a file, which must not be there yet: whatever becomes of the process, [`Runtime::open_map`] opens
    /// it again, with every change in it that was completed. (What survives the machine is up to the file system: see
    /// `fsync(2)`.) Only the file's owner may read it. The file system has to have files without a name (`O_TMPFILE`).
    ///
    /// What was under way when the process was killed is there or not. Only a value of more than eight bytes that is written in
    /// place may be new in one part and old in another, as it may be to who reads it meanwhile: in an array, in a per-CPU map, under a
    /// spin lock, or through a pointer.
    ///
    /// Programs and the host use it as any other map; loaded objects take it over by
    /// [`LoadOptions::replace_map`](crate::LoadOptions::replace_map).
    ///
    /// # Errors
    /// [`MapCreateError::NotKept`] for types of maps that refer to programs, maps, buffers or threads;
    /// [`MapCreateError::File`] if there is such a file, or it cannot be made; and as [`Runtime::create_map`].
    ///
    /// # Examples
    /// ```
    /// use hitless::{MapDef, MapKind, Runtime, UpdateFlags};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("flows");
    /// let runtime = Runtime::default();
    /// let map = runtime.create_map_in(MapDef::new("flows", MapKind::Hash, 4, 8, 1024), &path)?;
    /// map.update(&[1; 4], &[2; 8], UpdateFlags::ANY)?;
    /// drop(map);
    ///
    /// let opened = runtime.open_map(&path)?;
    /// assert_eq!(opened.map.lookup(&[1; 4])?, Some(vec![2; 8]));
    /// assert!(opened.audit.findings.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_map_in(&self, def: MapDef, path: impl AsRef<Path>) -> Result<MapHandle, MapCreateError> {
        let map = self.inner().create_map_in(def, path.as_ref())?;
        Ok(MapHandle::new(map, self.inner()))
    }

    /// Opens a map that is kept in a file ([`Runtime::create_map_in`]), and mends what its last owner has left: locks, elements and
    /// records in flight. A map that was frozen, or whose content was moved by an upgrade, still is.
    ///
    /// A map that has something for each slot is opened by a runtime with as many slots as the one that has made it.
    ///
    /// # Errors
    /// [`MapOpenReason`], by variant. The file is as it was.
    pub fn open_map(&self, path: impl AsRef<Path>) -> Result<OpenedMap, MapOpenError> {
        let path = path.as_ref();
        let opened = self.inner().open_map(path);
        let (map, audit) = opened.map_err(|reason| MapOpenError {
            path: path.to_owned(),
            reason,
        })?;
        Ok(OpenedMap {
            map: MapHandle::new(map, self.inner()),
            audit,
        })
    }
}

impl Inner {
    fn create_map_in(&self, def: MapDef, path: &Path) -> Result<Arc<Map>, MapCreateError> {
        if !can_be_kept(def.kind) {
            return Err(MapCreateError::NotKept {
                name: def.name,
                kind: def.kind,
            });
        }
        let name = def.name.clone();
        let failed = |source| MapCreateError::File {
            name: name.clone(),
            path: path.to_owned(),
            source,
        };
        if path.try_exists().map_err(&failed)? {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let file = MapFile::create(path).map_err(&failed)?;
        let known = check_def(&def)?;
        let budget = self.budget();
        let creation = Creation {
            file: Some((&file, Sharing::Shared)),
            ..Creation::new(&def, self.slots.count(), budget)
        };
        creation.check(
            creation.def.name.len() <= header::MAX_NAME,
            "length of the name",
            creation.def.name.len() as u64,
            "less than 2 KiB",
        )?;
        let ops = (known.make)(&creation)?;
        file.allocate()
            .and_then(|()| file.publish(&creation, path))
            .map_err(failed)?;
        Ok(self.adopt_map(def, (ops, Some(file))))
    }

    fn open_map(&self, path: &Path) -> Result<(Arc<Map>, Audit), MapOpenReason> {
        let (file, header) = MapFile::open(path, Access::Change)?;
        let (_, audit) = header.make(&file, Sharing::Private, &unlimited())?;
        if audit.is_damaged() {
            return Err(MapOpenReason::Damaged(audit));
        }
        let (found, expected) = (header.slots, self.slots.count() as u32);
        let header = Header {
            slots: expected,
            ..header
        };
        if found != expected {
            let slots = MapOpenReason::Slots { found, expected };
            if header.def.is_per_cpu() {
                return Err(slots);
            }
            // If nothing depends on it, the layout is the same.
            match header.make(&file, Sharing::Private, &unlimited()) {
                Err(MapCreateError::OtherSize { .. }) => return Err(slots),
                made => made?,
            };
        }
        file.allocate()?;
        let (ops, audit) = header.make(&file, Sharing::Shared, self.budget())?;
        let map = self.adopt_map(header.def, (ops, Some(file)));
        map.recall_state();
        Ok((map, audit))
    }
}

impl Map {
    /// Becomes what it was when its last owner ended.
    fn recall_state(&self) {
        let Some(file) = &self.file else { return };
        if file.is(FROZEN) {
            self.frozen.store(1, Relaxed);
        }
        if file.is(SEALED) {
            self.ops.common().seal();
        }
    }
}

/// For views that are gone at once.
fn unlimited() -> Arc<Budget> {
    Arc::new(Budget::new(MemoryLimit::None))
}

/// Looks at a map that is kept in a file, without changing it: what [`Runtime::open_map`] would find.
///
/// # Errors
/// [`MapOpenReason`], by variant, but [`MapOpenReason::Damaged`]: that is what it tells.
pub fn check_map(path: impl AsRef<Path>) -> Result<Audit, MapOpenError> {
    examine(path.as_ref(), Access::Look)
}

/// Mends a map that is kept in a file, also if it is damaged: then what is in doubt is lost. Tells what it has found.
///
/// # Errors
/// As [`check_map`].
pub fn repair_map(path: impl AsRef<Path>) -> Result<Audit, MapOpenError> {
    examine(path.as_ref(), Access::Change)
}

fn examine(path: &Path, access: Access) -> Result<Audit, MapOpenError> {
    let examined = MapFile::open(path, access).and_then(|(file, header)| {
        let sharing = match access {
            Access::Look => Sharing::Private,
            Access::Change => Sharing::Shared,
        };
        Ok(header.make(&file, sharing, &unlimited())?.1)
    });
    examined.map_err(|reason| MapOpenError {
        path: path.to_owned(),
        reason,
    })
}
