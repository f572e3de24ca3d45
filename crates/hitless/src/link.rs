//! Links: what attaches a program to a hook or to a map.

use std::sync::Arc;

use hitless_btf::TypeId;
use hitless_verifier::tables::map_trace;

use crate::chain::{AttachMode, Beside, MAX_PROGRAMS};
use crate::extension::ExtensionError;
use crate::program::{BuildError, Program};
use crate::run::SyncError;
use crate::runtime::{Attachment, Inner};
use crate::sys;
use crate::trace::TraceEvent;

/// An attachment, undone when the link is dropped: the program does not run any more once the drop returns, which waits for
/// runs that are active. Keep it as long as the program is to be attached, and give it a name for that: `let _ = ...` drops it
/// at once.
///
/// A link dropped from inside a run cannot wait: the program then stays attached until the runtime ends. In a forked child
/// a drop does nothing.
///
/// # Examples
/// ```
/// # use hitless::{Object, Packet, Runtime, Xdp, XdpAction};
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let runtime = Runtime::default();
/// let hook = runtime.hook::<Xdp>("xdp");
/// let object = Object::open("bpf/flows_v1.bpf.o")?.load(&runtime)?;
/// let link = runtime.attach(&hook, object.program("count_flows").unwrap())?;
/// hook.run(&mut Packet::new(&mut [0; 64]))?;
/// drop(link);
/// hook.run(&mut Packet::new(&mut [0; 64]))?;
/// assert_eq!(object.global::<u64>("packets_seen")?.get()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the program is detached when the link is dropped"]
pub struct Link {
    runtime: Arc<Inner>,
    id: u32,
}

impl Link {
    pub(crate) fn new(runtime: Arc<Inner>, id: u32) -> Link {
        Link { runtime, id }
    }

    pub(crate) fn runtime(&self) -> &Arc<Inner> {
        &self.runtime
    }

    /// The link's id, unique in its runtime.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the link attaches to what; `None` once it is detached.
    #[must_use]
    pub fn info(&self) -> Option<LinkInfo> {
        self.runtime.link_info(self.id)
    }

    /// The program that it attaches now: an upgrade, or [`update`](Self::update), changes that. None if it attaches none any
    /// more, or is a tracer's.
    #[must_use]
    pub fn program(&self) -> Option<Arc<Program>> {
        self.runtime.control().program_of(self.id).cloned()
    }

    /// Puts another program in the place of the one that is attached: every event meets the one or the other. The program is of
    /// the same type, and fits where the old one is.
    ///
    /// `expected` is the program that the caller thinks is attached: if it is another one, nothing happens.
    ///
    /// # Errors
    /// [`AttachError::Unexpected`]; [`AttachError::WrongType`]; and as for attaching the program.
    pub fn update(&self, program: &Arc<Program>, expected: Option<&Arc<Program>>) -> Result<(), AttachError> {
        self.runtime.update_link(self.id, program, expected)
    }

    /// Detaches; when it returns, the program no longer runs here.
    ///
    /// # Errors
    /// [`SyncError::Deadlock`] from inside a run, [`SyncError::NoMemory`] if it is an extension and the target cannot be compiled
    /// without it; then the program stays attached until the runtime ends.
    pub fn detach(self) -> Result<(), SyncError> {
        self.runtime.detach(self.id)
    }
}

/// What a link attaches (`bpf_link_info`).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LinkInfo {
    /// The program; `None` for what the runtime attaches by itself, such as a change feed.
    pub program_id: Option<u32>,
    /// What it is attached to.
    pub target: LinkTarget,
    /// What the program finds as `bpf_get_attach_cookie()`.
    pub cookie: u64,
}

/// What a program is attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkTarget {
    /// A hook, by its name.
    Hook(String),
    /// A function of another program, whose place the program takes (`BPF_LINK_TYPE_TRACING`).
    #[doc(alias = "BPF_LINK_TYPE_TRACING")]
    Function {
        /// The id of the other program (`target_obj_id`).
        program_id: u32,
        /// The function.
        function: String,
        /// The function in the BTF of that program's object (`target_btf_id`).
        btf_id: Option<TypeId>,
    },
    /// A map (`BPF_LINK_TYPE_MAP_TRACE`).
    #[doc(alias = "BPF_LINK_TYPE_MAP_TRACE")]
    Map {
        /// The map's id.
        id: u32,
        /// What the program waits for.
        event: Option<TraceEvent>,
    },
    /// What is walked (`BPF_LINK_TYPE_ITER`).
    #[doc(alias = "BPF_LINK_TYPE_ITER")]
    Iter {
        /// Its name: `bpf_map_elem`, `bpf_map`, `bpf_prog` or `bpf_link`.
        name: String,
        /// The id of the map, if its elements are.
        map: Option<u32>,
    },
}

impl LinkTarget {
    /// The number of the type of links to a map, among those of the kernel (`enum bpf_link_type`).
    pub const MAP_TRACE: u32 = map_trace::LINK_TYPE;
}

impl Drop for Link {
    fn drop(&mut self) {
        if sys::forked() {
            // The parent's business.
            return;
        }
        // A second detach finds nothing; one from inside a run is refused, which the docs of `detach` name.
        let _ = self.runtime.detach(self.id);
    }
}

impl Inner {
    pub(crate) fn link_info(&self, id: u32) -> Option<LinkInfo> {
        let control = self.control();
        let attachment = control.links.get(&id)?;
        let program_id = attachment.program().map(|program| program.id());
        let (target, cookie) = match attachment {
            Attachment::Hook { hook, cookie, .. } => (LinkTarget::Hook(control.hook_name(*hook).to_owned()), *cookie),
            Attachment::Extension { target, function, .. } => {
                let target = LinkTarget::Function {
                    program_id: target.id(),
                    function: function.name().to_owned(),
                    btf_id: function.ty(),
                };
                (target, 0)
            }
            Attachment::Trace { map, program } => {
                let event = program.as_ref().and_then(|program| program.program_type().event());
                (LinkTarget::Map { id: map.id(), event }, 0)
            }
            Attachment::Iter { program, map } => {
                let target = LinkTarget::Iter {
                    name: program.program_type().target().unwrap_or_default().to_owned(),
                    map: map.as_ref().map(|map| map.id()),
                };
                (target, 0)
            }
        };
        Some(LinkInfo {
            program_id,
            target,
            cookie,
        })
    }

    pub(crate) fn update_link(
        &self,
        id: u32,
        program: &Arc<Program>,
        expected: Option<&Arc<Program>>,
    ) -> Result<(), AttachError> {
        self.check_waitable()?;
        let mut control = self.control();
        let attachment = control.links.get(&id).cloned();
        let old = attachment.as_ref().and_then(Attachment::program);
        let (Some(attachment), Some(old)) = (&attachment, old) else {
            return Err(AttachError::Detached);
        };
        if let Some(expected) = expected.filter(|expected| expected.id() != old.id()) {
            return Err(AttachError::Unexpected {
                found: old.name().to_owned(),
                expected: expected.name().to_owned(),
            });
        }
        if program.program_type() != old.program_type() {
            return Err(AttachError::WrongType {
                program: program.name().to_owned(),
                found: program.program_type().to_string(),
                expected: old.program_type().to_string(),
            });
        }
        if program.runtime() != old.runtime() {
            return Err(AttachError::OtherRuntime {
                program: program.name().to_owned(),
            });
        }
        program.check_current()?;
        match attachment {
            Attachment::Trace { map, .. } => self.update_tracer(control, id, map, program),
            Attachment::Extension { .. } => self.update_extension(control, id, program),
            Attachment::Iter { map, .. } => {
                control.check_iterator(program, map.as_ref())?;
                let (program, map) = (Arc::clone(program), map.clone());
                control.links.insert(id, Attachment::Iter { program, map });
                Ok(())
            }
            Attachment::Hook { hook, cookie, .. } => {
                let (hook, cookie, program) = (*hook, *cookie, Arc::clone(program));
                let chain = &mut control.hooks[hook].chain;
                chain.check_exchange(id, program.id())?;
                chain.exchange(id, program.id());
                let attachment = Attachment::Hook { hook, program, cookie };
                control.links.insert(id, attachment);
                // If the grace period is overdue, the program is attached all the same.
                let _ = self.republish(control);
                Ok(())
            }
        }
    }
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// `-EINVAL`: the program is of another type.
    #[error("program {program} is of type {found}, expected {expected}")]
    WrongType {
        /// The program.
        program: String,
        /// Its type.
        found: String,
        /// What the place takes.
        expected: String,
    },
    /// `-EACCES`: the tracer or iterator accesses what is past the end of the map's key or value.
    #[error("program {program} accesses {extent} bytes of the {field}, but in map {map} it has {size}")]
    OutOfBounds {
        /// The program.
        program: String,
        /// The map.
        map: String,
        /// `key` or `value`.
        field: &'static str,
        /// How many bytes the program may access.
        extent: u32,
        /// How many there are.
        size: u32,
    },
    /// `-EINVAL`: the maps that the tracer may write lead back to the traced map.
    #[error("tracing map {map} with this program would loop: what it writes leads back to the map")]
    Loop {
        /// The map.
        map: String,
    },
    /// `-EINVAL`: maps of this type are not traced.
    #[error("map {map} is of type {kind}, which cannot be traced")]
    Untraceable {
        /// The map.
        map: String,
        /// Its type.
        kind: &'static str,
    },
    /// `-EBADF`: the program walks the elements of a map, and is given none ([`Runtime::attach_map_iter`]).
    ///
    /// [`Runtime::attach_map_iter`]: crate::Runtime::attach_map_iter
    #[error("program {program} walks the elements of a map, which has to be given")]
    NoMap {
        /// The program.
        program: String,
    },
    /// `-EINVAL`: the elements of such maps cannot be walked.
    #[error("map {map} is of type {kind}, whose elements no iterator walks")]
    NotWalked {
        /// The map.
        map: String,
        /// Its type.
        kind: &'static str,
    },
    /// `-EACCES`: the iterator's program writes values that it must not.
    #[error("program {program} writes values of map {map}, which {reason}")]
    ReadOnly {
        /// The program.
        program: String,
        /// The map.
        map: String,
        /// Why not.
        reason: &'static str,
    },
    /// `-EINVAL`: programs of iterators may not sleep.
    #[error("program {program} may sleep, which no iterator here allows: use SEC(\"iter/...\")")]
    Sleepable {
        /// The program.
        program: String,
    },
    /// `-EPERM`: the link attaches another program than the caller expects.
    #[error("the link attaches program {found}, expected {expected}")]
    Unexpected {
        /// What it attaches.
        found: String,
        /// What the caller expects.
        expected: String,
    },
    /// `-ENOLINK`: the link attaches no program any more.
    #[error("the link is detached")]
    Detached,
    /// `-E2BIG`: the map has as many tracers for this event as it may.
    #[error("map {map} has {limit} tracers for this event already")]
    TooMany {
        /// The map.
        map: String,
        /// The limit.
        limit: usize,
    },
    /// `-EINVAL`: the program, and what it is to be attached to, belong to different runtimes.
    #[error("program {program} belongs to another runtime than what it is to be attached to")]
    OtherRuntime {
        /// The program.
        program: String,
    },
    /// `-ESTALE`: the program writes a map whose content an upgrade has moved to another map.
    #[error("program {program} writes map {map}, which was replaced by an upgrade")]
    Migrated {
        /// The program.
        program: String,
        /// The map.
        map: String,
    },
    /// `-ESTALE`: what is attached has changed since the caller looked.
    #[error("the hook has revision {found}, expected {expected}")]
    Revision {
        /// The hook's.
        found: u64,
        /// The caller's.
        expected: u64,
    },
    /// `-ENOENT`: what the program was to be put beside, or in place of, is not at the hook.
    #[error("the hook has no {}", beside_name(*beside))]
    NotThere {
        /// What was named.
        beside: Beside,
    },
    /// `-EINVAL`: the mode has no places.
    #[error("programs cannot be put in places with mode {mode:?}")]
    Place {
        /// The mode.
        mode: AttachMode,
    },
    /// `-EPERM`: the programs at the hook share it in another way.
    #[error("the programs at the hook are attached with mode {found:?}, expected {expected:?}")]
    Mode {
        /// Theirs.
        found: AttachMode,
        /// That of the one to be attached.
        expected: AttachMode,
    },
    /// `-EBUSY`: the hook has a program already, and room for one only.
    #[error("the hook has a program already")]
    Occupied,
    /// `-EEXIST`, with [`AttachMode::Multi`] `-EINVAL`: the program is at the hook already.
    #[error("the program is at the hook already")]
    Twice {
        /// The mode.
        mode: AttachMode,
    },
    /// `-ERANGE`, with [`AttachMode::Multi`] `-E2BIG`: there are as many programs at the hook as there may be.
    #[error("the hook has {MAX_PROGRAMS} programs already")]
    Full {
        /// The mode.
        mode: AttachMode,
    },
    /// `-ENOENT`: a section does not say which hook is meant.
    #[error("program {program}: section {section}: {found} of this name and type, expected one")]
    NoHook {
        /// The program.
        program: String,
        /// Its section.
        section: String,
        /// What there is.
        found: &'static str,
    },
    /// `-EBUSY`: another extension takes the place of the function.
    #[error("program {program}: function {function} is replaced already")]
    Extended {
        /// The target.
        program: String,
        /// The function.
        function: String,
    },
    /// The program cannot take the place of the function ([`ExtensionError::errno`]).
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// The traced variant of a program that writes the map, or the program with its extension, could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// `-EDEADLK`: called from inside a run.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl AttachError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            AttachError::WrongType { .. }
            | AttachError::OtherRuntime { .. }
            | AttachError::Untraceable { .. }
            | AttachError::Loop { .. }
            | AttachError::NotWalked { .. }
            | AttachError::Sleepable { .. }
            | AttachError::Place { .. }
            | AttachError::Twice {
                mode: AttachMode::Multi,
            } => libc::EINVAL,
            AttachError::Migrated { .. } | AttachError::Revision { .. } => libc::ESTALE,
            AttachError::NotThere { .. } | AttachError::NoHook { .. } => libc::ENOENT,
            AttachError::Mode { .. } | AttachError::Unexpected { .. } => libc::EPERM,
            AttachError::Occupied | AttachError::Extended { .. } => libc::EBUSY,
            AttachError::Extension(source) => source.errno(),
            AttachError::Twice { .. } => libc::EEXIST,
            AttachError::Full {
                mode: AttachMode::Multi,
            } => libc::E2BIG,
            AttachError::Full { .. } => libc::ERANGE,
            AttachError::Detached => libc::ENOLINK,
            AttachError::OutOfBounds { .. } | AttachError::ReadOnly { .. } => libc::EACCES,
            AttachError::NoMap { .. } => libc::EBADF,
            AttachError::TooMany { .. } => libc::E2BIG,
            AttachError::Build(_) => libc::ENOTSUP,
            AttachError::Sync(SyncError::Deadlock) => libc::EDEADLK,
            AttachError::Sync(SyncError::TimedOut { .. }) => libc::ETIMEDOUT,
            AttachError::Sync(SyncError::NoMemory) => libc::ENOMEM,
        }
    }
}

fn beside_name(beside: Beside) -> String {
    match beside {
        Beside::Program(id) => format!("program {id}"),
        Beside::Link(id) => format!("link {id}"),
    }
}
