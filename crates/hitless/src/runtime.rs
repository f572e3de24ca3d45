//! A runtime: one kernel's worth of maps, programs, links and hooks.
//!
//! Changes of what is attached go through the control lock, which no run ever takes. Nobody waits for a grace period while
//! holding it: what a change replaced is freed after the lock is released and a grace period has passed.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hitless_btf::dump::DumpError;
use hitless_btf::{Builder, core};
use hitless_jit::interp::Interpreter;
use hitless_jit::native::{Compiler, Symbols};
use hitless_verifier::{ContextFacts, ProgramKind};

use crate::chain::Chain;
use crate::context::{self, Context, Describe};
use crate::extension::ReplacedFunction;
use crate::header::{c_header, hooks_of};
use crate::helpers::Shared;
use crate::hook::{Attached, Hook, Snapshot};
use crate::link::AttachError;
use crate::map::{
    BatchError, Map, MapCreateError, MapDef, MapError, MapFile, MapHandle, MapOps, MapSource, MapTypes, Registered,
    UpdateFlags,
};
use crate::memory::{Budget, MemoryLimit};
use crate::objects::Heap;
use crate::primitive::{Mutex, MutexGuard};
use crate::program::{BuildError, Program, ProgramParts};
use crate::program_type::{ProgramType, hook_name};
use crate::run::{Slots, SyncError};
use crate::sys;
use crate::trace::TraceGraph;
use crate::trace_pipe::TracePipe;
use crate::types;

/// How long a change of what is attached waits for runs that are active.
const GRACE_TIMEOUT: Duration = Duration::from_secs(10);

/// A runtime. Cheap to clone: clones are the same runtime. When the last clone and the last link are gone, everything is
/// detached; maps and programs live as long as someone holds them.
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// How to make a [`Runtime`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How many slots (what programs see as possible CPUs); twice the number of processors if not given.
    pub slots: Option<usize>,
    /// What runs programs.
    pub engine: Engine,
    /// How much memory the maps may take up.
    pub memory: MemoryLimit,
    /// Where perf and debuggers find the names of native code; nowhere if not asked for.
    pub symbols: Symbols,
}

/// What runs programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Engine {
    /// Native code, or the interpreter if there is no compiler for the processor.
    #[default]
    Compiler,
    /// The checked interpreter, which compares every access with what the verifier promised; slow.
    Interpreter,
}

impl Engine {
    fn make(self, symbols: Symbols) -> Arc<dyn hitless_jit::Engine> {
        match self {
            Engine::Compiler => match Compiler::new() {
                Ok(compiler) => Arc::new(compiler.with_symbols(symbols)),
                Err(_) => Engine::Interpreter.make(symbols),
            },
            Engine::Interpreter => Arc::new(Interpreter::default()),
        }
    }
}

pub(crate) struct Inner {
    this: Weak<Inner>,
    pub(crate) slots: Arc<Slots>,
    engine: Arc<dyn hitless_jit::Engine>,
    shared: Arc<Shared>,
    /// What the maps take up.
    budget: Arc<Budget>,
    control: Mutex<Control>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("slots", &self.slots.count())
            .finish_non_exhaustive()
    }
}

/// What the control lock guards.
pub(crate) struct Control {
    last_id: u32,
    /// How many iterators there have been.
    sessions: u64,
    pub(crate) hooks: Vec<HookEntry>,
    /// The types that programs are relocated against.
    types: Arc<core::Target>,
    /// What the host has described beside its hooks.
    described: Vec<fn(&mut Builder)>,
    pub(crate) links: BTreeMap<u32, Attachment>,
    programs: Vec<Weak<Program>>,
    /// Every map that is still there, by id.
    pub(crate) maps: BTreeMap<u32, Registered>,
    /// When to look for maps that are gone.
    pub(crate) maps_limit: usize,
    pub(crate) graph: TraceGraph,
    /// Whether an upgrade is in progress: there is one at a time.
    pub(crate) upgrading: bool,
}

/// A hook that was asked for.
pub(crate) struct HookEntry {
    pub(crate) section: &'static str,
    pub(crate) name: Arc<str>,
    /// The kinds of programs that it takes.
    kinds: &'static [ProgramKind],
    pub(crate) chain: Chain,
    context: TypeId,
    /// What programs are given, if the host defines it.
    host: Option<Host>,
}

impl HookEntry {
    fn takes(&self, program_type: &ProgramType) -> bool {
        let is_here = program_type.target().is_none_or(|target| *target == *self.name);
        self.kinds.contains(&program_type.kind()) && is_here
    }

    /// Refuses programs that are not for such a hook.
    pub(crate) fn check_takes(&self, program: &Program) -> Result<(), AttachError> {
        if self.takes(program.program_type()) {
            return Ok(());
        }
        Err(AttachError::WrongType {
            program: program.name().to_owned(),
            found: program.program_type().to_string(),
            expected: format!("{}/{}", self.section, self.name),
        })
    }
}

/// A context of the host's own.
struct Host {
    describe: Describe,
    writable: &'static [&'static str],
    facts: ContextFacts,
}

/// What a link attaches.
#[derive(Clone)]
pub(crate) enum Attachment {
    Hook {
        hook: usize,
        program: Arc<Program>,
        /// What the program finds as `bpf_get_attach_cookie()`.
        cookie: u64,
    },
    /// A function of a program, whose place another takes.
    Extension {
        target: Arc<Program>,
        function: Arc<ReplacedFunction>,
        program: Arc<Program>,
    },
    /// The program is missing for an upgrade's mirror.
    Trace {
        map: Arc<Map>,
        program: Option<Arc<Program>>,
    },
    /// The map is there if its elements are walked.
    Iter {
        program: Arc<Program>,
        map: Option<MapHandle>,
    },
}

impl Attachment {
    /// The program, if it is not one of the runtime's own mirrors.
    pub(crate) fn program(&self) -> Option<&Arc<Program>> {
        match self {
            Attachment::Hook { program, .. }
            | Attachment::Extension { program, .. }
            | Attachment::Iter { program, .. } => Some(program),
            Attachment::Trace { program, .. } => program.as_ref(),
        }
    }
}

impl Default for Runtime {
    fn default() -> Runtime {
        Runtime::new(Options::default())
    }
}

impl Runtime {
    /// Makes a runtime.
    #[must_use]
    pub fn new(options: Options) -> Runtime {
        crate::fault::install();
        use std::sync::atomic::{AtomicU64, Ordering};
        static RUNTIMES: AtomicU64 = AtomicU64::new(0);
        let id = RUNTIMES.fetch_add(1, Ordering::Relaxed);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let count = options.slots.unwrap_or(2 * cpus);
        let slots = Slots::new(id, count, Box::default());
        Runtime {
            inner: Arc::new_cyclic(|this| Inner {
                this: Weak::clone(this),
                engine: options.engine.make(options.symbols),
                shared: Arc::new(Shared::new(slots.count())),
                slots: Arc::new(slots),
                budget: Arc::new(Budget::new(options.memory)),
                control: Mutex::new(Control::new()),
            }),
        }
    }

    /// The types that the runtime hands to programs, which these are relocated against unless
    /// [`LoadOptions`](crate::LoadOptions) name others: contexts, helpers and map types that it has, in the kernel's words, and
    /// the contexts of the host's own hooks.
    #[must_use]
    pub fn btf(&self) -> Arc<core::Target> {
        Arc::clone(&self.inner.control().types)
    }

    /// A reader of what programs print (`bpf_trace_printk`).
    #[must_use]
    pub fn trace_pipe(&self) -> TracePipe {
        TracePipe::new(Arc::clone(&self.inner.slots), Arc::clone(&self.inner.shared.trace))
    }

    /// What programs of the host's own hooks are given, as a C header with this include guard, for their sources.
    ///
    /// # Errors
    /// [`DumpError`] if a context is a type that C cannot declare.
    ///
    /// # Examples
    /// ```
    /// #[derive(hitless::Ctx)]
    /// #[repr(C)]
    /// struct Request {
    ///     method: u32,
    ///     path: [u8; 64],
    /// }
    ///
    /// let runtime = hitless::Runtime::default();
    /// let _hook = runtime.hook::<Request>("request");
    /// let header = runtime.header("MY_SERVER_H")?;
    /// assert!(header.contains("SEC(\"hook/request\") int NAME(struct request *ctx)"));
    /// assert!(header.contains("struct request {\n\tu32 method;\n\tu8 path[64];\n};\n"));
    /// # Ok::<(), hitless::btf::dump::DumpError>(())
    /// ```
    pub fn header(&self, guard: &str) -> Result<String, DumpError> {
        let types = self.btf();
        let contexts: Vec<_> = hooks_of(types.btf()).map(|(_, context)| context).collect();
        c_header(types.btf(), &contexts, guard)
    }

    /// Adds types of the host: functions that programs are attached to, by which what these are given is known. For `fentry`,
    /// `fexit` and `fmod_ret` a function by its name; for `tp_btf` a `typedef` by the name `btf_trace_NAME`, of a pointer to a
    /// function whose first parameter is not seen; for `lsm` a function by the name `bpf_lsm_NAME`.
    ///
    /// # Panics
    /// If the types cannot be.
    ///
    /// # Examples
    /// ```
    /// let runtime = hitless::Runtime::default();
    /// runtime.describe(|types| {
    ///     let (int, path) = (types.signed(4), types.unsigned(8));
    ///     types.function("open_file", int, &[("path", path), ("flags", int)]);
    /// });
    /// // SEC("fmod_ret/open_file") int BPF_PROG(deny, u64 path, int flags, int ret)
    /// let hook = runtime.hook::<hitless::context::FmodRet>("open_file");
    /// assert_eq!(hook.run(&mut [0; 12]), Ok(0));
    /// ```
    pub fn describe(&self, describe: fn(&mut Builder)) {
        let mut control = self.inner.control();
        control.described.push(describe);
        control.make_types();
    }

    /// The runtime's number, unique in the process.
    pub(crate) fn id(&self) -> u64 {
        self.inner.slots.runtime()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The hook with this context and name, made when it is first asked for.
    ///
    /// Hooks with contexts of Linux have a name of their own for each sort of context. Hooks of the host's own share the names
    /// behind `hook/`, which programs are loaded for: such a hook has to be asked for before they are.
    ///
    /// # Panics
    /// If there is a hook of the host's own with this name, but another context; or if what the context
    /// [describes](Context::describe) cannot be given to programs: it is not a struct, has more than one
    /// [`Bytes`](crate::context::Bytes), a pointer, or a `bool` that is writable.
    #[must_use]
    pub fn hook<C: Context>(&self, name: &str) -> Hook<C> {
        let mut control = self.inner.control();
        let index = control.hook_index::<C>(name);
        let hook = &control.hooks[index];
        assert!(hook.context == TypeId::of::<C>(), "hook {name} has another context");
        Hook::new(Arc::clone(&self.inner.slots), index, Arc::clone(&hook.name))
    }

    /// What programs for a hook of the host's own are given; the names of those that there are, if it is none of them.
    pub(crate) fn host_context(&self, name: &str) -> Result<ContextFacts, Vec<String>> {
        let control = self.inner.control();
        let hosts = control
            .hooks
            .iter()
            .filter_map(|hook| Some((&hook.name, hook.host.as_ref()?)));
        match hosts.clone().find(|(known, _)| ***known == *name) {
            Some((_, host)) => Ok(host.facts.clone()),
            None => Err(hosts.map(|(known, _)| known.to_string()).collect()),
        }
    }

    /// Waits until every run that is active now has ended (a grace period).
    ///
    /// # Errors
    /// [`SyncError::Deadlock`] from inside a run, [`SyncError::TimedOut`].
    pub fn synchronize(&self, timeout: Option<Duration>) -> Result<(), SyncError> {
        self.inner.slots.synchronize(timeout)
    }

    /// Puts maps into maps of maps, each in place of what has its key, for one grace period: when it returns, no program uses
    /// any of the maps that were there before.
    ///
    /// # Errors
    /// As [`Map::insert_map`], with how many were put in before; [`MapError::OtherRuntime`] for a map of another runtime.
    pub fn replace_many<'a>(
        &self,
        replacements: impl IntoIterator<Item = (&'a Map, &'a [u8], &'a Arc<Map>)>,
    ) -> Result<(), BatchError> {
        let mut retired = Vec::new();
        let mut result = Ok(());
        for (done, (outer, key, inner)) in replacements.into_iter().enumerate() {
            let swapped = if outer.runtime() == self.id() {
                outer.swap_map(key, inner, UpdateFlags::ANY)
            } else {
                Err(MapError::OtherRuntime)
            };
            match swapped {
                Ok(before) => retired.extend(before),
                Err(source) => {
                    result = Err(BatchError { done, source });
                    break;
                }
            }
        }
        self.inner.slots.retire(retired);
        result
    }

    /// How many bytes the maps take up that are there, in this process and by whoever holds them.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.inner.budget.used()
    }

    /// Has statistics of programs kept ([`Program::stats`]) until the guard is dropped: that costs each run of a program some
    /// tens of nanoseconds, to read the clock twice. Runs that have begun keep none yet.
    #[doc(alias = "BPF_ENABLE_STATS")]
    #[must_use = "no statistics are kept when the guard is dropped"]
    pub fn enable_stats(&self) -> StatsEnabled {
        self.inner.slots.keep_time(true);
        StatsEnabled {
            slots: Arc::clone(&self.inner.slots),
        }
    }

    /// Makes a map.
    ///
    /// # Errors
    /// [`MapCreateError`], by variant.
    pub fn create_map(&self, def: MapDef) -> Result<MapHandle, MapCreateError> {
        self.inner
            .create_map(def, MapSource::default())
            .map(|map| MapHandle::new(map, &self.inner))
    }

    /// Makes a map whose keys and values have types, in which its spin lock and its timer are found.
    ///
    /// # Errors
    /// [`MapCreateError`], by variant: also if the types do not fit the map.
    pub fn create_typed_map(&self, def: MapDef, types: MapTypes) -> Result<MapHandle, MapCreateError> {
        let (def, source) = types.apply(def)?;
        self.inner
            .create_map(def, source)
            .map(|map| MapHandle::new(map, &self.inner))
    }

    /// How many objects programs have allocated (`bpf_obj_new`) that something refers to: a run, a map, a list, a tree.
    #[must_use]
    pub fn live_objects(&self) -> u64 {
        self.inner.live_objects()
    }
}

/// Statistics of programs are kept as long as this lives. Made by [`Runtime::enable_stats`].
#[derive(Debug)]
pub struct StatsEnabled {
    slots: Arc<Slots>,
}

impl Drop for StatsEnabled {
    fn drop(&mut self) {
        self.slots.keep_time(false);
    }
}

impl Inner {
    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        // A panic while the lock was held leaves lists that are each valid on their own.
        self.control.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends the timers of maps that nobody holds any more but programs.
    pub(crate) fn sweep_timers(&self) {
        if let Some(timers) = self.shared.timers() {
            timers.sweep();
        }
    }

    pub(crate) fn check_waitable(&self) -> Result<(), SyncError> {
        if self.slots.in_run() {
            Err(SyncError::Deadlock)
        } else {
            Ok(())
        }
    }

    /// How many objects of programs there are.
    pub(crate) fn live_objects(&self) -> u64 {
        self.shared.objects().map_or(0, |heap| heap.live())
    }

    /// Makes the memory for objects of programs.
    pub(crate) fn start_objects(&self) -> std::io::Result<&Arc<Heap>> {
        self.shared.start_objects(&self.slots)
    }

    pub(crate) fn create_map(&self, def: MapDef, source: MapSource) -> Result<Arc<Map>, MapCreateError> {
        if source.timer.is_some() {
            self.shared
                .start_timers(&self.slots)
                .map_err(|source| MapCreateError::Memory {
                    name: def.name.clone(),
                    bytes: 0,
                    source,
                })?;
        }
        let id = self.control().next_id();
        let map = Arc::new(Map::new(id, def, self.of_maps(), Arc::clone(&self.budget), source)?);
        self.control().register(&map);
        Ok(map)
    }

    /// The map of a file that was made or opened.
    pub(crate) fn adopt_map(&self, def: MapDef, made: (Box<dyn MapOps>, Option<MapFile>)) -> Arc<Map> {
        let id = self.control().next_id();
        let budget = Arc::clone(&self.budget);
        let map = Arc::new(Map::of(id, def, self.of_maps(), budget, MapSource::default(), made));
        self.control().register(&map);
        map
    }

    /// What maps know of their runtime.
    fn of_maps(&self) -> (Arc<Slots>, Weak<Inner>) {
        (Arc::clone(&self.slots), Weak::clone(&self.this))
    }

    /// What the maps take up.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Makes a program of what the verifier accepted. Its variant is chosen under the control lock, so that an attach that
    /// is under way at the time either finds it or is found by it.
    pub(crate) fn create_program(&self, parts: ProgramParts) -> Result<Arc<Program>, BuildError> {
        let place = (self.control().next_id(), self.slots.runtime(), self.slots.count());
        let program = Arc::new(Program::new(
            place,
            Arc::clone(&self.engine),
            Arc::clone(&self.shared),
            parts,
        )?);
        program.set_itself(&program);
        let mut control = self.control();
        control.choose_variant(&program)?;
        control.programs.retain(|known| known.strong_count() > 0);
        control.programs.push(Arc::downgrade(&program));
        Ok(program)
    }

    /// Publishes what the links say now, then frees what was published before.
    pub(crate) fn republish(&self, control: MutexGuard<'_, Control>) -> Result<(), SyncError> {
        let before = self.slots.publish(control.snapshot());
        drop(control);
        self.free_later(before)
    }

    /// Waits until nothing runs that does not know of a change of what is attached.
    pub(crate) fn wait_for_change(&self) -> Result<(), SyncError> {
        self.slots.wait_for_change(GRACE_TIMEOUT)
    }

    /// Frees what was unpublished, after a grace period. If a run does not end, it is never freed: better than to hang, or to
    /// free what is in use.
    pub(crate) fn free_later<T>(&self, unpublished: T) -> Result<(), SyncError> {
        match self.wait_for_change() {
            #[cfg(hitless_model)]
            Ok(()) if crate::model::fault(crate::model::Fault::NoAttachGrace) => {
                std::mem::forget(unpublished);
                Ok(())
            }
            Ok(()) => {
                drop(unpublished);
                Ok(())
            }
            Err(error) => {
                std::mem::forget(unpublished);
                Err(error)
            }
        }
    }

    /// Undoes whatever a link attached. Does nothing if the link is gone.
    pub(crate) fn detach(&self, id: u32) -> Result<(), SyncError> {
        self.check_waitable()?;
        let mut control = self.control();
        match control.links.remove(&id) {
            None => Ok(()),
            Some(Attachment::Trace { map, .. }) => self.detach_tracer(control, id, &map),
            Some(extension @ Attachment::Extension { .. }) => self.detach_extension(control, id, extension),
            Some(iterator @ Attachment::Iter { .. }) => {
                // What it holds may take the lock when it goes.
                drop(control);
                drop(iterator);
                Ok(())
            }
            Some(Attachment::Hook { hook, .. }) => {
                control.hooks[hook].chain.remove(id);
                self.republish(control)
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if sys::forked() {
            return;
        }
        let links: Vec<u32> = self.control().links.keys().copied().collect();
        for link in links {
            // What cannot be detached, since a run does not end or this is a signal handler inside of one, is never freed.
            let _ = self.detach(link);
        }
        self.shared.stop_threads();
    }
}

impl Control {
    fn new() -> Control {
        Control {
            last_id: 0,
            sessions: 0,
            hooks: Vec::new(),
            types: Arc::clone(types::target()),
            described: Vec::new(),
            links: BTreeMap::new(),
            programs: Vec::new(),
            maps: BTreeMap::new(),
            maps_limit: 0,
            graph: TraceGraph::default(),
            upgrading: false,
        }
    }

    /// The hook with this context and name, if it was asked for.
    pub(crate) fn known_hook<C: Context>(&self, name: &str) -> Option<(usize, Arc<str>)> {
        let is_it = |hook: &HookEntry| hook.section == C::SECTION && *hook.name == *name;
        let index = self.hooks.iter().position(is_it)?;
        Some((index, Arc::clone(&self.hooks[index].name)))
    }

    /// The hook with this context and name, made when it is first asked for.
    pub(crate) fn hook_index<C: Context>(&mut self, name: &str) -> usize {
        match self.known_hook::<C>(name) {
            Some((index, _)) => index,
            None => self.add_hook::<C>(name),
        }
    }

    fn add_hook<C: Context>(&mut self, name: &str) -> usize {
        let is_host = C::KINDS.contains(&ProgramKind::Hook);
        let host = is_host.then(|| Host {
            describe: C::describe,
            writable: C::WRITABLE,
            facts: context::facts(C::describe, C::WRITABLE),
        });
        self.hooks.push(HookEntry {
            section: C::SECTION,
            name: name.into(),
            kinds: C::KINDS,
            chain: Chain::default(),
            context: TypeId::of::<C>(),
            host,
        });
        if is_host {
            self.make_types();
        }
        self.hooks.len() - 1
    }

    /// Makes the types that programs are relocated against anew, of all that the host has described.
    fn make_types(&mut self) {
        let hosts = self.hooks.iter();
        let hosts = hosts.filter_map(|hook| Some((hook, hook.host.as_ref()?)));
        let hosts = hosts.map(|(hook, host)| (&*hook.name, host.describe, host.writable));
        self.types = types::with(hosts, &self.described);
    }

    pub(crate) fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// The number of an iterator.
    pub(crate) fn next_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    /// The programs at every hook, as the links say.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let programs = |hook: &HookEntry| {
            let members = hook.chain.members().iter();
            members.filter_map(|member| self.attached(member.link)).collect()
        };
        Snapshot {
            hooks: self.hooks.iter().map(programs).collect(),
            traced: self.traced_maps(),
        }
    }

    fn attached(&self, link: u32) -> Option<Attached> {
        match self.links.get(&link)? {
            Attachment::Hook { program, cookie, .. } => Some(Attached {
                program: Arc::clone(program),
                cookie: *cookie,
            }),
            Attachment::Extension { .. } | Attachment::Trace { .. } | Attachment::Iter { .. } => None,
        }
    }

    /// The program that a link attaches to a hook, or to another program, or that walks something.
    pub(crate) fn program_of(&self, link: u32) -> Option<&Arc<Program>> {
        match self.links.get(&link)? {
            Attachment::Hook { program, .. }
            | Attachment::Extension { program, .. }
            | Attachment::Iter { program, .. } => Some(program),
            Attachment::Trace { .. } => None,
        }
    }

    /// The hook that a program's section names.
    pub(crate) fn hook_of(&self, program: &Program) -> Result<usize, AttachError> {
        let (_, target) = hook_name(program.section());
        self.hook_for(program, target)
    }

    /// The hook for a program that has this name; the only one if no name is given.
    pub(crate) fn hook_for(&self, program: &Program, target: Option<&str>) -> Result<usize, AttachError> {
        let (section, _) = hook_name(program.section());
        let fits = |hook: &HookEntry| {
            hook.section == section
                && hook.takes(program.program_type())
                && target.is_none_or(|target| *target == *hook.name)
        };
        let mut found = (0..).zip(&self.hooks).filter(|(_, hook)| fits(hook));
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Ok(index),
            (first, _) => Err(AttachError::NoHook {
                program: program.name().to_owned(),
                section: program.section().to_owned(),
                found: if first.is_some() { "several hooks" } else { "no hook" },
            }),
        }
    }

    /// Every program that is still held by someone.
    pub(crate) fn live_programs(&self) -> impl Iterator<Item = Arc<Program>> {
        self.programs.iter().filter_map(Weak::upgrade)
    }

    pub(crate) fn hook_name(&self, hook: usize) -> &str {
        &self.hooks[hook].name
    }
}
