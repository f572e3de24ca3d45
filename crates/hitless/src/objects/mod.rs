//! Objects that programs allocate (`bpf_obj_new`): memory for them, and what refers to them.
//!
//! Programs allocate inside a run, maybe in a signal handler. So memory is reserved when a program that allocates is loaded: for
//! each of a few sizes a region, used from its beginning on and paid for page by page. What was freed is on a list of its size,
//! taken and given back by one compare-and-swap. A region that is used up answers NULL, for which programs have to be prepared.
//!
//! ```text
//! next            of the free list by index, or of those that wait for a grace period by address
//! type            address of its `ObjectType`
//! references      how many there are
//! the object      its address is what programs have
//! ```
//!
//! **References** are counted for every object, whether the program's struct has a `bpf_refcount` or not. Registers of programs,
//! fields of map values and of other objects (`fields.rs`), lists (`list.rs`) and trees (`tree.rs`) have one each. With the last one
//! what the object itself refers to is let go of, one object after the other, on no stack.
//!
//! **Grace.** A program may look at an object that it found in a map while another one frees it, and its writes go to plain bytes
//! of that type. So memory is used again only after all runs that were active have ended: a thread of the runtime takes what
//! was freed, waits for that, and gives it back (`reclaim.rs`). Nothing is ever unmapped while the runtime's programs and maps
//! live.

mod fields;
mod kinds;
pub(crate) mod list;
mod reclaim;
pub(crate) mod tree;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub(crate) use fields::Fields;
pub(crate) use kinds::Describe;
use reclaim::Reclaimer;

use crate::region::{Region, SharedBytes};
use crate::run::{Run, Slots};

/// The sizes that there is memory for, in bytes.
const SIZES: [u32; 11] = [16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096];

/// How much memory is reserved for objects of each size.
const RESERVED: usize = 64 << 20;

/// Where the words before an object are, counted back from it.
const NEXT: u64 = 24;
const TYPE: u64 = 16;
const REFERENCES: u64 = 8;
const HEADER: u64 = 24;

/// A struct that programs allocate.
#[derive(Debug)]
pub(crate) struct ObjectType {
    /// What it looks like: two are the same if these are.
    description: String,
    size: u32,
    fields: Fields,
}

/// What the values of a map refer to.
#[derive(Debug)]
pub(crate) struct Owned {
    heap: Arc<Heap>,
    fields: Fields,
    /// What the fields look like, and what they refer to.
    description: String,
}

impl Owned {
    pub(crate) fn new(heap: &Arc<Heap>, (fields, description): (Fields, String)) -> Owned {
        Owned {
            heap: Arc::clone(heap),
            fields,
            description,
        }
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Lets go of what a value refers to.
    pub(crate) fn clear(&self, run: &Run<'_>, value: SharedBytes<'_>) {
        self.fields.clear(run, &self.heap, value);
    }

    /// The same, of a value of a map that is gone.
    pub(crate) fn clear_last(&self, value: SharedBytes<'_>) {
        self.fields.clear_last(&self.heap, value);
    }
}

/// The memory for the objects of a runtime.
#[derive(Debug)]
pub(crate) struct Heap {
    classes: [OnceLock<Class>; SIZES.len()],
    /// Every type that was ever asked for.
    types: Mutex<Vec<Arc<ObjectType>>>,
    live: AtomicU64,
    reclaimer: Reclaimer,
}

/// Memory for objects of one size.
#[derive(Debug)]
struct Class {
    region: Region,
    stride: u64,
    count: u64,
    /// How many were ever used.
    used: AtomicU64,
    /// The first one that is free, by its index plus one; in the upper half a number that changes with each change.
    free: AtomicU64,
}

/// The word at an address.
///
/// # Safety
/// There is an aligned word of eight bytes, which is there for `'a` and only accessed atomically.
unsafe fn word<'a>(address: u64) -> &'a AtomicU64 {
    // SAFETY: as for this function.
    unsafe { &*(address as *const AtomicU64) }
}

impl Heap {
    /// A heap without memory, whose thread works for these slots.
    pub(crate) fn start(slots: &Arc<Slots>) -> io::Result<Arc<Heap>> {
        let heap = Arc::new(Heap {
            classes: [const { OnceLock::new() }; SIZES.len()],
            types: Mutex::new(Vec::new()),
            live: AtomicU64::new(0),
            reclaimer: Reclaimer::default(),
        });
        Reclaimer::start(&heap, slots)?;
        Ok(heap)
    }

    /// Ends the thread: what is freed from now on is not used again.
    pub(crate) fn stop(&self) {
        self.reclaimer.stop();
    }

    /// How many objects there are that something refers to.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// The type that looks like this; there is memory for objects of it from now on.
    fn intern(&self, description: String, size: u32, fields: Fields) -> io::Result<Arc<ObjectType>> {
        if let Some(place) = place(size)
            && self.classes[place].get().is_none()
        {
            let _ = self.classes[place].set(Class::new(SIZES[place])?);
        }
        let mut types = self.types.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = types.iter().find(|known| known.description == description) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(ObjectType {
            description,
            size,
            fields,
        });
        types.push(Arc::clone(&made));
        Ok(made)
    }

    /// A new object, of zeros, with one reference. The type is one of this heap.
    pub(crate) fn allocate(&self, ty: &ObjectType) -> Option<u64> {
        let object = self.classes[place(ty.size)?].get()?.take()?;
        // SAFETY: memory of the region, which nobody else knows; a heap keeps its types.
        unsafe {
            SharedBytes::from_raw(object, ty.size as usize).clear();
            word(object - TYPE).store(std::ptr::from_ref(ty).expose_provenance() as u64, Ordering::Relaxed);
            word(object - REFERENCES).store(1, Ordering::Release);
        }
        self.live.fetch_add(1, Ordering::Relaxed);
        Some(object)
    }

    /// One more reference to an object; false if there is none any more.
    ///
    /// # Safety
    /// It is an object of this heap, or was one when the run began.
    pub(crate) unsafe fn acquire(&self, object: u64) -> bool {
        // SAFETY: as for this function.
        let references = unsafe { word(object - REFERENCES) };
        let more = |count: u64| (count > 0).then_some(count + 1);
        references
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Lets go of a reference, and of what the object refers to if that was the last one.
    ///
    /// # Safety
    /// It is an object of this heap, and the reference is the caller's.
    pub(crate) unsafe fn release(&self, object: u64) {
        let mut released = Released::new(self);
        // SAFETY: as for this function.
        unsafe { released.add(object) };
    }

    /// The object that an address lies in.
    fn object_at(&self, address: u64) -> Option<u64> {
        let mut classes = self.classes.iter().filter_map(OnceLock::get);
        classes.find_map(|class| class.object_at(address))
    }

    /// The object that the node of a list or tree is part of.
    ///
    /// # Panics
    /// If it is none: nothing but nodes of objects is ever linked.
    fn object_of(&self, node: u64) -> u64 {
        match self.object_at(node) {
            Some(object) => object,
            None => hitless_jit::defect(&format_args!("no object has a node at {node:#x}")),
        }
    }

    /// Whether `len` bytes at an address lie wholly inside an object.
    pub(crate) fn holds(&self, address: u64, len: usize) -> bool {
        self.object_at(address).is_some_and(|object| {
            // SAFETY: an object of this heap.
            let ty = unsafe { type_of(object) };
            ty.is_some_and(|ty| address - object + len as u64 <= ty.size.into())
        })
    }
}

/// The type of an object; none if its memory was never used.
///
/// # Safety
/// It is an object of a heap that lives for `'a`.
unsafe fn type_of<'a>(object: u64) -> Option<&'a ObjectType> {
    // SAFETY: as for this function. The word is zero, or the address of a type, which the heap keeps.
    unsafe {
        let address = word(object - TYPE).load(Ordering::Acquire) as usize;
        std::ptr::with_exposed_provenance::<ObjectType>(address).as_ref()
    }
}

/// Which of the classes objects of a size are of.
fn place(size: u32) -> Option<usize> {
    SIZES.iter().position(|most| size <= *most)
}

impl Class {
    fn new(size: u32) -> io::Result<Class> {
        let stride = HEADER + u64::from(size);
        Ok(Class {
            region: Region::private(RESERVED, false)?,
            stride,
            count: RESERVED as u64 / stride,
            used: AtomicU64::new(0),
            free: AtomicU64::new(0),
        })
    }

    fn object(&self, index: u64) -> u64 {
        self.region.address((index * self.stride + HEADER) as usize)
    }

    /// The object that an address lies in, behind its header.
    fn object_at(&self, address: u64) -> Option<u64> {
        let off = self.region.offset_of(address)? as u64;
        let inside = (off % self.stride).checked_sub(HEADER)?;
        (off / self.stride < self.count).then_some(address - inside)
    }

    /// Takes memory for an object.
    fn take(&self) -> Option<u64> {
        let mut free = self.free.load(Ordering::Acquire);
        while let Some(index) = (free & 0xffff_ffff).checked_sub(1) {
            let object = self.object(index);
            // SAFETY: memory of the region. If somebody else has taken it meanwhile, the number says so.
            let next = unsafe { word(object - NEXT) }.load(Ordering::Relaxed);
            match self.change(free, next) {
                Ok(()) => return Some(object),
                Err(now) => free = now,
            }
        }
        let more = |used: u64| (used < self.count).then_some(used + 1);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|index| self.object(index))
    }

    /// Gives memory back.
    fn give(&self, object: u64) {
        let index = (self.region.offset_of(object).unwrap_or(0) as u64) / self.stride + 1;
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            // SAFETY: memory of the region, which nobody uses.
            unsafe { word(object - NEXT) }.store(free & 0xffff_ffff, Ordering::Relaxed);
            match self.change(free, index) {
                Ok(()) => return,
                Err(now) => free = now,
            }
        }
    }

    fn change(&self, from: u64, to: u64) -> Result<(), u64> {
        let number = (from >> 32).wrapping_add(1);
        let changed = self
            .free
            .compare_exchange(from, number << 32 | to, Ordering::AcqRel, Ordering::Acquire);
        changed.map(|_| ())
    }
}

/// References that are let go of: as long as there are objects without any, what these refer to is, too.
pub(crate) struct Released<'a> {
    heap: &'a Heap,
    /// The latest object without references, or 0; each has the address of the next one.
    first: u64,
}

impl<'a> Released<'a> {
    pub(crate) fn new(heap: &'a Heap) -> Released<'a> {
        Released { heap, first: 0 }
    }

    /// Lets go of a reference.
    ///
    /// # Safety
    /// It is an object of the heap, and the reference is the caller's.
    unsafe fn add(&mut self, object: u64) {
        // SAFETY: as for this function. Who counts the last one out is alone with the header.
        unsafe {
            if word(object - REFERENCES).fetch_sub(1, Ordering::AcqRel) == 1 {
                word(object - NEXT).store(self.first, Ordering::Relaxed);
                self.first = object;
            }
        }
    }

    /// Lets go of the reference that a list or tree had by a node, which is linked nowhere any more.
    ///
    /// # Safety
    /// It is a node of an object of the heap.
    unsafe fn add_node(&mut self, node: u64) {
        let object = self.heap.object_of(node);
        // SAFETY: as for this function.
        unsafe { self.add(object) };
    }
}

impl Drop for Released<'_> {
    fn drop(&mut self) {
        while self.first != 0 {
            let object = self.first;
            // SAFETY: it was added, so it is an object of the heap, and nothing refers to it.
            unsafe {
                self.first = word(object - NEXT).load(Ordering::Relaxed);
                if let Some(ty) = type_of(object) {
                    ty.fields.clear_unlocked(object, self);
                }
                self.heap.reclaimer.add(object);
            }
            self.heap.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    fn heap() -> (Arc<Slots>, Arc<Heap>) {
        let slots = Arc::new(Slots::new(0, 2, Box::default()));
        let heap = Heap::start(&slots).unwrap();
        (slots, heap)
    }

    #[test]
    fn memory_is_used_again_a_grace_period_later() {
        let (slots, heap) = heap();
        let ty = heap.intern("a".to_owned(), 4000, Fields::default()).unwrap();
        let count = RESERVED as u64 / (4096 + HEADER);
        let all: Vec<u64> = (0..count).map(|_| heap.allocate(&ty).unwrap()).collect();
        assert_eq!((heap.allocate(&ty), heap.live()), (None, count));
        assert!(heap.holds(all[3] + 8, 3992) && !heap.holds(all[3] + 8, 3993) && !heap.holds(all[3] - 1, 1));
        slots
            .run(|_| {
                // SAFETY: these are objects, with one reference.
                all.iter().for_each(|object| unsafe { heap.release(*object) });
                std::thread::sleep(std::time::Duration::from_millis(20));
                assert_eq!(heap.allocate(&ty), None, "somebody may still look at them");
            })
            .unwrap();
        assert_eq!(heap.live(), 0);
        let mut again = None;
        while again.is_none() {
            again = heap.allocate(&ty);
            std::thread::yield_now();
        }
        heap.stop();
    }

    #[test]
    fn the_last_reference_counts() {
        let (_slots, heap) = heap();
        let ty = heap.intern("a".to_owned(), 24, Fields::default()).unwrap();
        let object = heap.allocate(&ty).unwrap();
        // SAFETY: it is an object, and the references are taken here.
        unsafe {
            assert!(heap.acquire(object));
            heap.release(object);
            assert_eq!(heap.live(), 1);
            heap.release(object);
            assert_eq!((heap.live(), heap.acquire(object)), (0, false));
        }
        heap.stop();
    }

    #[test]
    fn types_that_look_the_same_are_the_same() {
        let (_slots, heap) = heap();
        let intern = |name: &str| heap.intern(name.to_owned(), 24, Fields::default()).unwrap();
        assert!(Arc::ptr_eq(&intern("a"), &intern("a")) && !Arc::ptr_eq(&intern("a"), &intern("b")));
        let large = heap.intern("large".to_owned(), 4097, Fields::default()).unwrap();
        assert_eq!(heap.allocate(&large), None, "there is no memory for such objects");
        heap.stop();
    }
}
