//! What the runtime asks of Linux: shared mappings, `membarrier(2)`, futexes, signal masks, fork notice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

use crate::primitive::atomic::AtomicU32;

/// What a large page holds.
const LARGE_PAGE: usize = 2 << 20;

/// Memory: of this process alone, a memory file, or bytes of files. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// With what was added to fill the last page.
    mapped: usize,
    /// The memory file, if it is one of its own.
    file: Option<OwnedFd>,
}

/// Bytes of a file that are to be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilePart<'a> {
    pub(crate) file: BorrowedFd<'a>,
    /// Where they begin, a multiple of the page size.
    pub(crate) at: u64,
    pub(crate) len: usize,
}

/// Who sees what is written to mapped bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// Whoever maps or reads the file.
    Shared,
    /// Nobody else.
    Private,
}

impl Sharing {
    fn flags(self) -> MapFlags {
        match self {
            Sharing::Shared => MapFlags::SHARED,
            Sharing::Private => MapFlags::PRIVATE,
        }
    }
}

/// How maps' memory is mapped.
const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

// SAFETY: the mapping is plain memory owned by this value; all access goes through atomics (`region.rs`).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Creates a memory file of `len` bytes (not 0) and maps all of it. Pages are paid for as they are touched.
    pub(crate) fn file_of(name: &str, len: usize) -> io::Result<Mapping> {
        let file = memory_file(name, len as u64, false)?;
        let part = FilePart {
            file: file.as_fd(),
            at: 0,
            len,
        };
        let mut mapping = Mapping::of_file(part, Sharing::Shared)?;
        mapping.file = Some(file);
        Ok(mapping)
    }

    /// Maps bytes of a file (not 0).
    pub(crate) fn of_file(part: FilePart<'_>, sharing: Sharing) -> io::Result<Mapping> {
        let (len, flags) = (part.len, sharing.flags());
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing in this process.
        let start = unsafe { mmap(std::ptr::null_mut(), len, ACCESS, flags, part.file, part.at)? };
        Ok(Mapping {
            start: NonNull::new(start.cast()).ok_or(io::Errno::NOMEM)?,
            len,
            mapped: len,
            file: None,
        })
    }

    /// Maps `len` bytes (not 0) of this process alone, paid for by small pages as they are touched. In a forked child they are
    /// there, and zero: the parent goes on without copying what it writes.
    pub(crate) fn private(len: usize) -> io::Result<Mapping> {
        let mapping = Mapping::anonymous(len, len, 1)?;
        // A system that was built without large pages does not know the word.
        let _ = mapping.advise(Advice::LinuxNoHugepage);
        Ok(mapping)
    }

    /// Likewise, but all of it is there from the start, in large pages if the system has some: also a last one that is at least
    /// half full.
    pub(crate) fn private_populated(len: usize) -> io::Result<Mapping> {
        let rest = len % LARGE_PAGE;
        let mapped = if rest < LARGE_PAGE / 2 {
            len
        } else {
            len.checked_next_multiple_of(LARGE_PAGE).ok_or(io::Errno::NOMEM)?
        };
        let large = mapped >= LARGE_PAGE;
        let mapping = Mapping::anonymous(len, mapped, if large { LARGE_PAGE } else { 1 })?;
        if large {
            // As in `private`.
            let _ = mapping.advise(Advice::LinuxHugepage);
        }
        mapping.populate()?;
        Ok(mapping)
    }

    /// Maps `mapped` bytes, of which `len` are asked for, at a multiple of `align`, a power of two.
    fn anonymous(len: usize, mapped: usize, align: usize) -> io::Result<Mapping> {
        let page = rustix::param::page_size();
        let mapped = mapped.checked_next_multiple_of(page).ok_or(io::Errno::NOMEM)?;
        // From where the system puts it, the next multiple is no further away than that.
        let spare = align.saturating_sub(page);
        let all = mapped.checked_add(spare).ok_or(io::Errno::NOMEM)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing in this process.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), all, access, MapFlags::PRIVATE)? };
        let skipped = start.addr().next_multiple_of(align) - start.addr();
        // SAFETY: `skipped` is at most `spare`, so both lie in the mapping, or at its end.
        let [first, behind] = unsafe { [start.byte_add(skipped), start.byte_add(skipped + mapped)] };
        let mapping = Mapping {
            start: NonNull::new(first.cast()).ok_or(io::Errno::NOMEM)?,
            len,
            mapped,
            file: None,
        };
        for (part, len) in [(start, skipped), (behind, spare - skipped)] {
            if len > 0 {
                // SAFETY: a part of the mapping just made, outside of what was kept of it.
                unsafe { munmap(part, len)? };
            }
        }
        mapping.advise(Advice::LinuxWipeOnFork)?;
        Ok(mapping)
    }

    fn advise(&self, advice: Advice) -> io::Result<()> {
        // SAFETY: the advices given here do not change what the memory of this process holds.
        unsafe { madvise(self.start.as_ptr().cast(), self.mapped, advice) }
    }

    /// Maps, one behind the other, `private` bytes that only this process has, and bytes of files. All of them are multiples of the
    /// page size, and not 0.
    pub(crate) fn behind(private: usize, parts: &[FilePart<'_>], sharing: Sharing) -> io::Result<Mapping> {
        let len = private + parts.iter().map(|part| part.len).sum::<usize>();
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing in this process.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ACCESS, MapFlags::PRIVATE)? };
        let mapping = Mapping {
            start: NonNull::new(start.cast()).ok_or(io::Errno::NOMEM)?,
            len,
            mapped: len,
            file: None,
        };
        let mut at = private;
        for part in parts {
            // SAFETY: it replaces part of the mapping just made, which nobody has seen yet.
            unsafe {
                let start = mapping.start.as_ptr().add(at).cast();
                let flags = sharing.flags() | MapFlags::FIXED;
                mmap(start, part.len, ACCESS, flags, part.file, part.at)?;
            }
            at += part.len;
        }
        Ok(mapping)
    }

    /// Has the system find all the memory now.
    pub(crate) fn populate(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => allocate(file.as_fd(), self.len as u64),
            // Before Linux 5.14, memory is there when it is touched.
            None => match self.advise(Advice::LinuxPopulateWrite) {
                Err(io::Errno::INVAL) => Ok(()),
                result => result,
            },
        }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// An anonymous memory file of so many bytes, zero-filled; `sealable` if others are to get it.
pub(crate) fn memory_file(name: &str, len: u64, sealable: bool) -> io::Result<OwnedFd> {
    let flags = if sealable {
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING
    } else {
        MemfdFlags::CLOEXEC
    };
    let file = memfd_create(name, flags)?;
    ftruncate(&file, len)?;
    Ok(file)
}

/// Seals a memory file that others are to get: its size stays, so that no access to what is mapped of it can fail. If asked to, it
/// can be mapped to be read only from now on.
pub(crate) fn seal(file: BorrowedFd<'_>, against_writers: bool) -> io::Result<()> {
    let size = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let writers = if against_writers {
        SealFlags::FUTURE_WRITE
    } else {
        SealFlags::empty()
    };
    fcntl_add_seals(file, size | writers)
}

/// Allocates the first `len` bytes of a file.
pub(crate) fn allocate(file: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    fallocate(file, FallocateFlags::empty(), 0, len)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `mapped` are those of a live mapping that only this value owns; users borrow the value.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.mapped) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Without `membarrier(2)` every entry into a run pays a full fence instead.
static FENCE_ON_ENTRY: AtomicBool = AtomicBool::new(false);
/// Set in a forked child, whose copy of the runtime must stay inert: its maps are shared with the parent.
static FORKED: AtomicBool = AtomicBool::new(false);
static INIT: Once = Once::new();

/// Says that this process is a forked child.
pub(crate) fn set_forked() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Once for each process: registers for expedited membarriers and for notice of forks, which `in_child` gets, and passes on to
/// [`set_forked`].
pub(crate) fn init(in_child: extern "C" fn()) {
    INIT.call_once(|| {
        let usable = membarrier_query().contains(MembarrierQuery::PRIVATE_EXPEDITED)
            && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
        FENCE_ON_ENTRY.store(!usable, Ordering::Relaxed);
        // SAFETY: the handler only stores to memory of the process and the thread, which is async-signal-safe.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// Whether this process is a forked child of the one that made the runtime.
#[inline]
pub(crate) fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Whether [`light_barrier`] is a fence. Known once [`init`] has been called.
pub(crate) fn fences_on_entry() -> bool {
    FENCE_ON_ENTRY.load(Ordering::Relaxed)
}

/// The reader's side of the barrier: orders the store that publishes a run before the loads of the run, as far as
/// [`heavy_barrier`] on the other side completes it.
#[inline]
pub(crate) fn light_barrier() {
    if FENCE_ON_ENTRY.load(Ordering::Relaxed) {
        std::sync::atomic::fence(Ordering::SeqCst);
    } else {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// The waiter's side: when it returns, every running thread of the process has executed a full barrier.
pub(crate) fn heavy_barrier() {
    std::sync::atomic::fence(Ordering::SeqCst);
    if !FENCE_ON_ENTRY.load(Ordering::Relaxed)
        && let Err(error) = membarrier(MembarrierCommand::PrivateExpedited)
    {
        // It was registered for; only a filter installed since can refuse it. Going on would free what is in use.
        eprintln!("hitless: membarrier(2) fails since it was registered for: {error}");
        std::process::abort();
    }
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// Sleeps while `word` holds `value`; may return early.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32) {
    futex_wait_for(word, value, None);
}

/// Sleeps while `word` holds `value`, at the most for so long; may return early.
pub(crate) fn futex_wait_for(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    #[cfg(hitless_model)]
    if word.load(Ordering::Relaxed) == value {
        let _ = timeout;
        crate::primitive::relax(0);
    }
    #[cfg(not(hitless_model))]
    {
        use rustix::thread::futex;
        // One that cannot be written down is for ever.
        let timeout = timeout.and_then(|timeout| futex::Timespec::try_from(timeout).ok());
        // An error means that the word has changed, that the time is over or that a signal came: the caller looks again
        // anyway.
        let _ = futex::wait(word.raw(), futex::Flags::PRIVATE, value, timeout.as_ref());
    }
}

/// Wakes every thread that sleeps on `word`.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    #[cfg(hitless_model)]
    let _ = word;
    #[cfg(not(hitless_model))]
    {
        use rustix::thread::futex;
        let woken = futex::wake(word.raw(), futex::Flags::PRIVATE, i32::MAX as u32);
        debug_assert!(woken.is_ok());
    }
}

/// The processor that the thread runs on: only a hint, since it may have moved by the time the caller looks.
#[inline]
pub(crate) fn current_cpu() -> usize {
    if cfg!(hitless_model) {
        0
    } else {
        rustix::thread::sched_getcpu()
    }
}

/// The caller's thread id, as the kernel numbers it; never 0.
#[cfg(not(hitless_model))]
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// Whether a thread of this process has this id.
pub(crate) fn is_thread(id: u32) -> bool {
    if cfg!(hitless_model) {
        return true;
    }
    // SAFETY: no preconditions; signal 0 is not sent.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, 0) == 0 }
}

/// All signals of the calling thread blocked, until dropped.
pub(crate) struct SignalsBlocked {
    before: libc::sigset_t,
    /// The mask belongs to the thread: the guard may not leave it.
    not_send: std::marker::PhantomData<*const ()>,
}

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        // SAFETY: both sets are plain data that the calls fill; with these arguments neither call fails.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
            SignalsBlocked {
                before,
                not_send: std::marker::PhantomData,
            }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that `new` read from this thread (the guard is not `Send`).
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    /// The byte at an offset.
    fn byte(mapping: &Mapping, at: usize) -> *mut u8 {
        assert!(at < mapping.len());
        // SAFETY: inside the mapping.
        unsafe { mapping.start().as_ptr().add(at) }
    }

    #[test]
    fn private_memory_is_zero_and_as_long_as_it_was_asked_for() {
        for len in [
            1,
            4096,
            LARGE_PAGE / 2,
            LARGE_PAGE + 1,
            3 * LARGE_PAGE / 2,
            5 * LARGE_PAGE,
        ] {
            for mapping in [Mapping::private(len), Mapping::private_populated(len)] {
                let mapping = mapping.unwrap();
                assert_eq!(mapping.len(), len);
                for at in [0, len / 2, len - 1] {
                    let byte = byte(&mapping, at);
                    // SAFETY: inside the mapping, which nobody else uses.
                    unsafe {
                        assert!(matches!(byte.read(), 0 | 7), "byte {at} of {len}");
                        byte.write(7);
                    }
                }
            }
            let is_large = len >= LARGE_PAGE / 2;
            let start = Mapping::private_populated(len).unwrap().start().addr().get();
            assert!(
                start.is_multiple_of(if is_large { LARGE_PAGE } else { 1 }),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_forked_child_sees_zeros() {
        let mapping = Mapping::private_populated(LARGE_PAGE).unwrap();
        let byte = byte(&mapping, 4097);
        // SAFETY: inside the mapping, which nobody else uses; the child does nothing else before it ends.
        unsafe {
            byte.write(1);
            let child = libc::fork();
            if child == 0 {
                libc::_exit(byte.read_volatile().into());
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!((status, byte.read()), (0, 1));
        }
    }
}
