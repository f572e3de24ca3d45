//! What the runtime offers to a program while it runs: BPF helpers, bounds of memory, and the calls of map tracing.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use hitless_jit::{Env, Trap};
use hitless_verifier::{Region, tables::helpers};

use crate::map::{Elem, Key, Map, MapError, UpdateFlags};
use crate::program::{Program, map_index};
use crate::region::SharedBytes;
use crate::run::Run;
use crate::spin;
use crate::trace::{self, Event, StripeGuard};

/// The helpers that the runtime has, by id. A program that calls another one is refused at load, by its name.
pub(crate) const HELPERS: &[u32] = &[
    helpers::MAP_LOOKUP_ELEM,
    helpers::MAP_UPDATE_ELEM,
    helpers::MAP_DELETE_ELEM,
    helpers::PROBE_READ,
    helpers::PROBE_READ_KERNEL,
    helpers::KTIME_GET_NS,
    helpers::KTIME_GET_BOOT_NS,
    helpers::GET_SMP_PROCESSOR_ID,
    helpers::SPIN_LOCK,
    helpers::SPIN_UNLOCK,
];

/// Memory outside of stack, context, packet and maps that a program may reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// Address and length of the memory behind each context field that points to some.
    memory: &'a [(u64, usize)],
    /// Whether the program runs as a tracer, under a stripe.
    tracer: bool,
}

impl<'a> Reach<'a> {
    /// None but what the context names by itself: a packet.
    pub(crate) const NONE: Reach<'static> = Reach {
        memory: &[],
        tracer: false,
    };

    pub(crate) fn memory(memory: &'a [(u64, usize)], tracer: bool) -> Reach<'a> {
        Reach { memory, tracer }
    }
}

pub(crate) struct RunEnv<'a> {
    run: &'a Run<'a>,
    program: &'a Program,
    /// The context, in the runtime's own layout.
    context: *const u8,
    reach: Reach<'a>,
    /// Whether the traced variant runs.
    traced: bool,
    /// The latest pointer write, not yet known to have executed.
    latest: Option<(usize, Elem)>,
    /// What the update or delete helper just did, for the trace call that follows it.
    pending: Option<(StripeGuard<'a>, &'a Map, Change)>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a run may not allocate, so the key cannot be boxed"
)]
enum Change {
    Update(Elem, UpdateFlags),
    Delete(Key),
}

impl<'a> RunEnv<'a> {
    /// # Safety
    /// `context` points to a context of the program's type, in the runtime's layout, for as long as the environment lives.
    pub(crate) unsafe fn new(
        run: &'a Run<'a>,
        program: &'a Program,
        context: *const u8,
        reach: Reach<'a>,
        traced: bool,
    ) -> RunEnv<'a> {
        RunEnv {
            run,
            program,
            context,
            reach,
            traced,
            latest: None,
            pending: None,
        }
    }

    /// Called when the program has ended: whatever it registered is on the slot's list now.
    pub(crate) fn finish(&mut self) {
        self.pending = None;
        self.commit_latest();
    }

    fn commit_latest(&mut self) {
        if let Some((index, elem)) = self.latest.take() {
            let map = &self.program.maps()[index];
            if let Some(trace) = map.trace() {
                // SAFETY: the program holds the map, and is itself held by what this run latched (or by the list of tracers
                // that it was found in), which is freed only a grace period after it was replaced.
                unsafe { self.run.slot().flush.push(map, trace, elem) };
            }
        }
    }

    /// First address of the packet, or of its metadata, and one past its last: as the context has it now, since helpers move
    /// the packet.
    fn packet(&self) -> (u64, u64) {
        let Some((start, end)) = self.program.packet_fields() else {
            return (0, 0);
        };
        // SAFETY: the fields are pointers of the context that `new` was given; an aligned or unaligned read of 8 bytes each.
        let read = |off: u32| unsafe { self.context.add(off as usize).cast::<u64>().read_unaligned() };
        (read(start), read(end))
    }

    fn map(&self, handle: u64) -> Option<&'a Map> {
        let program = self.program;
        map_index(handle)
            .and_then(|index| program.maps().get(index))
            .map(AsRef::as_ref)
    }

    /// The key that a helper was given.
    fn key(map: &Map, address: u64) -> Key {
        // SAFETY: the verifier proved `key_size` readable bytes at the address.
        Key::new(unsafe { SharedBytes::from_raw(address, map.def().key_size as usize) })
    }

    /// Updates a map that may be traced: leaves its stripe for the trace call that follows.
    fn update(&mut self, map: &'a Map, key: &Key, value: u64, flags: u64) -> Result<(), MapError> {
        let flags = UpdateFlags::from_bits(flags);
        let stripe = map.lock_stripe(self.run, key)?;
        // SAFETY: the verifier proved `value_size` readable bytes at the address.
        let value = unsafe { SharedBytes::from_raw(value, map.def().value_size as usize) };
        let elem = map.update_untraced(self.run, key, value, flags)?;
        self.pending = stripe.map(|stripe| (stripe, map, Change::Update(elem, flags)));
        Ok(())
    }

    /// Likewise deletes from it.
    fn delete(&mut self, map: &'a Map, key: &Key) -> Result<(), MapError> {
        let stripe = map.lock_stripe(self.run, key)?;
        map.delete_untraced(self.run, key)?;
        self.pending = stripe.map(|stripe| (stripe, map, Change::Delete(key.clone())));
        Ok(())
    }

    fn run_pending(&mut self) {
        if let Some((stripe, map, change)) = self.pending.take() {
            let event = match &change {
                Change::Update(elem, flags) => Event::Update {
                    elem: *elem,
                    flags: *flags,
                },
                Change::Delete(key) => Event::Delete { key },
            };
            stripe.run_tracers(self.run, map, &event);
        }
    }
}

impl Env for RunEnv<'_> {
    fn helper(&mut self, id: u32, args: [u64; 5]) -> Result<u64, Trap> {
        let trap = |reason| Err(Trap::Helper { pc: 0, id, reason });
        Ok(match id {
            helpers::MAP_LOOKUP_ELEM => {
                let Some(map) = self.map(args[0]) else {
                    return trap("no map in the first argument");
                };
                let calls = map.calls();
                // SAFETY: the verifier proved the key readable; the map is alive.
                unsafe { (calls.lookup)(calls.state, self.run, args[1] as *const u8) }
            }
            helpers::MAP_UPDATE_ELEM => {
                let Some(map) = self.map(args[0]) else {
                    return trap("no map in the first argument");
                };
                if self.traced {
                    let key = Self::key(map, args[1]);
                    errno(self.update(map, &key, args[2], args[3]))
                } else {
                    let (calls, key, value) = (map.calls(), args[1] as *const u8, args[2] as *const u8);
                    // SAFETY: the verifier proved key and value readable; the map is alive.
                    unsafe { (calls.update)(calls.state, self.run, key, value, args[3]) }.cast_unsigned()
                }
            }
            helpers::MAP_DELETE_ELEM => {
                let Some(map) = self.map(args[0]) else {
                    return trap("no map in the first argument");
                };
                if self.traced {
                    let key = Self::key(map, args[1]);
                    errno(self.delete(map, &key))
                } else {
                    let calls = map.calls();
                    // SAFETY: the verifier proved the key readable; the map is alive.
                    unsafe { (calls.delete)(calls.state, self.run, args[1] as *const u8) }.cast_unsigned()
                }
            }
            helpers::PROBE_READ | helpers::PROBE_READ_KERNEL => probe_read(args[0], args[1], args[2]),
            helpers::KTIME_GET_NS => nanoseconds(rustix::time::ClockId::Monotonic),
            helpers::KTIME_GET_BOOT_NS => nanoseconds(rustix::time::ClockId::Boottime),
            helpers::GET_SMP_PROCESSOR_ID => self.run.index().into(),
            helpers::SPIN_LOCK | helpers::SPIN_UNLOCK => {
                if !args[0].is_multiple_of(4) {
                    return trap("the lock is not aligned");
                }
                // SAFETY: the verifier proved a `struct bpf_spin_lock` in a map value at the address.
                let lock = unsafe { SharedBytes::from_raw(args[0], 4) };
                if id == helpers::SPIN_UNLOCK {
                    spin::unlock(self.run, lock);
                } else if spin::lock(self.run, lock).is_err() {
                    return trap("a nested run would wait for a spin lock");
                }
                0
            }
            _ => return trap("no such helper"),
        })
    }

    fn contains(&self, region: Region, addr: u64, len: usize, write: bool) -> bool {
        match region {
            Region::Packet => {
                let (start, end) = self.packet();
                start <= addr && addr.checked_add(len as u64).is_some_and(|last| last <= end)
            }
            Region::MapValue { map } => {
                let map = &self.program.maps()[map as usize];
                map.ops().element_at(addr, len).is_some() && !(write && map.def().is_readonly_prog())
            }
            Region::ContextMemory { field } => {
                let Some(&(start, size)) = self.reach.memory.get(usize::from(field)) else {
                    return false;
                };
                !write
                    && start <= addr
                    && addr
                        .checked_add(len as u64)
                        .is_some_and(|last| last <= start + size as u64)
            }
            // There are neither ring buffers nor maps of maps, and the runtime has no objects.
            Region::Stack
            | Region::MapKey { .. }
            | Region::InnerMapKey { .. }
            | Region::Context { .. }
            | Region::Record { .. }
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
        for index in &self.program.verified().maps_stored {
            let map = &self.program.maps()[*index as usize];
            if map.trace().is_some_and(trace::TraceState::is_armed)
                && let Some(elem) = map.ops().element_at(addr, 1)
            {
                self.latest = Some((*index as usize, elem));
                return;
            }
        }
    }

    fn flush_pointers(&mut self) {
        self.commit_latest();
        if !self.run.is_nested() && !self.reach.tracer {
            trace::flush(self.run);
        }
    }
}

/// What a helper returns for an operation's result: 0 or the negative errno.
fn errno(result: Result<(), MapError>) -> u64 {
    result
        .map_or_else(|error| -i64::from(error.errno()), |()| 0)
        .cast_unsigned()
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    let since = Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// `bpf_probe_read_kernel`: copies from an address that may be anything; on a fault zeroes the destination and returns
/// `-EFAULT`. The kernel does the copy (`process_vm_readv(2)` on ourselves), so a bad address is an error, not a signal.
fn probe_read(to: u64, len: u64, from: u64) -> u64 {
    let len = len as usize;
    if len == 0 {
        return 0;
    }
    let local = libc::iovec {
        iov_base: to as *mut libc::c_void,
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: from as *mut libc::c_void,
        iov_len: len,
    };
    // SAFETY: the verifier proved `len` writable bytes at `to`; the kernel checks `from`. `getpid` has no preconditions.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(copied) == Ok(len) {
        return 0;
    }
    for i in 0..len {
        // SAFETY: as above; atomic, since it may be a map's memory.
        unsafe { (*((to as usize + i) as *const AtomicU8)).store(0, Relaxed) };
    }
    (-i64::from(libc::EFAULT)).cast_unsigned()
}
