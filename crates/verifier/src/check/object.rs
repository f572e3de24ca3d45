//! Objects that have a type: loads from them, and arguments of helpers.

use hitless_btf::TypeId;
use hitless_isa::Reg;

use super::Context;
use super::call::wrong_type;
use super::memory::Bytes;
use crate::domain::object::{Object, Space};
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{HelperProto, KfuncProto, ObjectType, Region, RetType, Trust, WritableMember};
use crate::members;
use crate::requirements::Access;
use crate::tables::sockets;

/// A load may read the bytes of an object; nothing else may be done to them.
pub(super) fn accessible(
    cx: &Context<'_, '_>,
    bytes: &Bytes<'_>,
    object: Object,
    access: Access,
) -> Result<Region, Failure> {
    let (reg, off) = (bytes.reg, bytes.pointer.fixed + bytes.off);
    match object.ty {
        ObjectType::Btf(ty) => {
            let Some(types) = cx.program.input.types else {
                return bytes.fail(format!("R{reg} invalid mem access '{}'", object.name()));
            };
            let name = members::name(types, ty);
            if !cx.program.input.gpl_compatible {
                return bytes.fail(format!(
                    "Cannot access kernel 'struct {name}' from non-GPL compatible program"
                ));
            }
            let Some(off) = bytes.pointer.constant_offset().map(|at| at + bytes.off) else {
                let bits = bytes.pointer.var.bits;
                return bytes.fail(format!(
                    "R{reg} is ptr_{name} invalid variable offset: off={off}, var_off={bits}"
                ));
            };
            let Ok(start) = u32::try_from(off) else {
                return bytes.fail(format!("R{reg} is ptr_{name} invalid negative access: off={off}"));
            };
            match object.space {
                Space::Host => {}
                Space::User => return bytes.fail(format!("R{reg} is ptr_{name} access user memory: off={off}")),
                Space::PerCpu => return bytes.fail(format!("R{reg} is ptr_{name} access percpu memory: off={off}")),
            }
            if access.writes() {
                writable(cx, bytes, object, ty, start, name)?;
                return Ok(Region::Object);
            }
            if let Err(message) = members::at(types, ty, start, bytes.len as u32) {
                return bytes.fail(message);
            }
        }
        ObjectType::Own(ty) => return own(cx, bytes, object, ty, access),
        ObjectType::Bytes if access.writes() => {
            return bytes.fail(format!("R{reg} cannot write into {}", object.name()));
        }
        ObjectType::Bytes => {}
        ObjectType::Socket | ObjectType::SocketCommon | ObjectType::TcpSocket | ObjectType::XdpSocket => {
            socket_field(bytes, object, access, off)?;
        }
    }
    Ok(Region::Object)
}

/// The bytes of an object that the program allocated, but for fields that are not its own, may be read, and written if it is
/// known to be there.
fn own(cx: &Context<'_, '_>, bytes: &Bytes<'_>, object: Object, ty: TypeId, access: Access) -> Result<Region, Failure> {
    let (reg, off) = (bytes.reg, bytes.pointer.fixed + bytes.off);
    let Some(own) = cx.program.input.own else {
        return bytes.fail(format!("R{reg} invalid mem access '{}'", object.name()));
    };
    let name = members::name(own.btf(), ty);
    let Some(off) = bytes.pointer.constant_offset().map(|at| at + bytes.off) else {
        let bits = bytes.pointer.var.bits;
        return bytes.fail(format!(
            "R{reg} is ptr_{name} invalid variable offset: off={off}, var_off={bits}"
        ));
    };
    let Ok(start) = u32::try_from(off) else {
        return bytes.fail(format!("R{reg} is ptr_{name} invalid negative access: off={off}"));
    };
    let is_there = object.is_kept() || object.trust == Trust::Rcu;
    if access.writes() && !is_there {
        return bytes.fail("only read is supported".to_owned());
    }
    if let Some(fields) = own.fields(ty).filter(|_| is_there) {
        let end = off + bytes.len;
        let managed = fields.managed.iter().find(|field| field.is_touched(off, end));
        let kptr = || fields.kptrs.iter().find(|kptr| kptr.is_touched(off, end));
        if let Some(name) = managed.map(|field| field.name).or_else(|| kptr().map(|_| "kptr")) {
            return bytes.fail(format!("direct access to {name} is disallowed"));
        }
    }
    if let Err(message) = members::at(own.btf(), ty, start, bytes.len as u32) {
        return bytes.fail(message);
    }
    Ok(if is_there { Region::Allocated } else { Region::Object })
}

/// The bytes are of a member that the hook lets programs write.
fn writable(
    cx: &Context<'_, '_>,
    bytes: &Bytes<'_>,
    object: Object,
    ty: TypeId,
    start: u32,
    name: &str,
) -> Result<(), Failure> {
    let members = &cx.program.input.context.writable;
    let mut members = members.iter().filter(|member| member.ty == ty).peekable();
    if members.peek().is_none() || object.worth() != Trust::Trusted {
        return bytes.fail("only read is supported".to_owned());
    }
    let begins = |member: &&WritableMember| {
        let end = member.off + if member.within { member.size } else { 1 };
        (member.off..end).contains(&start)
    };
    let Some(member) = members.find(begins) else {
        return bytes.fail(format!("no write support to {name} at off {start}"));
    };
    let (end, len) = (member.off + member.size, bytes.len);
    if i64::from(start) + len <= i64::from(end) {
        return Ok(());
    }
    bytes.fail(format!(
        "write access at off {start} with size {len} beyond the member of {name} ended at {end}"
    ))
}

/// Sockets have fields, as contexts do.
fn socket_field(bytes: &Bytes<'_>, object: Object, access: Access, off: i64) -> Result<(), Failure> {
    let (reg, name) = (bytes.reg, object.name());
    if access.writes() {
        return bytes.fail(format!("R{reg} cannot write into {name}"));
    }
    if bytes.pointer.constant_offset().is_none() {
        let bits = bytes.pointer.var.bits;
        return bytes.fail(format!("variable {name} access var_off={bits} disallowed"));
    }
    let allowed = u32::try_from(off).is_ok_and(|off| sockets::readable(object.ty, off, bytes.len as u32));
    if allowed {
        return Ok(());
    }
    bytes.fail(format!("R{reg} invalid {name} access off={off} size={}", bytes.len))
}

/// What helpers take where they take a socket.
const VIEWS: &str = "sock_common, sock, tcp_sock, xdp_sock";

/// The argument is a socket: as programs see it, or, if `typed`, as the host's types describe it as well.
pub(super) fn socket(
    cx: &Context<'_, '_>,
    proto: &HelperProto,
    reg: Reg,
    value: &Value,
    typed: bool,
) -> Result<(), Failure> {
    let object = object_of(value).filter(|object| !object.nullable);
    let (pointer, object) = match (value.as_pointer(), object) {
        (Some(pointer), Some(object)) if object.is_socket() => (pointer, object),
        (Some(pointer), Some(object)) if typed && is_typed(object, &[Trust::Plain, Trust::Trusted]) => {
            of_type(cx, reg, pointer, object, "sock_common")?;
            (pointer, object)
        }
        _ if typed => return Err(wrong_type(value, reg, &format!("{VIEWS}, ptr_, trusted_ptr_"))),
        _ => return Err(wrong_type(value, reg, VIEWS)),
    };
    if proto.releases && !cx.state.holds(object.reference) {
        let message = format!("R{} must be referenced when passed to release function", reg.index());
        return Err(Failure::new(pointer.to_string(), message));
    }
    if proto.releases && pointer.constant_offset() != Some(0) {
        let message = "must have zero offset when passed to release func or trusted arg to kfunc";
        return Err(Failure::new(pointer.to_string(), format!("R{} {message}", reg.index())));
    }
    Ok(())
}

/// The argument is an object of the struct `wanted`.
pub(super) fn typed(
    cx: &Context<'_, '_>,
    reg: Reg,
    value: &Value,
    wanted: &str,
    nullable: bool,
) -> Result<(), Failure> {
    let object = object_of(value).filter(|object| nullable || !object.nullable);
    match (value.as_pointer(), object) {
        (Some(pointer), Some(object)) if is_typed(object, &[Trust::Plain, Trust::Trusted, Trust::Rcu]) => {
            of_type(cx, reg, pointer, object, wanted)
        }
        _ => Err(wrong_type(value, reg, "ptr_, trusted_ptr_, rcu_ptr_")),
    }
}

/// The argument is an object of the struct `wanted` that the kfunc can rely on.
pub(super) fn of_kfunc(
    cx: &Context<'_, '_>,
    proto: &KfuncProto,
    reg: Reg,
    value: &Value,
    wanted: &str,
    nullable: bool,
) -> Result<(), Failure> {
    let (index, name) = (reg.index(), &proto.name);
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let flags = proto.known.map(|kfunc| kfunc.flags).unwrap_or_default();
    let typed = value.as_pointer().zip(object_of(value));
    let typed = typed.filter(|(_, object)| matches!(object.ty, ObjectType::Btf(_)));
    let may_be_null = typed.map_or(value.is_zero(), |(_, object)| object.nullable);
    if may_be_null && !nullable {
        return fail(format!("Possibly NULL pointer passed to trusted arg{}", index - 1));
    }
    let Some((pointer, object)) = typed else {
        let arg = index - 1;
        return fail(format!(
            "arg#{arg} pointer type STRUCT {wanted} must point to scalar, or struct with scalar"
        ));
    };
    let referenced = cx.state.holds(object.reference);
    let trusted = referenced || object.space == Space::Host && object.trust == Trust::Trusted;
    if !trusted && !flags.rcu {
        return fail(format!("R{index} must be referenced or trusted"));
    }
    if !trusted && (object.space != Space::Host || object.trust != Trust::Rcu) {
        return fail(format!("R{index} must be a rcu pointer"));
    }
    if flags.releases && !referenced {
        return fail(format!(
            "release kernel function {name} expects refcounted PTR_TO_BTF_ID"
        ));
    }
    if flags.releases && pointer.constant_offset() != Some(0) {
        let message = "must have zero offset when passed to release func or trusted arg to kfunc";
        return fail(format!("R{index} {message}"));
    }
    let Some(off) = pointer.constant_offset() else {
        let (name, bits) = (object.name(), pointer.var.bits);
        return fail(format!("variable {name} access var_off={bits} disallowed"));
    };
    if off < 0 {
        let name = object.name();
        return fail(format!("negative offset {name} ptr R{index} off={off} disallowed"));
    }
    let (ObjectType::Btf(ty), Some(types)) = (object.ty, cx.program.input.types) else {
        return fail(format!("R{index} must be referenced or trusted"));
    };
    // A reference is counted by its own type, not by that of a part.
    let same = match flags.acquires || flags.releases {
        true => off == 0 && members::name(types, ty) == wanted,
        false => u32::try_from(off).is_ok_and(|off| members::has_at(types, ty, off, wanted)),
    };
    if same {
        return Ok(());
    }
    let (found, arg) = (members::name(types, ty), index - 1);
    fail(format!(
        "kernel function {name} args#{arg} expected pointer to STRUCT {wanted} but R{index} has a pointer to STRUCT {found}"
    ))
}

fn object_of(value: &Value) -> Option<Object> {
    match value.as_pointer()?.kind {
        PointerKind::Object(object) => Some(object),
        _ => None,
    }
}

fn is_typed(object: Object, trusts: &[Trust]) -> bool {
    matches!(object.ty, ObjectType::Btf(_)) && object.space == Space::Host && trusts.contains(&object.trust)
}

/// The pointer points to a struct `wanted`: the object itself or one in it.
fn of_type(cx: &Context<'_, '_>, reg: Reg, pointer: &Pointer, object: Object, wanted: &str) -> Result<(), Failure> {
    let reg = reg.index();
    let fail = |message: String| Err(Failure::new(pointer.to_string(), message));
    let Some(off) = pointer.constant_offset() else {
        let (name, bits) = (object.name(), pointer.var.bits);
        return fail(format!("variable {name} access var_off={bits} disallowed"));
    };
    let (ObjectType::Btf(ty), Some(types)) = (object.ty, cx.program.input.types) else {
        return fail(format!("R{reg} is of no type but {wanted} is expected"));
    };
    let Ok(start) = u32::try_from(off) else {
        let name = object.name();
        return fail(format!("negative offset {name} ptr R{reg} off={off} disallowed"));
    };
    if members::has_at(types, ty, start, wanted) {
        return Ok(());
    }
    let name = members::name(types, ty);
    fail(format!("R{reg} is of type {name} but {wanted} is expected"))
}

/// The host has the struct that the helper returns a pointer to.
pub(super) fn result_is_known(cx: &Context<'_, '_>, proto: &HelperProto) -> Result<(), Failure> {
    let (RetType::Btf(name) | RetType::TrustedBtf(name) | RetType::BtfOrNull(name)) = proto.ret else {
        return Ok(());
    };
    if cx.program.struct_named(name).is_some() {
        return Ok(());
    }
    let message = format!(
        "helper {}#{} returns a struct {name}, which the host does not have",
        proto.name, proto.id
    );
    Err(Failure::new(format!("no struct {name}"), message))
}
