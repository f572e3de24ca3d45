//! The environment of a run: what helpers find, bounds of memory, and the calls of map tracing.

use std::mem::MaybeUninit;
use std::ptr;

use hitless_jit::{Env, Function, ProbeFn, Services, Trap, Vm};
use hitless_verifier::{ProgramKind, Region};

use crate::context::PacketFrame;
use crate::fault;
use crate::helpers::{Shared, broken};
use crate::iter::{Frame, Seq};
use crate::map::Map;
use crate::program::Program;
use crate::region::SharedBytes;
use crate::run::Run;
use crate::trace::{self, Cell, Pending};
use crate::version::Version;

/// What compiled code calls of [`RunEnv`].
pub(crate) const SERVICES: Services = Services::of::<RunEnv<'static>>();

/// Memory outside of stack, context, packet and maps that a program may reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// Address and length of the memory behind each context field that points to some.
    memory: &'a [(u64, usize)],
    /// Whether the program runs under a stripe, as a tracer or in an iterator: what it writes is then flushed by the run.
    under_stripe: bool,
}

impl<'a> Reach<'a> {
    /// None but what the context names by itself: a packet.
    const NONE: &'static Reach<'static> = &Reach {
        memory: &[],
        under_stripe: false,
    };

    pub(crate) fn memory(memory: &'a [(u64, usize)], under_stripe: bool) -> Reach<'a> {
        Reach { memory, under_stripe }
    }
}

/// Begins with what engines use, so that they and helpers pass around one address.
#[repr(C)]
pub(crate) struct RunEnv<'a> {
    vm: Vm,
    run: &'a Run<'a>,
    /// The context, in the runtime's own layout; null in a function that runs by itself.
    context: *const u8,
    /// None but what the context names, unless [`REACHES`] is set.
    reach: MaybeUninit<&'a Reach<'a>>,
    /// That of the link that the program runs by; 0 where there is none.
    pub(crate) cookie: u64,
    /// What a helper lends to a function of the program while it calls it back: first address, and one past the last. There
    /// once [`LENT`] is set.
    lent: MaybeUninit<(u64, u64)>,
    /// The latest pointer write, not yet known to have executed, if [`WROTE`] is set.
    latest: MaybeUninit<(&'a Map, Cell)>,
    /// The spin lock that the program holds.
    pub(crate) spin_lock: Option<SharedBytes<'a>>,
    /// What the update or delete helper just did, for the trace call that follows it. If there is something, [`CHANGED`] is set.
    pending: Option<Pending<'a>>,
}

// Few programs have any of that: what is there is said by flags, which are one word to be cleared.
const LENT: u64 = Vm::FREE_FLAG;
const WROTE: u64 = Vm::FREE_FLAG << 1;
const CHANGED: u64 = Vm::FREE_FLAG << 2;
const REACHES: u64 = Vm::FREE_FLAG << 3;

impl<'a> RunEnv<'a> {
    /// `version` is the form of the program that runs.
    ///
    /// # Safety
    /// `context` is null, or points to a context of the program's type, in the runtime's layout, for as long as the
    /// environment lives.
    #[inline]
    pub(crate) unsafe fn new(
        run: &'a Run<'a>,
        program: &'a Program,
        context: *const u8,
        version: &'a Version,
    ) -> RunEnv<'a> {
        RunEnv {
            vm: Vm::new(run.index(), owner(program, version)),
            run,
            context,
            reach: MaybeUninit::uninit(),
            cookie: 0,
            lent: MaybeUninit::uninit(),
            latest: MaybeUninit::uninit(),
            spin_lock: None,
            pending: None,
        }
    }

    /// Says what it may reach beside what the context names by itself. Out of the way of those that do not.
    #[cold]
    pub(crate) fn set_reach(&mut self, reach: &'a Reach<'a>) {
        self.reach.write(reach);
        self.vm.set_flag(REACHES);
    }

    /// What it may reach beside what the context names by itself.
    fn reach(&self) -> &'a Reach<'a> {
        if !self.vm.has_flag(REACHES) {
            return Reach::NONE;
        }
        // SAFETY: the flag is set when it has been written, and stays.
        unsafe { self.reach.assume_init() }
    }

    /// The run.
    #[inline]
    pub(crate) fn run(&self) -> &'a Run<'a> {
        self.run
    }

    /// The number of the run's slot: what programs see as their CPU.
    #[inline]
    pub(crate) fn slot(&self) -> u32 {
        self.vm.slot()
    }

    /// The program that runs.
    #[inline]
    pub(crate) fn program(&self) -> &'a Program {
        let [program, _] = self.vm.owner();
        // SAFETY: `new` has put it there. What the run latched, and the lists and maps that a program may be found in while it
        // runs, hold their programs for a grace period longer.
        unsafe { &*ptr::with_exposed_provenance(program) }
    }

    /// What helpers of the runtime share.
    #[inline]
    pub(crate) fn shared(&self) -> &'a Shared {
        self.program().shared()
    }

    /// The form of the program that runs.
    #[inline]
    fn version(&self) -> &'a Version {
        let [_, version] = self.vm.owner();
        // SAFETY: `new` has put it there. Forms that are no more to run are freed a grace period later.
        unsafe { &*ptr::with_exposed_provenance(version) }
    }

    /// Whether it runs in its traced variant.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.version().is_traced()
    }

    /// The map that a program has given to a helper.
    #[inline]
    pub(crate) fn map(&self, register: u64) -> &'a Map {
        if self.vm.is_checked() && !self.holds_map(register) {
            broken(0, "no map of the program in the register");
        }
        // SAFETY: the verifier has proved that it is what a reference to a map was loaded as, the address of a map that the
        // program holds. It is freed after the program.
        unsafe { &*ptr::with_exposed_provenance(register as usize) }
    }

    fn holds_map(&self, register: u64) -> bool {
        let mut maps = self.program().maps().iter();
        maps.any(|map| std::sync::Arc::as_ptr(map).addr() as u64 == register)
    }

    /// Calls a function of the program: `func` is what the program has given to the helper. Returns its `r0`.
    ///
    /// # Safety
    /// The function and the arguments are what the verifier expects of the helper.
    pub(crate) unsafe fn callback(&mut self, func: u64, args: [u64; 5]) -> u64 {
        // SAFETY: the environment begins with the `Vm`, by `repr(C)`, and is not used until this returns; for the rest as for
        // this function.
        unsafe { Vm::callback(ptr::from_mut(self).cast(), func, args) }
    }

    /// Lends bytes to what `f` calls back; it is given their address.
    pub(crate) fn lend<R>(&mut self, bytes: &[u8], f: impl FnOnce(&mut RunEnv<'a>, u64) -> R) -> R {
        let range = bytes.as_ptr_range();
        let before = self.lent();
        self.set_lent((range.start as u64, range.end as u64));
        let result = f(self, range.start as u64);
        self.set_lent(before);
        result
    }

    fn set_lent(&mut self, range: (u64, u64)) {
        self.lent.write(range);
        self.vm.set_flag(LENT);
    }

    /// First address of what is lent, and one past the last.
    fn lent(&self) -> (u64, u64) {
        if !self.vm.has_flag(LENT) {
            return (0, 0);
        }
        // SAFETY: the flag is set when it has been written, and stays.
        unsafe { self.lent.assume_init() }
    }

    /// Which subprogram that is, to be called later by [`Program::run_callback`].
    pub(crate) fn function(&self, func: u64) -> Option<Function> {
        self.version().function(func)
    }

    /// Goes on with another program, of the same type, if the run may make one more tail call, and the program may run in it:
    /// what `bpf_tail_call()` returns (see [`hitless_jit::Resolve`]).
    pub(crate) fn tail_call(&mut self, program: &Program, context: u64) -> u64 {
        if self.run.is_nested() && program.must_not_nest(self.run, 0) {
            return 0;
        }
        // That there is so much of a context was checked for the program that was begun.
        if program.context_extent() > self.program().context_extent() {
            return 0;
        }
        let version = program.current();
        self.vm.tail_call(*version.entry(), context, owner(program, version))
    }

    /// Makes the program the one that runs, in place of a function of the one that does now; returns what the code goes on with
    /// (see [`Vm::replace`]).
    pub(crate) fn replace(&mut self, program: &Program) -> u64 {
        let version = program.current();
        self.vm.replace(*version.entry(), owner(program, version))
    }

    /// Before the program is run: with this context, and as if it had not run yet.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    #[inline]
    pub(crate) unsafe fn begin(&mut self, context: *const u8) {
        self.context = context;
        self.vm.restart();
    }

    /// Whether [`finish`](Self::finish) has nothing to do.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.vm.is_clean(REACHES | LENT)
    }

    /// For the engine that runs the program.
    #[inline]
    pub(crate) fn vm(&mut self) -> *mut Vm {
        ptr::from_mut(self).cast()
    }

    /// Called when the program has ended: whatever it registered is on the slot's list now. Returns the check that failed, if
    /// one did.
    pub(crate) fn finish(&mut self) -> Option<Trap> {
        self.forget_pending();
        self.commit_latest();
        let trap = self.vm.clean();
        // Only a failed check ends a program that holds one.
        if let Some(lock) = self.spin_lock.take() {
            crate::spin::unlock(self.run, lock);
        }
        trap
    }

    fn commit_latest(&mut self) {
        if !self.vm.has_flag(WROTE) {
            return;
        }
        self.vm.clear_flag(WROTE);
        // SAFETY: the flag said that it is there.
        let (map, cell) = unsafe { self.latest.assume_init() };
        if let Some(trace) = map.trace() {
            // SAFETY: the map was found among those that the run has latched.
            unsafe { self.run.slot().flush.push(map, trace, cell) };
        }
    }

    /// The frame of the packet that the program was given, if it is of a kind that gets packets. Helpers move and redirect the
    /// packet by it.
    pub(crate) fn packet_frame(&mut self) -> Option<PacketFrame<'_>> {
        let kind = self.program().context_kind();
        let context = self.context.cast_mut();
        // SAFETY: `new` was given the context of such a program; the program does not run while a helper does.
        (!context.is_null()).then(|| unsafe { PacketFrame::at(kind, context) })?
    }

    /// Where an iterator's program prints to, if `address` is that of what it was given for that.
    pub(crate) fn seq(&mut self, address: u64) -> Option<&mut Seq> {
        let is_iterator = self.program().context_kind() == ProgramKind::Iter;
        if !is_iterator || self.context.is_null() {
            return None;
        }
        // SAFETY: `new` was given the context of such a program, the frame of a reader; the program does not run while a helper
        // does.
        unsafe { (*self.context.cast_mut().cast::<Frame>()).seq(address) }
    }

    /// First address of the packet, or of its metadata, and one past its last: as the context has it now, since helpers move
    /// the packet.
    fn packet(&self) -> (u64, u64) {
        let Some((start, end)) = self.program().packet_fields().filter(|_| !self.context.is_null()) else {
            return (0, 0);
        };
        // SAFETY: the fields are pointers of the context that `new` was given; an aligned or unaligned read of 8 bytes each.
        let read = |off: u32| unsafe { self.context.add(off as usize).cast::<u64>().read_unaligned() };
        (read(start), read(end))
    }

    /// Updates a map that may be traced: leaves its stripe for the trace call that follows. Returns what the helper does.
    ///
    /// # Safety
    /// A key of the map is readable at `key`, and a value at `value`.
    #[inline]
    pub(crate) unsafe fn update(&mut self, map: &'a Map, key: u64, value: u64, flags: u64) -> i64 {
        // SAFETY: as for this function.
        let result = unsafe { map.update_of_program(self.run, (key, value), flags, &mut self.pending) };
        self.note_pending();
        result
    }

    /// Likewise deletes from it.
    ///
    /// # Safety
    /// A key of the map is readable at `key`.
    #[inline]
    pub(crate) unsafe fn delete(&mut self, map: &'a Map, key: u64) -> i64 {
        // SAFETY: as for this function.
        let result = unsafe { map.delete_of_program(self.run, key, &mut self.pending) };
        self.note_pending();
        result
    }

    /// Where the run is, for compiled code that calls a map's functions.
    pub(crate) const RUN: u32 = std::mem::offset_of!(RunEnv<'static>, run) as u32;

    #[inline]
    fn note_pending(&mut self) {
        if self.pending.is_some() {
            self.vm.set_flag(CHANGED);
        }
    }

    fn forget_pending(&mut self) {
        self.pending = None;
        self.vm.clear_flag(CHANGED);
    }

    fn run_pending(&mut self) {
        // Where it lies: it was written word by word just before, and to move it would wait for all of that.
        if let Some(pending) = &self.pending {
            pending.run_tracers(self.run);
            self.forget_pending();
        }
    }
}

/// What runs, in words: [`Vm::owner`].
#[inline]
fn owner(program: &Program, version: &Version) -> [usize; 2] {
    [ptr::from_ref(program).expose_provenance(), version.address()]
}

// SAFETY: the type is `repr(C)`, and a `Vm` is its first field.
unsafe impl Env for RunEnv<'_> {
    const PROBES: [ProbeFn; 4] = fault::LOADS;

    /// Offsets below zero, which in the kernel count from other headers, find nothing.
    fn load_packet(&mut self, off: i32, size: u32) -> Option<u32> {
        let (start, end) = self.packet_frame()?.data();
        let off = u64::try_from(off).ok()?;
        if off + u64::from(size) > end - start {
            return None;
        }
        let mut bytes = [0; 4];
        // SAFETY: these bytes lie in the packet, which is the run's.
        unsafe { SharedBytes::from_raw(start + off, size as usize) }.read(&mut bytes[..size as usize]);
        Some(u32::from_be_bytes(bytes) >> (32 - 8 * size))
    }

    fn contains(&self, region: Region, addr: u64, len: usize, write: bool) -> bool {
        match region {
            Region::Packet => {
                let (start, end) = self.packet();
                start <= addr && addr.checked_add(len as u64).is_some_and(|last| last <= end)
            }
            Region::MapValue { map } => {
                let map = &self.program().maps()[map as usize];
                map.ops().element_at(addr, len).is_some() && !(write && map.def().is_readonly_prog())
            }
            Region::ContextMemory { field } => {
                let Some(&(start, size)) = self.reach().memory.get(usize::from(field)) else {
                    return false;
                };
                (!write || self.program().may_write(field))
                    && start <= addr
                    && addr
                        .checked_add(len as u64)
                        .is_some_and(|last| last <= start + size as u64)
            }
            Region::MapKey { .. } | Region::InnerMapKey { .. } => {
                let (start, end) = self.lent();
                !write && start <= addr && addr.checked_add(len as u64).is_some_and(|last| last <= end)
            }
            Region::Record { map } => self.program().maps()[map as usize].holds_record(addr, len),
            Region::Allocated => self.shared().objects().is_some_and(|heap| heap.holds(addr, len)),
            // Loads from other objects are guarded.
            Region::Stack
            | Region::Context { .. }
            | Region::InnerRecord { .. }
            | Region::InnerMapValue { .. }
            | Region::Object => false,
        }
    }

    fn trace_update(&mut self) {
        self.run_pending();
    }

    fn trace_delete(&mut self) {
        self.run_pending();
    }

    fn register_pointer(&mut self, addr: u64) {
        self.commit_latest();
        let mut traced = trace::traced_maps(self.run).iter();
        if let Some(latest) = traced.find_map(|map| Some((&**map, Cell::at(map, self.run, addr)?))) {
            self.latest.write(latest);
            self.vm.set_flag(WROTE);
        }
    }

    fn flush_pointers(&mut self) {
        self.commit_latest();
        if !self.run.is_nested() && !self.reach().under_stripe {
            trace::flush(self.run);
        }
    }
}
