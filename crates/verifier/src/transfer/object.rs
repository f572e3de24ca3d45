//! What a load from an object yields.

use super::Ids;
use crate::domain::object::{Object, Space};
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::facts::{Kptr, KptrKind, ObjectPointer, ObjectType, RetType, Trust};
use crate::members::{self, Found, PointerMember};
use crate::program::Program;
use crate::state::State;
use hitless_btf::{Btf, TypeId};

/// The pointer that a load of `len` bytes at `at` of an object yields, or `None` if that is a number.
pub(super) fn loaded(
    program: &Program<'_>,
    state: &State,
    ids: &mut Ids,
    object: Object,
    at: i64,
    len: usize,
) -> Option<Value> {
    let (ObjectType::Btf(ty), Some(types)) = (object.ty, program.input.types) else {
        return None;
    };
    let found = members::at(types, ty, u32::try_from(at).ok()?, len as u32).ok()?;
    let result = match found {
        Found::Number => return None,
        Found::Bytes => Object {
            ty: ObjectType::Bytes,
            trust: Trust::Untrusted,
            nullable: false,
            space: Space::Host,
            id: 0,
            reference: 0,
        },
        Found::Pointer(member) => {
            let (trust, nullable) = trust(types, ty, object.worth(), state.in_rcu(program), &member);
            let pointer = ObjectPointer {
                ty: ObjectType::Btf(member.to),
                trust,
                nullable,
            };
            Object {
                space: member.space,
                ..Object::new(pointer, || ids.fresh())
            }
        }
    };
    Some(Value::Pointer(Pointer::to(PointerKind::Object(result))))
}

/// What a load of a field of a map value yields.
pub(super) fn loaded_kptr(program: &Program<'_>, state: &State, ids: &mut Ids, kptr: &Kptr) -> Value {
    let trust = match kptr.kind {
        KptrKind::Referenced if state.in_rcu(program) => Trust::Rcu,
        _ => Trust::Untrusted,
    };
    let pointer = ObjectPointer {
        ty: kptr.ty,
        trust,
        nullable: true,
    };
    Value::Pointer(Pointer::to(PointerKind::Object(Object::new(pointer, || ids.fresh()))))
}

/// A socket that a map may hold.
pub(super) fn socket_or_null(ty: ObjectType, ids: &mut Ids) -> Object {
    let pointer = ObjectPointer {
        ty,
        trust: Trust::Plain,
        nullable: true,
    };
    Object::new(pointer, || ids.fresh())
}

/// The object that a helper returns a pointer to.
pub(super) fn returned(program: &Program<'_>, ret: RetType, kptr: Option<Kptr>, ids: &mut Ids) -> Option<Object> {
    let named = |name| program.struct_named(name).map(ObjectType::Btf);
    let (ty, trust, nullable) = match ret {
        RetType::SocketOrNull => (ObjectType::Socket, Trust::Plain, true),
        RetType::SocketCommonOrNull => (ObjectType::SocketCommon, Trust::Plain, true),
        RetType::TcpSocketOrNull => (ObjectType::TcpSocket, Trust::Plain, true),
        RetType::Btf(name) => (named(name)?, Trust::Plain, false),
        RetType::TrustedBtf(name) => (named(name)?, Trust::Trusted, false),
        RetType::KptrOrNull => (kptr?.ty, Trust::Plain, true),
        RetType::BtfOrNull(name) => (named(name)?, Trust::Plain, true),
        _ => return None,
    };
    Some(Object::new(ObjectPointer { ty, trust, nullable }, || ids.fresh()))
}

/// What the pointer in a member can be relied on for, and whether it may be NULL. Only some members of objects that are
/// there themselves hold pointers to others that are.
fn trust(types: &Btf, owner: TypeId, trust: Trust, in_rcu: bool, member: &PointerMember<'_>) -> (Trust, bool) {
    let listed = |suffix| members::is_listed(types, owner, suffix, member);
    match trust {
        Trust::Untrusted => (Trust::Untrusted, false),
        _ if member.in_union => (Trust::Untrusted, false),
        Trust::Plain | Trust::Locked => (Trust::Plain, false),
        Trust::Trusted | Trust::Rcu => {
            if listed("__safe_trusted") {
                (Trust::Trusted, false)
            } else if listed("__safe_trusted_or_null") {
                (Trust::Trusted, true)
            } else if !in_rcu {
                (Trust::Untrusted, false)
            } else if listed("__safe_rcu") {
                (Trust::Rcu, false)
            } else if member.rcu || listed("__safe_rcu_or_null") {
                (Trust::Rcu, true)
            } else {
                (Trust::Plain, false)
            }
        }
    }
}
