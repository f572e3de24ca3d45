//! Contexts made of the arguments of what a program is attached to: functions, typed tracepoints, iterators, security hooks,
//! functions of structs. Each argument takes a slot of 8 bytes, or several if it is a struct; after those of a function comes
//! its result, where there is one already.
//!
//! What an argument is says its type: a pointer to a struct is an object, other pointers and everything that fits in a
//! slot are numbers. Found by loading every argument of every typed tracepoint and iterator of Linux 6.18.

use hitless_btf::{Btf, FuncProto, Kind, Param, Type, TypeId};
use thiserror::Error;

use super::nullable::NULLABLE;
use super::{of, typed};
use crate::facts::{ContextFacts, ContextFieldKind, ObjectPointer, ObjectType, ProgramKind, Trust, WritableMember};
use crate::tables::map_trace;

/// The most slots that a context has.
const MAX_SLOTS: usize = 12;

/// The name of the slot behind the arguments. No argument has it.
const RESULT: &str = "return value";

/// Why there is no context for a program.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The program has the context of the program that it replaces part of.
    #[error("a {section} program has the context of what it replaces")]
    Replacement {
        /// The section of such programs.
        section: &'static str,
    },
    /// It does not say what it is attached to.
    #[error("a {section} program needs the name of what it is attached to: SEC(\"{section}/NAME\")")]
    Unnamed {
        /// The section of such programs.
        section: &'static str,
    },
    /// The host has no types.
    #[error("a {section} program needs the types of the host (BTF)")]
    NoTypes {
        /// The section of such programs.
        section: &'static str,
    },
    /// The host's types do not have what it is attached to.
    #[error("the host has no {what} {name}")]
    Unknown {
        /// What it would be.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The host does not let programs implement it, or not programs that may sleep.
    #[error("attach to unsupported member {member} of struct {owner}")]
    UnsupportedMember {
        /// The struct.
        owner: String,
        /// Its member.
        member: String,
    },
    /// What it is attached to has more arguments than a context holds.
    #[error("{name} takes {slots} slots of arguments, at most {MAX_SLOTS} are possible")]
    TooLarge {
        /// Its name.
        name: String,
        /// How many there are.
        slots: usize,
    },
}

/// Members of structs of functions that Linux has no programs for.
const UNSUPPORTED: [(&str, &str); 1] = [("tcp_congestion_ops", "get_info")];

/// Members of structs of functions that may sleep, of the structs in which others may not.
const SLEEPABLE: [(&str, &str); 1] = [("bpf_dummy_ops", "test_sleepable")];

/// Whether Linux has programs for a member of a struct of functions.
#[must_use]
pub fn is_supported_member(owner: &str, member: &str, sleepable: bool) -> bool {
    let may_not_sleep = SLEEPABLE.iter().any(|(found, _)| *found == owner) && !SLEEPABLE.contains(&(owner, member));
    !(UNSUPPORTED.contains(&(owner, member)) || sleepable && may_not_sleep)
}

/// The context of a program: what `r1` points to on entry.
///
/// `attach` is what it is attached to, as its section says behind the slash: a function, a typed tracepoint (without
/// `btf_trace_`), an iterator (without `bpf_iter_`), a security hook (without `bpf_lsm_`), a member of a struct of functions as
/// `STRUCT.MEMBER`. It is looked up in `btf`, the types of the host. Programs whose context is always the same need
/// neither.
///
/// # Errors
/// [`ContextError`] if there is no such context.
///
/// # Examples
/// ```
/// use hitless_verifier::ProgramKind;
/// use hitless_verifier::tables::program_types::{ContextError, context_for};
///
/// assert_eq!(context_for(ProgramKind::Xdp, None, None)?.name, "xdp_md");
/// let unnamed = context_for(ProgramKind::Fentry, None, None).unwrap_err();
/// assert_eq!(unnamed, ContextError::Unnamed { section: "fentry" });
/// # Ok::<(), ContextError>(())
/// ```
pub fn context_for(kind: ProgramKind, attach: Option<&str>, btf: Option<&Btf>) -> Result<ContextFacts, ContextError> {
    let section = of(kind).section;
    if let Some(context) = super::context(kind) {
        return Ok(context);
    }
    if kind == ProgramKind::Ext {
        return Err(ContextError::Replacement { section });
    }
    if kind == ProgramKind::Netfilter {
        return netfilter(btf.ok_or(ContextError::NoTypes { section })?);
    }
    let name = attach.ok_or(ContextError::Unnamed { section })?;
    if kind == ProgramKind::MapTrace {
        return map_trace(name);
    }
    let btf = btf.ok_or(ContextError::NoTypes { section })?;
    let target = target(kind, name, btf).ok_or_else(|| ContextError::Unknown {
        what: what(kind),
        name: name.to_owned(),
    })?;
    let arguments = slots(kind, name, &target, btf);
    if arguments.len() > MAX_SLOTS {
        let (name, slots) = (name.to_owned(), arguments.len());
        return Err(ContextError::TooLarge { name, slots });
    }
    let kinds: Vec<(&str, ContextFieldKind)> = arguments.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut context = typed(kind, name, &kinds);
    let is_void = matches!(btf.resolve(target.proto.ret), Some((_, Type::Void)) | None);
    if is_void && matches!(kind, ProgramKind::StructOps | ProgramKind::Lsm) {
        context.return_range = None;
        context.returns_nothing = true;
    }
    if kind == ProgramKind::StructOps {
        context.writable = target.owner.map_or_else(Vec::new, |owner| writable(owner, btf));
    }
    Ok(context)
}

/// How many slots of the context of a program at a function are arguments: all but the result (`bpf_get_func_arg_cnt`).
#[must_use]
pub fn argument_count(context: &ContextFacts) -> usize {
    context.fields.iter().filter(|field| field.name != RESULT).count()
}

/// `name` is that of the event, in lower case.
fn map_trace(name: &str) -> Result<ContextFacts, ContextError> {
    let mut events = map_trace::EVENTS.iter();
    let found = events.find(|event| event.name.eq_ignore_ascii_case(name));
    found.map(map_trace::Event::facts).ok_or_else(|| ContextError::Unknown {
        what: what(ProgramKind::MapTrace),
        name: name.to_owned(),
    })
}

/// `struct bpf_nf_ctx`: two objects, wherever the program is attached.
fn netfilter(btf: &Btf) -> Result<ContextFacts, ContextError> {
    let object = |name: &str| {
        let ty = btf.find(Kind::Struct, name).ok_or_else(|| ContextError::Unknown {
            what: "struct",
            name: name.to_owned(),
        })?;
        Ok(ContextFieldKind::Object(ObjectPointer {
            ty: ObjectType::Btf(ty),
            trust: Trust::Trusted,
            nullable: false,
        }))
    };
    let arguments = [("state", object("nf_hook_state")?), ("skb", object("sk_buff")?)];
    Ok(typed(ProgramKind::Netfilter, "bpf_nf_ctx", &arguments))
}

/// What programs of a kind are attached to, in words.
fn what(kind: ProgramKind) -> &'static str {
    match kind {
        ProgramKind::TpBtf => "typed tracepoint",
        ProgramKind::Iter => "iterator",
        ProgramKind::Lsm | ProgramKind::LsmCgroup => "security hook",
        ProgramKind::StructOps => "function of a struct",
        ProgramKind::MapTrace => "event of maps",
        _ => "function",
    }
}

/// What a program is attached to.
struct Target<'b> {
    proto: &'b FuncProto,
    /// The arguments that programs see.
    params: &'b [Param],
    /// The same as a function that carries marks in the names of its parameters, if there is one.
    marked: Option<&'b FuncProto>,
    /// The struct that the function belongs to.
    owner: Option<&'b str>,
}

fn target<'b>(kind: ProgramKind, name: &'b str, btf: &'b Btf) -> Option<Target<'b>> {
    let plain = |proto: &'b FuncProto, skipped: usize| {
        Some(Target {
            proto,
            params: proto.params.get(skipped..)?,
            marked: None,
            owner: None,
        })
    };
    match kind {
        // The first parameter is the tracepoint's own.
        ProgramKind::TpBtf => {
            let id = btf.find(Kind::Typedef, &format!("btf_trace_{name}"))?;
            plain(pointed_to(btf, id)?, 1)
        }
        ProgramKind::Iter => plain(function(btf, &format!("bpf_iter_{name}"))?, 0),
        ProgramKind::Lsm | ProgramKind::LsmCgroup => plain(function(btf, &format!("bpf_lsm_{name}"))?, 0),
        ProgramKind::StructOps => {
            let (owner, member) = name.split_once('.')?;
            let members = btf.members(btf.find(Kind::Struct, owner)?);
            let proto = pointed_to(btf, members.iter().find(|found| found.name == *member)?.ty)?;
            Some(Target {
                proto,
                params: &proto.params,
                marked: function(btf, &format!("{owner}__{member}")),
                owner: Some(owner),
            })
        }
        _ => plain(function(btf, name)?, 0),
    }
}

fn function<'b>(btf: &'b Btf, name: &str) -> Option<&'b FuncProto> {
    match btf.get(btf.find(Kind::Func, name)?)? {
        Type::Func(func) => prototype(btf, func.proto),
        _ => None,
    }
}

fn prototype(btf: &Btf, id: TypeId) -> Option<&FuncProto> {
    match btf.resolve(id)?.1 {
        Type::FuncProto(proto) => Some(proto),
        _ => None,
    }
}

/// The function that a pointer points to.
fn pointed_to(btf: &Btf, id: TypeId) -> Option<&FuncProto> {
    match btf.resolve(id)?.1 {
        Type::Ptr(to) => prototype(btf, *to),
        _ => None,
    }
}

/// The slots of a context, with the names of the arguments.
fn slots(kind: ProgramKind, name: &str, target: &Target<'_>, btf: &Btf) -> Vec<(String, ContextFieldKind)> {
    let mut slots = Vec::new();
    for (index, param) in target.params.iter().enumerate() {
        let marks = target.marked.and_then(|proto| proto.params.get(index));
        let marks = marks.map_or("", |param| param.name.as_str());
        let argument = Argument {
            hook: name,
            owner: target.owner,
            index,
            marks,
        };
        let size = match btf.resolve(param.ty) {
            Some((_, Type::Struct(_) | Type::Union(_))) => btf.size_of(param.ty).unwrap_or(8),
            _ => 8,
        };
        let yields = argument.kind(kind, param.ty, btf);
        for _ in 0..size.div_ceil(8).max(1) {
            slots.push((param.name.to_string(), yields));
        }
    }
    let is_void = matches!(btf.resolve(target.proto.ret), Some((_, Type::Void)) | None);
    if matches!(kind, ProgramKind::Fexit | ProgramKind::FmodRet | ProgramKind::Lsm) && !is_void {
        let yields = value(target.proto.ret, btf, plain);
        slots.push((RESULT.to_owned(), yields));
    }
    slots
}

/// An argument of what a program is attached to.
struct Argument<'a> {
    hook: &'a str,
    owner: Option<&'a str>,
    index: usize,
    /// The name that carries marks.
    marks: &'a str,
}

impl Argument<'_> {
    fn kind(&self, kind: ProgramKind, ty: TypeId, btf: &Btf) -> ContextFieldKind {
        let pointer = |trust, nullable| move |ty| ObjectPointer { ty, trust, nullable };
        match kind {
            ProgramKind::TpBtf => {
                let nullable = NULLABLE.binary_search(&(self.hook, self.index)).is_ok();
                value(ty, btf, pointer(Trust::Trusted, nullable))
            }
            ProgramKind::Iter => self.of_iterator(ty, btf),
            ProgramKind::StructOps if self.marks.ends_with("__ref") => {
                ContextFieldKind::Unsupported("arguments that a program owns")
            }
            ProgramKind::StructOps => {
                let nullable = self.marks.ends_with("__nullable");
                let mut kind = value(ty, btf, pointer(Trust::Trusted, nullable));
                if let (Some("tcp_congestion_ops"), ContextFieldKind::Object(object)) = (self.owner, &mut kind) {
                    tcp_socket(object, btf);
                }
                kind
            }
            ProgramKind::Lsm | ProgramKind::LsmCgroup => value(ty, btf, pointer(security_trust(self.hook), false)),
            _ => value(ty, btf, plain),
        }
    }

    /// Iterators give NULL at the end of what they go through.
    fn of_iterator(&self, ty: TypeId, btf: &Btf) -> ContextFieldKind {
        let (trust, nullable) = match (self.hook, self.index) {
            (_, 0) | ("bpf_map_elem" | "bpf_sk_storage_map" | "sockmap", 1) => (Trust::Trusted, false),
            ("bpf_map" | "cgroup" | "kmem_cache" | "task" | "tcp" | "udp", 1) => (Trust::Trusted, true),
            _ => (Trust::Plain, true),
        };
        match (self.hook, pointee(ty, btf)) {
            // Keys come first, and are the map's.
            ("bpf_map_elem" | "bpf_sk_storage_map" | "sockmap", Some(Type::Void)) => ContextFieldKind::Buffer {
                writable: (self.hook, self.index) != ("bpf_map_elem", 2) && self.hook != "sockmap",
            },
            _ => value(ty, btf, |ty| ObjectPointer { ty, trust, nullable }),
        }
    }
}

/// Members of `struct sock`, `inet_connection_sock` and `tcp_sock` that congestion control may write. Found by writing every
/// byte of a `tcp_sock` on Linux 6.18.
const CONGESTION_CONTROL: [(&str, &str, Option<&str>); 10] = [
    ("sock", "sk_pacing_status", None),
    ("sock", "sk_pacing_rate", None),
    ("inet_connection_sock", "icsk_ack", Some("pending")),
    ("inet_connection_sock", "icsk_ca_priv", None),
    ("tcp_sock", "snd_cwnd", None),
    ("tcp_sock", "snd_ssthresh", None),
    ("tcp_sock", "ecn_flags", None),
    ("tcp_sock", "app_limited", None),
    ("tcp_sock", "snd_cwnd_cnt", None),
    ("tcp_sock", "snd_cwnd_stamp", None),
];

/// What programs that implement this struct may write.
fn writable(owner: &str, btf: &Btf) -> Vec<WritableMember> {
    let Some(tcp) = btf
        .find(Kind::Struct, "tcp_sock")
        .filter(|_| owner == "tcp_congestion_ops")
    else {
        return Vec::new();
    };
    // A socket of TCP begins with the others.
    let found = CONGESTION_CONTROL.iter().filter_map(|(owner, name, inner)| {
        let (mut off, mut ty) = member(btf, btf.find(Kind::Struct, owner)?, name)?;
        if let Some(inner) = inner {
            let (inner_off, inner_ty) = member(btf, ty, inner)?;
            (off, ty) = (off + inner_off, inner_ty);
        }
        Some(WritableMember {
            ty: tcp,
            off,
            size: btf.size_of(ty)?,
            within: matches!(btf.resolve(ty), Some((_, Type::Array(_)))),
        })
    });
    found.collect()
}

/// Where a member of a struct lies, also if it is in a struct without a name, and its type.
fn member(btf: &Btf, owner: TypeId, name: &str) -> Option<(u32, TypeId)> {
    let (owner, _) = btf.resolve(owner)?;
    btf.members(owner).iter().find_map(|found| {
        let off = found.bit_offset / 8;
        if found.name == *name {
            return Some((off, found.ty)).filter(|_| found.bit_offset % 8 == 0 && found.bitfield_size == 0);
        }
        let inner = found.name.is_empty().then(|| member(btf, found.ty, name)).flatten();
        inner.map(|(inner, ty)| (off + inner, ty))
    })
}

/// A pointer of which nothing is known.
fn plain(ty: ObjectType) -> ObjectPointer {
    ObjectPointer {
        ty,
        trust: Trust::Plain,
        nullable: false,
    }
}

/// Hooks get objects that are there, but where these are being made or freed.
fn security_trust(hook: &str) -> Trust {
    let incomplete = ["_free", "_free_security", "_alloc_security"];
    if incomplete.iter().any(|end| hook.ends_with(end)) {
        Trust::Plain
    } else {
        Trust::Trusted
    }
}

/// Congestion control is given sockets of TCP.
fn tcp_socket(object: &mut ObjectPointer, btf: &Btf) {
    if let ObjectType::Btf(id) = object.ty
        && btf.get(id).is_some_and(|ty| ty.name() == "sock")
        && let Some(tcp) = btf.find(Kind::Struct, "tcp_sock")
    {
        object.ty = ObjectType::Btf(tcp);
    }
}

/// What a pointer points to.
fn pointee(ty: TypeId, btf: &Btf) -> Option<&Type> {
    match btf.resolve(ty)?.1 {
        Type::Ptr(to) => Some(btf.resolve(*to)?.1),
        _ => None,
    }
}

/// What a load of a value of type `ty` yields, where `pointer` says what pointers to objects are.
fn value(ty: TypeId, btf: &Btf, pointer: impl Fn(ObjectType) -> ObjectPointer) -> ContextFieldKind {
    match btf.resolve(ty) {
        Some((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Struct(_) | Type::Union(_))) => {
            ContextFieldKind::Scalar
        }
        Some((_, Type::Ptr(to))) => match btf.resolve(*to) {
            Some((id, Type::Struct(_) | Type::Union(_))) => ContextFieldKind::Object(pointer(ObjectType::Btf(id))),
            Some((_, Type::Void | Type::Int(_))) => ContextFieldKind::Scalar,
            _ => ContextFieldKind::Unsupported("pointers to other than structs"),
        },
        _ => ContextFieldKind::Unsupported("arguments that are neither numbers nor pointers"),
    }
}
