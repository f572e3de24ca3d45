//! Pointers to objects that have a type: those of the host's BTF, and sockets.

use super::pointer::Id;
use crate::facts::{ObjectPointer, ObjectType, Trust};

/// A pointer to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Object {
    pub(crate) ty: ObjectType,
    pub(crate) trust: Trust,
    /// Whether it may be NULL instead.
    pub(crate) nullable: bool,
    /// What memory it is in.
    pub(crate) space: Space,
    /// Names the pointer and its copies while it may be NULL; else 0.
    pub(crate) id: Id,
    /// The reference that it is, or comes from; 0 for none.
    pub(crate) reference: Id,
}

/// What memory an object is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    /// The host's.
    Host,
    /// That of each processor: the pointer is an offset (`MEM_PERCPU`).
    PerCpu,
    /// A user's (`MEM_USER`).
    User,
}

impl Object {
    /// The object that a pointer from a context or a helper points to. `id` names it if it may be NULL.
    pub(crate) fn new(pointer: ObjectPointer, id: impl FnOnce() -> Id) -> Object {
        let ObjectPointer { ty, trust, nullable } = pointer;
        Object {
            ty,
            trust,
            nullable,
            space: Space::Host,
            id: if nullable { id() } else { 0 },
            reference: 0,
        }
    }

    /// The kernel's name of the register type. For a type of the BTF the type's name follows.
    pub(crate) fn name(self) -> &'static str {
        use {Space as S, Trust as T};
        match (self.ty, self.nullable) {
            (ObjectType::Socket, false) => "sock",
            (ObjectType::Socket, true) => "sock_or_null",
            (ObjectType::SocketCommon, false) => "sock_common",
            (ObjectType::SocketCommon, true) => "sock_common_or_null",
            (ObjectType::TcpSocket, false) => "tcp_sock",
            (ObjectType::TcpSocket, true) => "tcp_sock_or_null",
            (ObjectType::XdpSocket, false) => "xdp_sock",
            (ObjectType::XdpSocket, true) => "xdp_sock_or_null",
            (ObjectType::Bytes, false) => "rdonly_untrusted_mem",
            (ObjectType::Bytes, true) => "rdonly_untrusted_mem_or_null",
            (ObjectType::Btf(_) | ObjectType::Own(_), false) => match (self.space, self.trust) {
                (S::Host, T::Plain | T::Locked) => "ptr_",
                (S::Host, T::Trusted) => "trusted_ptr_",
                (S::Host, T::Rcu) => "rcu_ptr_",
                (S::Host, T::Untrusted) => "untrusted_ptr_",
                (S::PerCpu, T::Plain | T::Locked) => "percpu_ptr_",
                (S::PerCpu, T::Trusted) => "percpu_trusted_ptr_",
                (S::PerCpu, T::Rcu) => "percpu_rcu_ptr_",
                (S::PerCpu, T::Untrusted) => "percpu_untrusted_ptr_",
                (S::User, T::Plain | T::Locked) => "user_ptr_",
                (S::User, T::Trusted) => "user_trusted_ptr_",
                (S::User, T::Rcu) => "user_rcu_ptr_",
                (S::User, T::Untrusted) => "user_untrusted_ptr_",
            },
            (ObjectType::Btf(_) | ObjectType::Own(_), true) => match (self.space, self.trust) {
                (S::Host, T::Plain | T::Locked) => "ptr_or_null_",
                (S::Host, T::Trusted) => "trusted_ptr_or_null_",
                (S::Host, T::Rcu) => "rcu_ptr_or_null_",
                (S::Host, T::Untrusted) => "untrusted_ptr_or_null_",
                (S::PerCpu, T::Plain | T::Locked) => "percpu_ptr_or_null_",
                (S::PerCpu, T::Trusted) => "percpu_trusted_ptr_or_null_",
                (S::PerCpu, T::Rcu) => "percpu_rcu_ptr_or_null_",
                (S::PerCpu, T::Untrusted) => "percpu_untrusted_ptr_or_null_",
                (S::User, T::Plain | T::Locked) => "user_ptr_or_null_",
                (S::User, T::Trusted) => "user_trusted_ptr_or_null_",
                (S::User, T::Rcu) => "user_rcu_ptr_or_null_",
                (S::User, T::Untrusted) => "user_untrusted_ptr_or_null_",
            },
        }
    }

    /// Whether it is one of the sockets that programs see as a struct of their own.
    pub(crate) fn is_socket(self) -> bool {
        matches!(
            self.ty,
            ObjectType::Socket | ObjectType::SocketCommon | ObjectType::TcpSocket | ObjectType::XdpSocket
        )
    }

    /// What it can be relied on for: what the program holds a reference to stays.
    pub(crate) fn worth(self) -> Trust {
        match self.reference {
            0 => self.trust,
            _ => Trust::Trusted,
        }
    }

    /// Whether helpers take it as memory to be read: it is there, and of a type that says what is in it.
    pub(crate) fn is_trusted_memory(self) -> bool {
        let typed = matches!(self.ty, ObjectType::Btf(_));
        typed && !self.nullable && self.trust == Trust::Trusted && self.space == Space::Host
    }

    /// Whether the host says that there is an object.
    pub(crate) fn is_certainly_there(self) -> bool {
        !self.nullable && (self.trust == Trust::Trusted || self.is_socket() || self.reference != 0 || self.is_kept())
    }

    /// Whether it was allocated by the program, which holds a reference to it, or the lock under which it is kept.
    pub(crate) fn is_kept(self) -> bool {
        matches!(self.ty, ObjectType::Own(_)) && (self.reference != 0 || self.trust == Trust::Locked)
    }
}
