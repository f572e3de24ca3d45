//! Reading: runs the program on element after element until there is something to be read.
//!
//! What Linux does for `read(2)` of an iterator, read for read: elements are shown until their output is as long as what was
//! asked for, or there are no more. One whose output does not fit in the buffer behind that of others, or that the program
//! wants to be shown again, is left for the next call; if it is the first one, the call fails.

use std::io::{self, Read};
use std::sync::Arc;

use super::objects::Objects;
use super::seq::Seq;
use super::walk::{Object, Walk};
use crate::env::Reach;
use crate::program::{Failure, Program};
use crate::run::Run;
use crate::runtime::Inner;
use crate::sys;

/// How often an element is looked for again that others move meanwhile.
const TRIES: u32 = 64;

/// One walk of an iterator: what its program prints, to be read. Made by [`Link::iter`](crate::Link::iter), as `BPF_ITER_CREATE` makes a
/// file.
///
/// [`read`](Read::read) runs the program: on each element in turn, and at the end once more, without one. It returns as soon as there is
/// as much output as was asked for, and what does not fit into the caller's buffer is there for the next call. Its errors:
///
/// - `E2BIG` ([`ArgumentListTooLong`](io::ErrorKind::ArgumentListTooLong)): what the program printed for one element is longer than 32 KiB;
///   the next call tries again;
/// - `EAGAIN` ([`WouldBlock`](io::ErrorKind::WouldBlock)): the program returned 1 for the first element of the call, which means that it
///   is to be shown that once more; or, in a signal handler, something is locked that the interrupted code holds;
/// - `ESTALE`: the program writes a map whose content an upgrade has moved;
/// - `ECHILD` in a forked child.
///
/// A walk through a map's elements may be read in a signal handler; other walks not, nor may a walk be dropped there.
///
/// # Examples
/// ```
/// use std::io::Read;
/// # use hitless::{Object, Runtime, UpdateFlags};
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let runtime = Runtime::default();
/// let object = Object::open("bpf/iter_dump.bpf.o")?.load(&runtime)?;
/// let numbers = object.map("numbers").unwrap();
/// numbers.update(&7u32.to_ne_bytes(), &49u64.to_ne_bytes(), UpdateFlags::ANY)?;
/// let link = runtime.attach_map_iter(object.program("dump_numbers").unwrap(), numbers)?;
/// let mut text = String::new();
/// link.iter()?.read_to_string(&mut text)?;
/// assert_eq!(text, "0: 7 = 49\nend after 1\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Iter {
    inner: Arc<Inner>,
    /// By which it is known to the graph of tracers.
    id: u32,
    program: Arc<Program>,
    walk: Walk,
    /// Whether the program runs under the stripes of a traced map.
    ordered: bool,
    objects: Box<Objects>,
    seq: Box<Seq>,
    /// How many elements have been shown.
    shown: u64,
    /// Whether the program has been told of the end.
    done: bool,
}

/// What iterator programs get the address of; those that walk objects of the runtime see the first two members.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Frame {
    meta: u64,
    object: u64,
    key: u64,
    value: u64,
    /// Not seen by programs.
    seq: *mut Seq,
}

impl Frame {
    /// Where the program prints to, if `address` is that of what it was given for that.
    ///
    /// # Safety
    /// The reference ends before the program goes on.
    pub(crate) unsafe fn seq(&mut self, address: u64) -> Option<&mut Seq> {
        let given = self.seq.addr() as u64 == address;
        // SAFETY: it is the reader's, which lends it to the program for the run; the caller vouches for the rest.
        given.then(|| unsafe { &mut *self.seq })
    }
}

/// What came of showing an element.
enum Shown {
    /// The program returned 0.
    Yes,
    /// It wants to be shown it again, or could not be run now.
    Again,
    /// There is none there any more.
    Gone,
}

impl Iter {
    pub(super) fn new(
        inner: Arc<Inner>,
        (id, session): (u32, u64),
        program: Arc<Program>,
        walk: Walk,
        ordered: bool,
    ) -> Iter {
        Iter {
            inner,
            id,
            program,
            walk,
            ordered,
            objects: Objects::new(session),
            seq: Box::new(Seq::new()),
            shown: 0,
            done: false,
        }
    }

    /// Runs the program until there is as much output as was asked for.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        loop {
            let is_more = self.walk.find(&inner).map_err(|_| errno(libc::ECHILD))?;
            let before = self.seq.count();
            if is_more && before > 0 && before >= wanted {
                return Ok(());
            }
            if !is_more {
                if !self.done {
                    self.end()?;
                }
                return Ok(());
            }
            let shown = self.show()?;
            match shown {
                Shown::Gone => continue,
                Shown::Yes if !self.seq.has_overflowed() => {}
                _ => {
                    let overflowed = self.seq.has_overflowed();
                    self.seq.truncate(before);
                    return match (before, shown) {
                        (1.., _) => Ok(()),
                        (_, Shown::Again) => Err(errno(libc::EAGAIN)),
                        _ => {
                            debug_assert!(overflowed);
                            Err(errno(libc::E2BIG))
                        }
                    };
                }
            }
            self.shown += 1;
            self.walk.advance();
        }
    }

    /// Tells the program of the end. What it returns means nothing.
    fn end(&mut self) -> io::Result<()> {
        let before = self.seq.count();
        let slots = Arc::clone(&self.inner);
        let number = self.shown.saturating_sub(1);
        let map = match &self.walk {
            Walk::Elements(elements) => self.objects.map(&elements.map),
            Walk::Objects { .. } => 0,
        };
        let ran = slots.slots.run(|run| self.execute(run, number, map, [(0, 0); 2]));
        ran.map_err(|_| errno(libc::ECHILD))??;
        if self.seq.has_overflowed() {
            self.seq.truncate(before);
            return if before > 0 { Ok(()) } else { Err(errno(libc::E2BIG)) };
        }
        self.done = true;
        Ok(())
    }

    fn show(&mut self) -> io::Result<Shown> {
        let inner = Arc::clone(&self.inner);
        let shown = match &self.walk {
            Walk::Elements(_) => inner.slots.run(|run| self.show_element(run)),
            Walk::Objects { .. } => inner.slots.run(|run| self.show_object(run)),
        };
        shown.map_err(|_| errno(libc::ECHILD))?
    }

    /// Shows the program an object of the runtime.
    fn show_object(&mut self, run: &Run<'_>) -> io::Result<Shown> {
        let Walk::Objects { at: Some(object), .. } = &self.walk else {
            return Ok(Shown::Gone);
        };
        let object = match object {
            Object::Map(map) => self.objects.map(map),
            Object::Program(program) => self.objects.program(program),
            Object::Link { id, link_type, program } => self.objects.link(*id, *link_type, program.as_deref()),
        };
        self.execute(run, self.shown, object, [(0, 0); 2])
    }

    /// Shows the program an element of a map: while that is traced, under the stripe of its key.
    fn show_element(&mut self, run: &Run<'_>) -> io::Result<Shown> {
        let map = match &self.walk {
            Walk::Elements(elements) => Arc::clone(&elements.map),
            Walk::Objects { .. } => return Ok(Shown::Gone),
        };
        for _ in 0..TRIES {
            let Walk::Elements(elements) = &mut self.walk else {
                break;
            };
            let Some(key) = elements.key() else { break };
            let stripe = if self.ordered {
                map.lock_stripe(run, &key).map_err(|error| errno(error.errno()))
            } else {
                Ok(None)
            };
            let _stripe = match stripe {
                Ok(stripe) => stripe,
                // Only a nested run is refused.
                Err(_) => return Ok(Shown::Again),
            };
            // Under the stripe nobody replaces it any more.
            let Some(elem) = elements.element(&key) else { continue };
            if self.program.writes_context() && map.is_sealed() {
                return Err(errno(libc::ESTALE));
            }
            let value = elements.value(elem, run);
            let memory = [
                (key.bytes().as_ptr().expose_provenance() as u64, key.bytes().len()),
                (value.address(), value.len()),
            ];
            let object = self.objects.map(&map);
            return self.execute(run, self.shown, object, memory);
        }
        Ok(Shown::Gone)
    }

    /// Runs the program; the memory is that of key and value.
    fn execute(
        &mut self,
        run: &Run<'_>,
        number: u64,
        object: u64,
        [key, value]: [(u64, usize); 2],
    ) -> io::Result<Shown> {
        if self.program.is_outdated() {
            return Err(errno(libc::ESTALE));
        }
        let seq: *mut Seq = &raw mut *self.seq;
        let mut frame = Frame {
            meta: self.objects.meta(seq, number),
            object,
            key: key.0,
            value: value.0,
            seq,
        };
        let memory = [(0, 0), (0, 0), key, value];
        // SAFETY: the frame begins with what the context of such a program has, at multiples of eight; the key is the caller's copy,
        // the value an element's, or the walk's copy, and both are there for the call. Objects are the reader's.
        let ran = unsafe {
            self.program
                .execute(run, &mut frame, Some(&Reach::memory(&memory, true)))
        };
        match ran {
            Ok(0) => Ok(Shown::Yes),
            Ok(_) | Err(Failure::Missed) => Ok(Shown::Again),
            // A defect of hitless, which the program has kept.
            Err(Failure::Trapped) => Err(errno(libc::EFAULT)),
        }
    }
}

impl Read for Iter {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        if self.seq.count() == 0 {
            self.seq.restart();
            self.fill(to.len())?;
        }
        Ok(self.seq.take(to))
    }
}

impl Drop for Iter {
    fn drop(&mut self) {
        if self.ordered && !sys::forked() {
            self.inner.control().graph.remove(self.id);
        }
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
