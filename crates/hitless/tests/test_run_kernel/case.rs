//! What a program is run on, and what came of it, in the same words for both sides.

/// How a program is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Socket,
    Tc,
    Xdp,
    CgroupIngress,
    CgroupEgress,
    RawTracepoint,
    Syscall,
}

impl Kind {
    pub fn section(self) -> &'static str {
        match self {
            Kind::Socket => "socket",
            Kind::Tc => "tc",
            Kind::Xdp => "xdp",
            Kind::CgroupIngress => "cgroup_skb/ingress",
            Kind::CgroupEgress => "cgroup_skb/egress",
            Kind::RawTracepoint => "raw_tp",
            Kind::Syscall => "syscall",
        }
    }
}

/// Where something may come out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Nowhere: its size may still be said.
    None,
    /// Into enough room.
    Any,
    /// Into so many bytes.
    Bytes(usize),
}

impl Room {
    pub fn size(self) -> Option<usize> {
        match self {
            Room::None => None,
            Room::Any => Some(1 << 17),
            Room::Bytes(bytes) => Some(bytes),
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Case {
    pub data_in: Vec<u8>,
    pub data_out: Room,
    pub ctx_in: Option<Vec<u8>>,
    pub ctx_out: Room,
    /// Whether the context comes out where it went in.
    pub in_place: bool,
    pub repeat: u32,
    pub cpu: u32,
    pub batch_size: u32,
    pub flags: u32,
}

impl Case {
    /// Nothing but a packet.
    pub fn packet(data_in: Vec<u8>) -> Case {
        Case {
            data_in,
            data_out: Room::Any,
            ctx_in: None,
            ctx_out: Room::None,
            in_place: false,
            repeat: 0,
            cpu: 0,
            batch_size: 0,
            flags: 0,
        }
    }

    /// A packet with its context, which is wanted back.
    pub fn with_context(ctx: Vec<u8>) -> Case {
        Case {
            ctx_in: Some(ctx),
            ctx_out: Room::Any,
            ..Case::packet(bytes(64))
        }
    }

    /// Whether it is a frame that the kernel has in several pieces.
    pub fn is_in_pieces(&self) -> bool {
        const ROOM: usize = 4096 - 256 - 320;
        let word = |at| {
            let mut bytes = self.ctx_in.clone().unwrap_or_default();
            bytes.resize(24, 0);
            u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
        };
        let (len, has_context) = (self.data_in.len(), self.ctx_in.is_some() || self.ctx_out != Room::None);
        len > ROOM + word(0) || has_context && word(4) < len
    }

    /// What a `syscall` program is called with.
    pub fn call(ctx: Vec<u8>) -> Case {
        Case {
            data_out: Room::None,
            ctx_in: Some(ctx),
            in_place: true,
            ..Case::packet(Vec::new())
        }
    }
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    pub errno: i32,
    pub retval: u32,
    pub data_size: usize,
    pub data: Vec<u8>,
    pub ctx_size: usize,
    pub ctx: Vec<u8>,
}

/// A packet of no protocol, no two bytes of which are alike.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|byte| (byte % 251) as u8 + 1).collect()
}

/// A context in which some bytes are set.
pub fn context(len: usize, set: &[(usize, u8)]) -> Vec<u8> {
    let mut ctx = vec![0; len];
    for (at, value) in set {
        ctx[*at] = *value;
    }
    ctx
}

pub fn named(name: impl Into<String>, case: Case) -> (String, Case) {
    (name.into(), case)
}
