//! Sockets as programs see them: which fields of `struct bpf_sock` and `struct bpf_tcp_sock` can be read through a
//! pointer, and in which widths. Found by trying every offset and width with Linux.

use crate::facts::{ObjectType, Widths};

/// Offset, size, and how it may be read.
type Field = (u32, u32, Widths);

const fn anywhere(off: u32, size: u32) -> Field {
    (off, size, Widths::of(7))
}

const fn starting_there(off: u32) -> Field {
    (off, 4, Widths::at_start(7))
}

const fn words(off: u32, count: u32) -> Field {
    (off, 4 * count, Widths::of(4))
}

/// What all sockets have: where they are bound, family, addresses, ports, state, queue.
const COMMON: &[Field] = &[
    words(0, 1),
    starting_there(4),
    anywhere(24, 4),
    anywhere(28, 16),
    starting_there(44),
    (48, 2, Widths::of(3)),
    words(48, 1),
    anywhere(52, 4),
    anywhere(56, 16),
    starting_there(72),
    starting_there(76),
];

/// What full sockets have besides: type, protocol, mark, priority.
const FULL: &[Field] = &[starting_there(8), starting_there(12), words(16, 1), words(20, 1)];

const TCP: &[Field] = &[words(0, 20), (80, 16, Widths::of(8)), words(96, 4)];

/// The number of the queue.
const XDP: &[Field] = &[words(0, 1)];

/// Whether `len` bytes at `off` of a socket can be read.
pub(crate) fn readable(ty: ObjectType, off: u32, len: u32) -> bool {
    let (first, second): (&[Field], &[Field]) = match ty {
        ObjectType::Socket => (COMMON, FULL),
        ObjectType::SocketCommon => (COMMON, &[]),
        ObjectType::TcpSocket => (TCP, &[]),
        ObjectType::XdpSocket => (XDP, &[]),
        ObjectType::Btf(_) | ObjectType::Own(_) | ObjectType::Bytes => return false,
    };
    first.iter().chain(second).any(|&(start, size, widths)| {
        let inside = start <= off && u64::from(off) + u64::from(len) <= u64::from(start + size);
        inside && widths.allow(start, off, len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_what_only_full_sockets_have() {
        let common = |off, len| readable(ObjectType::SocketCommon, off, len);
        assert!(common(48, 2) && common(49, 1) && common(48, 4) && !common(50, 2) && !common(50, 1));
        assert!(common(44, 1) && !common(45, 1) && !common(20, 4) && !common(u32::MAX, 4));
        assert!(readable(ObjectType::Socket, 20, 4) && !readable(ObjectType::Socket, 80, 4));
        let tcp = |off, len| readable(ObjectType::TcpSocket, off, len);
        assert!(tcp(76, 4) && !tcp(76, 8) && tcp(80, 8) && !tcp(80, 4) && tcp(108, 4) && !tcp(112, 4));
    }
}
