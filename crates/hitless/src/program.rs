//! Programs: verified, lowered, compiled in the forms that they run in (`version.rs`), and executed inside a run.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, PoisonError, Weak};

use hitless_btf::{Btf, TypeId, core};
use hitless_isa::{CallTarget, Instruction};
use hitless_jit::{CompileError, Engine, Function, LowerError, Trap};
use hitless_verifier::{ContextFacts, ContextFieldKind, ProgramKind, Verified, tables};

use crate::context::PacketFrame;
use crate::env::{Reach, RunEnv};
use crate::execution::{Active, Execution, PerSlot, ProgramStats};
use crate::extension::{Extends, ReplacedFunction};
use crate::helpers::Shared;
use crate::helpers::kfuncs::Kfunc;
use crate::link::AttachError;
use crate::map::Map;
use crate::objects::ObjectType;
use crate::primitive::Ordering::Relaxed;
use crate::primitive::atomic::AtomicU64;
use crate::primitive::{Mutex, Padded};
use crate::program_type::ProgramType;
use crate::run::Run;
use crate::trace::TraceState;
use crate::version::{Source, Version, Versions};

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
    /// Maps that it keeps, and does not use.
    bound: Mutex<Vec<Arc<Map>>>,
    kfuncs: Vec<(i32, Kfunc)>,
    types: Arc<core::Target>,
    objects: Vec<(TypeId, Arc<ObjectType>)>,
    itself: OnceLock<Weak<Program>>,
    shared: Arc<Shared>,
    engine: Arc<dyn Engine>,
    versions: Versions,
    /// Its functions, the program itself first.
    functions: Vec<hitless_object::Subprogram>,
    /// The types of its object.
    btf: Option<Arc<Btf>>,
    /// What it takes the place of, if it is an extension.
    extends: Option<Extends>,
    uses_spin_lock: bool,
    /// The maps whose values it was shown as an iterator's, to write them.
    walked: Mutex<Vec<Weak<Map>>>,
    slots: Box<[Padded<PerSlot>]>,
    failed_check: OnceLock<Trap>,
    misses: AtomicU64,
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
    /// Its functions, the program itself first.
    pub(crate) functions: Vec<hitless_object::Subprogram>,
    /// The types of its object.
    pub(crate) btf: Option<Arc<Btf>>,
    /// What it takes the place of, if it is an extension.
    pub(crate) extends: Option<Extends>,
    /// What it was relocated against.
    pub(crate) types: Arc<core::Target>,
    /// The structs that it may allocate, by their ids in its types, in order.
    pub(crate) objects: Vec<(TypeId, Arc<ObjectType>)>,
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
            functions,
            btf,
            extends,
            types,
            objects,
        } = parts;
        let kind = extends.as_ref().map_or(program_type.kind(), Extends::kind);
        let versions = Versions::new(&Source {
            name: &name,
            verified: &verified,
            context: &context,
            arguments: extends.as_ref().map_or(1, Extends::arguments),
            maps: &maps,
            kfuncs: &kfuncs,
            engine: engine.as_ref(),
        })?;
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
            packet_fields: packet_fields(&context).or_else(|| PacketFrame::fields(kind)),
            program_type,
            context_extent: context_extent(&context, &verified),
            arguments: tables::program_types::argument_count(&context),
            context,
            verified,
            maps,
            bound: Mutex::default(),
            kfuncs,
            types,
            objects,
            itself: OnceLock::new(),
            shared,
            engine,
            versions,
            functions,
            btf,
            extends,
            uses_spin_lock,
            walked: Mutex::new(Vec::new()),
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

    /// The instructions that run now ("xlated"), with the calls of map tracing if the program is being traced, and without the
    /// functions whose place others take.
    #[must_use]
    pub fn disassemble(&self) -> String {
        self.versions.held().image().disassemble(&tables::helpers::name)
    }

    /// Whether the traced variant is the one that runs.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.versions.held().is_traced()
    }

    /// The kind of programs whose context it is given, and whose helpers it may call: its own, or that of the program that it
    /// extends.
    pub(crate) fn context_kind(&self) -> ProgramKind {
        match &self.extends {
            Some(extends) => extends.kind(),
            None => self.program_type.kind(),
        }
    }

    /// What it is given.
    pub(crate) fn context(&self) -> &ContextFacts {
        &self.context
    }

    /// Its functions, the program itself first.
    pub(crate) fn functions(&self) -> &[hitless_object::Subprogram] {
        &self.functions
    }

    /// The types of its object.
    #[must_use]
    pub fn btf(&self) -> Option<&Arc<Btf>> {
        self.btf.as_ref()
    }

    /// What it takes the place of, if it is an extension.
    pub(crate) fn extends(&self) -> Option<&Extends> {
        self.extends.as_ref()
    }

    /// The functions of it whose place others take.
    pub(crate) fn replaced(&self) -> Vec<Arc<ReplacedFunction>> {
        self.versions.functions()
    }

    /// Has these functions replaced and no others. Returns what nobody runs any more a grace period later; the caller holds the
    /// runtime's control lock, and what this returns until then.
    pub(crate) fn replace(
        &self,
        functions: Vec<Arc<ReplacedFunction>>,
    ) -> Result<[Option<Arc<Version>>; 2], BuildError> {
        self.versions.replace(&self.source(), functions)
    }

    /// What it is compiled from.
    fn source(&self) -> Source<'_> {
        Source {
            name: &self.name,
            verified: &self.verified,
            context: &self.context,
            arguments: self.extends.as_ref().map_or(1, Extends::arguments),
            maps: &self.maps,
            kfuncs: &self.kfuncs,
            engine: self.engine.as_ref(),
        }
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

    /// Whether it writes a map whose content has moved.
    pub(crate) fn is_outdated(&self) -> bool {
        self.written().any(|map| map.is_sealed())
    }

    /// Whether it may sleep.
    pub(crate) fn is_sleepable(&self) -> bool {
        self.context.sleepable
    }

    /// Whether it may write what its context points to: the values that an iterator shows it.
    pub(crate) fn writes_context(&self) -> bool {
        !self.verified.context_stored.is_empty()
    }

    /// Whether it may be allowed to write what this field of its context points to.
    pub(crate) fn may_write(&self, field: u16) -> bool {
        let field = self.context.fields.get(usize::from(field));
        field.is_some_and(|field| matches!(field.kind, ContextFieldKind::Buffer { writable: true }))
    }

    /// Before it is shown the values of a map. The caller holds the runtime's control lock, and chooses the variant anew.
    pub(crate) fn will_walk(&self, map: &Arc<Map>) {
        if self.writes_context() {
            let mut walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
            walked.retain(|known| known.upgrade().is_some_and(|known| known.id() != map.id()));
            walked.push(Arc::downgrade(map));
        }
    }

    /// The maps whose values it may write since an iterator shows them.
    fn walked(&self) -> Vec<Arc<Map>> {
        let walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        walked.iter().filter_map(Weak::upgrade).collect()
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

    /// The ids of the maps that it keeps: those that it was loaded with, then those that were [bound](Self::bind_map) to it.
    #[must_use]
    pub fn map_ids(&self) -> Vec<u32> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        self.maps.iter().chain(bound.iter()).map(|map| map.id()).collect()
    }

    /// Has the program keep a map that it does not use, as a place for what others want to know of it.
    #[doc(alias = "BPF_PROG_BIND_MAP")]
    pub fn bind_map(&self, map: &Arc<Map>) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.maps.iter().chain(bound.iter());
        if !known.any(|known| Arc::ptr_eq(known, map)) {
            bound.push(Arc::clone(map));
        }
    }

    pub(crate) fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }

    /// The types that it was relocated against, which it may ask to be printed by.
    pub(crate) fn types(&self) -> &Btf {
        self.types.btf()
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
            .chain(&self.walked())
            .map(|map| map.id())
            .collect()
    }

    /// Ids of the maps whose elements helpers may update or delete for it, or those of the maps in them.
    pub(crate) fn updated_maps(&self) -> Vec<u32> {
        let updated = self.verified.maps_updated.union(&self.verified.inner_maps_updated);
        updated.map(|index| self.maps[*index as usize].id()).collect()
    }

    /// How many bytes of a context whose size varies the program accesses; 0 for others.
    pub(crate) fn context_extent(&self) -> usize {
        self.context_extent as usize
    }

    /// The struct with this id in the program's types, if the program may allocate such objects.
    pub(crate) fn object_type(&self, id: u64) -> Option<&ObjectType> {
        let found = self.objects.binary_search_by_key(&id, |(known, _)| known.0.into());
        found.ok().map(|index| &*self.objects[index].1)
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
            || self.written_inside().any(|outer| outers.contains(&outer.id()))
            || self
                .walked()
                .iter()
                .filter_map(|map| map.trace())
                .any(TraceState::is_armed);
        self.versions.choose(&self.source(), traced)
    }

    /// The form that runs now, for the length of a run.
    #[inline]
    pub(crate) fn current(&self) -> &Version {
        self.versions.current()
    }

    /// Executes the program on a context.
    ///
    /// # Safety
    /// `context` is a context of the program's type in its host layout, valid and unaliased for the call, as is the memory
    /// that its pointer fields name; `reach` describes that memory.
    #[inline]
    pub(crate) unsafe fn execute<C: ?Sized>(
        &self,
        run: &Run<'_>,
        context: &mut C,
        reach: Option<&Reach<'_>>,
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
        let version = self.current();
        // SAFETY: there is no context.
        let mut env = unsafe { RunEnv::new(run, self, std::ptr::null(), version) };
        let result = env.lend(lent, |env, address| {
            // SAFETY: as in `Execution::call`; such a function has no context.
            unsafe { version.code().run_function(env.vm(), function, args(address)) }
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

    /// What the program has for a slot.
    #[inline]
    pub(crate) fn slot(&self, index: u32) -> &PerSlot {
        &self.slots[index as usize].0
    }

    /// Whether a nested run may not begin the program, of which so many executions are in progress on the slot: it would be
    /// re-entered, or wait for a lock that the interrupted code may hold. Counted.
    #[cold]
    pub(crate) fn must_not_nest(&self, run: &Run<'_>, depth: u32) -> bool {
        let must_not = depth > 0 || (self.may_lock() && run.slot().spin_locked.load(Relaxed) > 0);
        if must_not {
            self.count_miss();
        }
        must_not
    }

    /// Whether it may take a spin lock now, or what takes the place of a function of it.
    fn may_lock(&self) -> bool {
        let mut replaced = self.current().functions().iter();
        self.uses_spin_lock || replaced.any(|function| function.program().uses_spin_lock)
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
