//! Objects with a type: what the host's BTF describes, and sockets as programs see them.

use hitless_btf::TypeId;

/// A pointer to an object, as a context or a helper hands it out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectPointer {
    /// What it points to.
    pub ty: ObjectType,
    /// Why the object is there while the program looks at it, if it is.
    pub trust: Trust,
    /// Whether it may be NULL instead.
    pub nullable: bool,
}

/// The type of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectType {
    /// A struct or union of the host's BTF ([`ProgramInput::types`](super::ProgramInput::types)), by id (`PTR_TO_BTF_ID`).
    Btf(TypeId),
    /// A struct of the program's own BTF ([`ProgramInput::own`](super::ProgramInput::own)), by id, that the program allocated
    /// (`PTR_TO_BTF_ID | MEM_ALLOC`).
    Own(TypeId),
    /// Bytes of which nothing is known. Any of them may be read, since a read that fails gives zero
    /// (`PTR_TO_MEM | PTR_UNTRUSTED`).
    Bytes,
    /// `struct bpf_sock` of a full socket (`PTR_TO_SOCKET`).
    Socket,
    /// `struct bpf_sock` of any socket, of which only what all have can be read (`PTR_TO_SOCK_COMMON`).
    SocketCommon,
    /// `struct bpf_tcp_sock` (`PTR_TO_TCP_SOCK`).
    TcpSocket,
    /// `struct bpf_xdp_sock` (`PTR_TO_XDP_SOCK`).
    XdpSocket,
}

/// Why an object is there while a program looks at it. Reads need no trust, since they are guarded; helpers and kfuncs that take
/// an object do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trust {
    /// Nothing is known (a pointer that was read out of an object, an argument of a traced function).
    Plain,
    /// The host keeps it alive while the program runs (`PTR_TRUSTED`). It is not NULL.
    Trusted,
    /// It is kept until the end of the read-side critical section in which the pointer was read (`MEM_RCU`).
    Rcu,
    /// It is kept until the lock is released that was held when the pointer was made (`NON_OWN_REF`).
    Locked,
    /// It may be anything by now (`PTR_UNTRUSTED`).
    Untrusted,
}
