//! Links: what attaches programs to hooks of the host, and to maps.
//!
//! Hooks here have names, where Linux has devices and functions:
//!
//! - Programs for functions, typed tracepoints, security hooks and hooks of the host are attached to the hook that they were loaded
//!   for.
//! - XDP and tc programs are attached to devices by number. Which hooks a number stands for the host says ([`Bpf::set_device`](crate::Bpf::set_device)); if
//!   it says nothing, it stands for the only hook for such programs that there is.
//! - Programs that trace maps are attached to the map whose descriptor is the target.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hitless::{AttachError, AttachMode, AttachOptions, Beside, Link, Place, Program, ProgramKind, Runtime};
use hitless_btf::{Type, TypeId};
use hitless_verifier::tables::program_types;
use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;
use crate::object::Object;

const PROG_FD: Field<u32> = Field::at(0);
const TARGET: Field<u32> = Field::at(4);
const ATTACH_TYPE: Field<u32> = Field::at(8);
const FLAGS: Field<u32> = Field::at(12);
const TARGET_BTF_ID: Field<u32> = Field::at(16);
const COOKIE: Field<u64> = Field::at(24);
const RELATIVE: Field<u32> = Field::at(16);
const EXPECTED_REVISION: Field<u64> = Field::at(24);

const LINK_FD: Field<u32> = Field::at(0);
const NEW_PROG_FD: Field<u32> = Field::at(4);
const UPDATE_FLAGS: Field<u32> = Field::at(8);
const OLD_PROG_FD: Field<u32> = Field::at(12);

/// `BPF_XDP`.
const XDP: u32 = 37;
/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
pub(crate) const TCX_INGRESS: u32 = 46;
pub(crate) const TCX_EGRESS: u32 = 47;

pub(crate) const F_REPLACE: u32 = 1 << 2;
const F_BEFORE: u32 = 1 << 3;
const F_AFTER: u32 = 1 << 4;
const F_ID: u32 = 1 << 5;
const F_LINK: u32 = 1 << 13;
/// What says where in an order a program is put.
pub(crate) const PLACES: u32 = F_BEFORE | F_AFTER | F_ID | F_LINK;

/// A link: one that a caller has made, and that ends with its last descriptor, or one of the host's.
#[derive(Debug)]
pub(crate) struct OpenLink {
    pub(crate) id: u32,
    pub(crate) attach_type: u32,
    /// The number of the device, if it is to one.
    pub(crate) device: u32,
    /// `None` for one of the host's.
    _link: Option<Link>,
}

/// The links that callers have made, by id, and which hooks devices stand for.
#[derive(Debug, Default)]
pub(crate) struct Links {
    made: Mutex<BTreeMap<u32, Weak<OpenLink>>>,
    devices: Mutex<BTreeMap<u32, DeviceHooks>>,
    /// What attaches programs without a descriptor.
    kept: Mutex<BTreeMap<Attached, Link>>,
}

/// A program that is attached without a descriptor: attach type, device, program.
type Attached = (u32, u32, u32);

impl Links {
    fn add(&self, link: &Arc<OpenLink>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, link| link.strong_count() > 0);
        made.insert(link.id, Arc::downgrade(link));
    }

    /// The link with an id: also one of the host's, which a descriptor does not keep.
    pub(crate) fn by_id(&self, runtime: &Runtime, id: u32) -> Option<Arc<OpenLink>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = made.get(&id).and_then(Weak::upgrade) {
            return Some(link);
        }
        drop(made);
        let program = runtime.link_info(id)?.program_id;
        let kind = program
            .and_then(|id| runtime.program_by_id(id))
            .map(|program| program.program_type().kind());
        Some(Arc::new(OpenLink {
            id,
            attach_type: kind.and_then(|kind| attach_types(kind).first()).copied().unwrap_or(0),
            device: 0,
            _link: None,
        }))
    }

    pub(crate) fn set_device(&self, device: u32, hooks: DeviceHooks) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.insert(device, hooks);
    }

    /// The name of the hook that a device has for programs of an attach type, if the host has said which.
    pub(crate) fn hook_name(&self, device: u32, attach_type: u32) -> Option<String> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.get(&device)?.name(attach_type).map(str::to_owned)
    }

    /// Keeps what attaches a program until somebody detaches it, in place of what it has replaced.
    pub(crate) fn keep(&self, key: Attached, link: Link, replaced: Option<u32>) {
        let mut kept = self.kept();
        let replaced = replaced.and_then(|program| kept.remove(&(key.0, key.1, program)));
        kept.insert(key, link);
        drop(kept);
        drop(replaced);
    }

    pub(crate) fn release(&self, key: Attached) -> Option<Link> {
        self.kept().remove(&key)
    }

    pub(crate) fn is_kept(&self, key: Attached) -> bool {
        self.kept().contains_key(&key)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Attached, Link>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hooks of a device.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeviceHooks {
    /// For XDP programs.
    pub xdp: Option<String>,
    /// For tc programs of packets that come in.
    pub ingress: Option<String>,
    /// For tc programs of packets that go out.
    pub egress: Option<String>,
}

impl DeviceHooks {
    fn name(&self, attach_type: u32) -> Option<&str> {
        match attach_type {
            XDP => self.xdp.as_deref(),
            TCX_INGRESS => self.ingress.as_deref(),
            _ => self.egress.as_deref(),
        }
    }
}

pub(crate) fn errno(error: &AttachError) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

/// Attaches a program.
pub(crate) fn create(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let program = call.program(attr.get(PROG_FD))?;
    let attach_type = attr.get(ATTACH_TYPE);
    let runtime = call.bpf.runtime();
    let kind = program.program_type().kind();
    let expects = |types: &[u32]| {
        if types.contains(&attach_type) {
            Ok(())
        } else {
            Err(Errno::INVAL)
        }
    };
    let made = match kind {
        ProgramKind::Xdp | ProgramKind::Tc => {
            let options = match kind {
                ProgramKind::Xdp => exclusive(attr.get(FLAGS))?,
                _ => in_chain(call, attr.get(FLAGS), attr.get(RELATIVE), attr.get(EXPECTED_REVISION))?,
            };
            attach_to_device(call, &program, (attach_type, attr.get(TARGET)), &options)
        }
        ProgramKind::MapTrace => {
            expects(attach_types(kind))?;
            no_flags(attr.get(FLAGS))?;
            let open = call.open_map(attr.get(TARGET))?;
            runtime.trace_map(open.map(), &program).map_err(|error| errno(&error))
        }
        ProgramKind::Ext => {
            expects(&[0])?;
            no_flags(attr.get(FLAGS))?;
            extend(call, &program)
        }
        _ if is_for_one_place(kind) => {
            expects(attach_types(kind))?;
            no_flags(attr.get(FLAGS))?;
            // What they are attached to was said when they were loaded.
            if attr.get(TARGET) != 0 || attr.get(TARGET_BTF_ID) != 0 {
                return Err(Errno::INVAL);
            }
            let options = AttachOptions {
                cookie: attr.get(COOKIE),
                ..AttachOptions::default()
            };
            let name = program.program_type().target();
            runtime
                .attach_by_name(name, &program, &options)
                .map_err(|error| errno(&error))
        }
        _ => Err(Errno::INVAL),
    };
    let device = if matches!(kind, ProgramKind::Xdp | ProgramKind::Tc) {
        attr.get(TARGET)
    } else {
        0
    };
    open(call, made?, attach_type, device)
}

/// Puts an extension in the place of a function: the one that it was loaded for, or one of another program.
fn extend(call: &Call<'_>, program: &Arc<Program>) -> Result<Link, Errno> {
    let runtime = call.bpf.runtime();
    let made = match (call.attr.get(TARGET), call.attr.get(TARGET_BTF_ID)) {
        (0, 0) => runtime.attach_extension(program),
        (0, _) | (_, 0) => return Err(Errno::INVAL),
        (fd, id) => {
            let target = call.program(fd)?;
            let function = target.btf().and_then(|types| types.get(TypeId(id)));
            let Some(Type::Func(function)) = function else {
                return Err(Errno::INVAL);
            };
            runtime.attach_extension_to(program, &target, &function.name)
        }
    };
    made.map_err(|error| errno(&error))
}

pub(crate) fn open(call: &Call<'_>, link: Link, attach_type: u32, device: u32) -> Result<u32, Errno> {
    let open = Arc::new(OpenLink {
        id: link.id(),
        attach_type,
        device,
        _link: Some(link),
    });
    call.bpf.links.add(&open);
    call.open(Object::Link(open))
}

pub(crate) fn attach_types(kind: ProgramKind) -> &'static [u32] {
    program_types::of(kind).attach_types
}

/// Whether such programs are loaded for the one hook that they can be attached to.
pub(crate) fn is_for_one_place(kind: ProgramKind) -> bool {
    matches!(
        kind,
        ProgramKind::Fentry
            | ProgramKind::Fexit
            | ProgramKind::FmodRet
            | ProgramKind::TpBtf
            | ProgramKind::Lsm
            | ProgramKind::Hook
    )
}

fn no_flags(flags: u32) -> Result<(), Errno> {
    if flags == 0 { Ok(()) } else { Err(Errno::INVAL) }
}

/// How XDP programs are attached: one at a device. In which mode of the device there is nothing to say here.
fn exclusive(flags: u32) -> Result<AttachOptions, Errno> {
    const MODES: u32 = 2 | 4 | 8;
    if flags & !MODES != 0 || (flags & MODES).count_ones() > 1 {
        return Err(Errno::INVAL);
    }
    Ok(AttachOptions {
        mode: AttachMode::Exclusive,
        ..AttachOptions::default()
    })
}

/// Attaches an XDP or tc program to the hook that the number of a device stands for.
pub(crate) fn attach_to_device(
    call: &Call<'_>,
    program: &Arc<Program>,
    (attach_type, device): (u32, u32),
    options: &AttachOptions,
) -> Result<Link, Errno> {
    let expected: &[u32] = match program.program_type().kind() {
        ProgramKind::Xdp => &[XDP],
        ProgramKind::Tc => &[TCX_INGRESS, TCX_EGRESS],
        _ => &[],
    };
    if !expected.contains(&attach_type) {
        return Err(Errno::INVAL);
    }
    let name = call.bpf.links.hook_name(device, attach_type);
    let made = call.bpf.runtime().attach_by_name(name.as_deref(), program, options);
    made.map_err(|error| match error {
        AttachError::NoHook { .. } => Errno::NODEV,
        error => errno(&error),
    })
}

/// Where in the order of tc programs one is put.
pub(crate) fn in_chain(call: &Call<'_>, flags: u32, relative: u32, revision: u64) -> Result<AttachOptions, Errno> {
    if flags & !PLACES != 0 {
        return Err(Errno::INVAL);
    }
    let beside = match (flags & F_ID != 0, flags & F_LINK != 0) {
        _ if relative == 0 && flags & (F_ID | F_LINK) == 0 => None,
        (true, true) => Some(Beside::Link(relative)),
        (true, false) => Some(Beside::Program(relative)),
        (false, true) => Some(Beside::Link(call.link(relative)?.id)),
        (false, false) => Some(Beside::Program(call.program(relative)?.id())),
    };
    let place = match (flags & F_BEFORE != 0, flags & F_AFTER != 0, beside) {
        (false, false, None) | (false, true, None) => Place::Last,
        (true, false, None) => Place::First,
        (true, false, Some(beside)) => Place::Before(beside),
        (false, true, Some(beside)) => Place::After(beside),
        _ => return Err(Errno::INVAL),
    };
    Ok(AttachOptions {
        place,
        expected_revision: (revision != 0).then_some(revision),
        ..AttachOptions::default()
    })
}

/// Puts another program in the place of the one that a link attaches.
pub(crate) fn update(call: &Call<'_>) -> Result<u32, Errno> {
    let flags = call.attr.get(UPDATE_FLAGS);
    if flags & !F_REPLACE != 0 {
        return Err(Errno::INVAL);
    }
    let link = call.link(call.attr.get(LINK_FD))?;
    let new = call.program(call.attr.get(NEW_PROG_FD))?;
    let old = match (flags, call.attr.get(OLD_PROG_FD)) {
        (F_REPLACE, fd) => Some(call.program(fd)?),
        (_, 0) => None,
        _ => return Err(Errno::INVAL),
    };
    let updated = call.bpf.runtime().update_link(link.id, &new, old.as_ref());
    updated.map_err(|error| errno(&error))?;
    Ok(0)
}

/// Detaches what a link attaches, though whoever has descriptors of it keeps them.
pub(crate) fn detach(call: &Call<'_>) -> Result<u32, Errno> {
    let link = call.link(call.attr.get(LINK_FD))?;
    call.bpf
        .runtime()
        .detach_link(link.id)
        .map_err(AttachError::from)
        .map_err(|error| errno(&error))?;
    Ok(0)
}
