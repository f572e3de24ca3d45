//! Programs: verified, lowered, compiled in up to two variants, and executed inside a run.
//!
//! The plain variant knows nothing of map tracing. The traced one, made when a map that the program writes is traced for
//! the first time, registers pointer writes and runs tracers. Which one runs is a word of the program, switched by the
//! runtime; a grace period later nobody runs the other.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};

use hitless_isa::{CallTarget, Instruction};
use hitless_jit::{
    Code, CompileError, Engine, Entry, Function, Image, LowerError, LowerInput, MapAddresses, Trap, Variant, lower,
};
use hitless_verifier::{ContextFacts, ContextFieldKind, Verified, tables};

use crate::context::PacketFrame;
use crate::env::{Reach, RunEnv, SERVICES};
use crate::execution::{Active, Execution, PerSlot, ProgramStats};
use crate::helpers::Shared;
use crate::helpers::kfuncs::Kfunc;
use crate::link::AttachError;
use crate::map::Map;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::Padded;
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::program_type::ProgramType;
use crate::resolve::Resolver;
use crate::run::Run;
use crate::trace::TraceState;

/// A loaded program. Any number of threads may run it at once.
pub struct Program {
    id: u32,
    runtime: u64,
    name: String,
    section: String,
    program_type: ProgramType,
    context: ContextFacts,
    packet_fields: Option<(u32, u32)>,
    context_extent: u32,
    arguments: usize,
    verified: Verified,
    maps: Vec<Arc<Map>>,
    kfuncs: Vec<(i32, Kfunc)>,
    itself: OnceLock<Weak<Program>>,
    shared: Arc<Shared>,
    engine: Arc<dyn Engine>,
    plain: Compiled,
    traced: OnceLock<Compiled>,
    /// 1 if the traced variant is to run.
    use_traced: AtomicU32,
    uses_spin_lock: bool,
    slots: Box<[Padded<PerSlot>]>,
    failed_check: OnceLock<Trap>,
    misses: AtomicU64,
}

struct Compiled {
    image: Arc<Image>,
    code: Box<dyn Code>,
    /// How the code is begun.
    entry: Entry,
}

impl PartialEq for Program {
    /// Whether it is the same program.
    fn eq(&self, other: &Program) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Program {}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A verified program could not be made executable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Lowering failed.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The engine refused the image.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Why an execution had no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The program is already running on this slot, or waits for a lock that the interrupted code may hold.
    Missed,
    /// A check of the engine failed: [`Program::failed_check`].
    Trapped,
}

/// What a program is made of.
pub(crate) struct ProgramParts {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) program_type: ProgramType,
    pub(crate) context: ContextFacts,
    pub(crate) verified: Verified,
    /// In the order of the verifier's table.
    pub(crate) maps: Vec<Arc<Map>>,
    /// The kernel functions that it calls, by BTF id.
    pub(crate) kfuncs: Vec<(i32, Kfunc)>,
}

impl Program {
    pub(crate) fn new(
        (id, runtime, slots): (u32, u64, usize),
        engine: Arc<dyn Engine>,
        shared: Arc<Shared>,
        parts: ProgramParts,
    ) -> Result<Program, BuildError> {
        let ProgramParts {
            name,
            section,
            program_type,
            context,
            verified,
            maps,
            kfuncs,
        } = parts;
        let source = Source {
            name: &name,
            verified: &verified,
            context: &context,
            maps: &maps,
            kfuncs: &kfuncs,
        };
        let plain = compile(&source, engine.as_ref(), Variant::Plain)?;
        let calls_spin_lock = |pc: usize| {
            let helper = Instruction::Call(CallTarget::Helper(tables::helpers::SPIN_LOCK));
            verified.facts.is_reachable(pc) && hitless_isa::decode(&verified.insns, pc) == Ok(helper)
        };
        let uses_spin_lock = (0..verified.insns.len()).any(calls_spin_lock);
        Ok(Program {
            id,
            runtime,
            name,
            section,
            packet_fields: packet_fields(&context).or_else(|| PacketFrame::fields(program_type.kind())),
            program_type,
            context_extent: context_extent(&context, &verified),
            arguments: tables::program_types::argument_count(&context),
            context,
            verified,
            maps,
            kfuncs,
            itself: OnceLock::new(),
            shared,
            engine,
            plain,
            traced: OnceLock::new(),
            use_traced: AtomicU32::new(0),
            uses_spin_lock,
            slots: PerSlot::for_slots(slots),
            failed_check: OnceLock::new(),
            misses: AtomicU64::new(0),
        })
    }

    /// The program's id, unique in its runtime.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name: that of the C function.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The section of the object that it came from.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.section
    }

    /// Its type.
    #[must_use]
    pub fn program_type(&self) -> &ProgramType {
        &self.program_type
    }

    /// What the verifier proved of it.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// What has been counted of it.
    #[must_use]
    pub fn stats(&self) -> ProgramStats {
        let (runs, time_ns) = PerSlot::sum(&self.slots);
        ProgramStats {
            runs,
            time_ns,
            recursion_misses: self.recursion_misses(),
        }
    }

    /// How often it was not run because it was already running on its slot: in signal handlers only.
    #[must_use]
    pub fn recursion_misses(&self) -> u64 {
        self.misses.load(Relaxed)
    }

    /// The instructions that run now ("xlated"), with the calls of map tracing if the program is being traced.
    #[must_use]
    pub fn disassemble(&self) -> String {
        self.current().0.image.disassemble(&tables::helpers::name)
    }

    /// Whether the traced variant is the one that runs.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.use_traced.load(Acquire) != 0
    }

    /// Where the runtime's own form of the context says where the packet (or its metadata) begins and ends.
    pub(crate) fn packet_fields(&self) -> Option<(u32, u32)> {
        self.packet_fields
    }

    pub(crate) fn runtime(&self) -> u64 {
        self.runtime
    }

    /// Refuses to attach a program that writes a map whose content has moved.
    pub(crate) fn check_current(&self) -> Result<(), AttachError> {
        match self.written().find(|map| map.is_sealed()) {
            None => Ok(()),
            Some(map) => Err(AttachError::Migrated {
                program: self.name().to_owned(),
                map: map.name().to_owned(),
            }),
        }
    }

    /// The maps that the program may change, by helpers or through pointers.
    fn written(&self) -> impl Iterator<Item = &Arc<Map>> {
        let written = self.verified.maps_updated.union(&self.verified.maps_stored);
        written.map(|index| &self.maps[*index as usize])
    }

    /// The maps of maps such that it may change the maps in them.
    fn written_inside(&self) -> impl Iterator<Item = &Arc<Map>> {
        let verified = &self.verified;
        let written = verified.inner_maps_updated.union(&verified.inner_maps_stored);
        written.map(|index| &self.maps[*index as usize])
    }

    pub(crate) fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }

    /// Another reference to the program, which its runtime has made.
    pub(crate) fn itself(&self) -> Option<Arc<Program>> {
        self.itself.get()?.upgrade()
    }

    /// Tells the program how it is held.
    pub(crate) fn set_itself(&self, program: &Arc<Program>) {
        let _ = self.itself.set(Arc::downgrade(program));
    }

    /// What helpers of the runtime share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Ids of the maps that the program may change, or may change the maps in.
    pub(crate) fn written_maps(&self) -> Vec<u32> {
        self.written()
            .chain(self.written_inside())
            .map(|map| map.id())
            .collect()
    }

    /// How many bytes of a context whose size varies the program accesses; 0 for others.
    pub(crate) fn context_extent(&self) -> usize {
        self.context_extent as usize
    }

    /// Whether the program may write the packets that it is given.
    pub(crate) fn writes_packets(&self) -> bool {
        self.context.packet_writable
    }

    /// How many arguments the function has that it is made for, in words of 8 bytes.
    pub(crate) fn arguments(&self) -> usize {
        self.arguments
    }

    /// How many bytes the program may read behind the context field with this name.
    pub(crate) fn extent(&self, field: &str) -> u32 {
        let index = self.context.fields.iter().position(|f| f.name == field);
        let extent = self
            .verified
            .extents
            .iter()
            .find(|(i, _)| Some(usize::from(*i)) == index);
        extent.map_or(0, |(_, bytes)| *bytes)
    }

    /// Switches to the variant that the state of the program's maps asks for. The caller holds the runtime's control lock,
    /// and waits for a grace period before it relies on the switch.
    ///
    /// `outers` are the maps of maps that hold a map that is traced.
    pub(crate) fn choose_variant(&self, outers: &BTreeSet<u32>) -> Result<(), BuildError> {
        let traced = self.written().filter_map(|map| map.trace()).any(TraceState::is_armed)
            || self.written_inside().any(|outer| outers.contains(&outer.id()));
        if traced && self.traced.get().is_none() {
            let source = Source {
                name: &self.name,
                verified: &self.verified,
                context: &self.context,
                maps: &self.maps,
                kfuncs: &self.kfuncs,
            };
            let compiled = compile(&source, self.engine.as_ref(), Variant::Traced)?;
            let _ = self.traced.set(compiled);
        }
        self.use_traced.store(traced.into(), Release);
        Ok(())
    }

    /// The variant that runs now, and whether it is the traced one.
    #[inline]
    fn current(&self) -> (&Compiled, bool) {
        match self.traced.get() {
            Some(traced) if self.is_traced() => (traced, true),
            _ => (&self.plain, false),
        }
    }

    /// How the variant that runs now is begun, and whether it is the traced one.
    #[inline]
    pub(crate) fn entry(&self) -> (Entry, bool) {
        let (compiled, traced) = self.current();
        (compiled.entry, traced)
    }

    /// Executes the program on a context.
    ///
    /// # Safety
    /// `context` is a context of the program's type in its host layout, valid and unaliased for the call, as is the memory
    /// that its pointer fields name; `reach` describes that memory.
    pub(crate) unsafe fn execute<C: ?Sized>(
        &self,
        run: &Run<'_>,
        context: &mut C,
        reach: Reach<'_>,
    ) -> Result<u64, Failure> {
        // SAFETY: as for this function.
        let result = Execution::with(self, run, reach, |execution| unsafe { execution.call(context) })?;
        result.ok_or(Failure::Trapped)
    }

    /// Runs a function of the program by itself: one that a helper was given to call later (a timer's), with arguments of
    /// which some may be at the address of what is lent to it. Returns its `r0`.
    ///
    /// # Safety
    /// The arguments are what the verifier expects of the helper that was given the function.
    pub(crate) unsafe fn run_callback(
        &self,
        run: &Run<'_>,
        function: Function,
        lent: &[u8],
        args: impl FnOnce(u64) -> [u64; 5],
    ) -> Result<u64, Failure> {
        let _active = Active::enter(self, run, self.slot(run.index()))?;
        let (compiled, traced) = self.current();
        // SAFETY: there is no context.
        let mut env = unsafe { RunEnv::new(run, self, std::ptr::null(), Reach::NONE, traced) };
        let result = env.lend(lent, |env, address| {
            // SAFETY: as in `Execution::call`; such a function has no context.
            unsafe { compiled.code.run_function(env.vm(), function, args(address)) }
        });
        match env.finish() {
            None => Ok(result),
            Some(trap) => {
                self.keep_trap(trap);
                Err(Failure::Trapped)
            }
        }
    }

    /// Keeps the first check of the engine that has failed.
    pub(crate) fn keep_trap(&self, trap: Trap) {
        // Later ones are lost.
        let _ = self.failed_check.set(trap);
    }

    /// The first check of the engine that has failed in a run of the program, if one has: a defect of hitless, since the verifier
    /// had excluded it.
    #[must_use]
    pub fn failed_check(&self) -> Option<&Trap> {
        self.failed_check.get()
    }

    /// The subprogram that a value stands for which a variant of the program has given to a helper.
    pub(crate) fn function(&self, func: u64, traced: bool) -> Option<Function> {
        let compiled = self.traced.get().filter(|_| traced).unwrap_or(&self.plain);
        compiled.code.function(func)
    }

    /// What the program has for a slot.
    #[inline]
    pub(crate) fn slot(&self, index: u32) -> &PerSlot {
        &self.slots[index as usize].0
    }

    /// Whether a nested run may not begin the program, of which so many executions are in progress on the slot: it would be
    /// re-entered, or wait for a lock that the interrupted code may hold. Counted.
    #[cold]
    pub(crate) fn must_not_nest(&self, run: &Run<'_>, depth: u32) -> bool {
        let must_not = depth > 0 || (self.uses_spin_lock && run.slot().spin_locked.load(Relaxed) > 0);
        if must_not {
            self.count_miss();
        }
        must_not
    }

    /// Counts that the program could not be run.
    pub(crate) fn count_miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }
}

/// How many bytes of a context whose size varies a program accesses; 0 for others.
fn context_extent(context: &ContextFacts, verified: &Verified) -> u32 {
    let end = |&(index, extent): &(u16, u32)| {
        let field = context.fields.get(usize::from(index))?;
        let is_record = field.kind == ContextFieldKind::Record && extent > 0;
        is_record.then(|| field.off.saturating_add(extent))
    };
    verified.extents.iter().filter_map(end).max().unwrap_or(0)
}

/// The fields of a context that say where the packet begins (with its metadata, if there is some) and ends.
fn packet_fields(context: &ContextFacts) -> Option<(u32, u32)> {
    let place = |kind| {
        let field = context.fields.iter().find(|field| field.kind == kind);
        field.map(|field| field.host_off)
    };
    let start = place(ContextFieldKind::PacketMeta).or_else(|| place(ContextFieldKind::Packet))?;
    Some((start, place(ContextFieldKind::PacketEnd)?))
}

/// What a program is compiled from.
struct Source<'a> {
    name: &'a str,
    verified: &'a Verified,
    context: &'a ContextFacts,
    maps: &'a [Arc<Map>],
    kfuncs: &'a [(i32, Kfunc)],
}

fn compile(source: &Source<'_>, engine: &dyn Engine, variant: Variant) -> Result<Compiled, BuildError> {
    let addresses: Vec<_> = source.maps.iter().map(addresses).collect();
    let image = Arc::new(lower(LowerInput {
        name: source.name,
        verified: source.verified,
        context: source.context,
        maps: &addresses,
        variant,
        resolve: &Resolver {
            maps: source.maps,
            kfuncs: source.kfuncs,
        },
        services: SERVICES,
    })?);
    let code = engine.compile(Arc::clone(&image))?;
    Ok(Compiled {
        image,
        entry: code.entry(),
        code,
    })
}

fn addresses(map: &Arc<Map>) -> MapAddresses {
    MapAddresses {
        map: Arc::as_ptr(map).expose_provenance() as u64,
        value: map.ops().inline().map_or(0, |values| values.base),
    }
}
