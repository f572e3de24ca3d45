//! Loads from objects that have a type.

use super::Context;
use super::memory::Bytes;
use crate::domain::object::{Object, Space};
use crate::error::Failure;
use crate::facts::{ObjectType, Region};
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
                return bytes.fail("only read is supported".to_owned());
            }
            if let Err(message) = members::at(types, ty, start, bytes.len as u32) {
                return bytes.fail(message);
            }
        }
        ObjectType::Bytes if access.writes() => {
            return bytes.fail(format!("R{reg} cannot write into {}", object.name()));
        }
        ObjectType::Bytes => {}
        ObjectType::Socket | ObjectType::SocketCommon | ObjectType::TcpSocket => {
            socket_field(bytes, object, access, off)?;
        }
    }
    Ok(Region::Object)
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
