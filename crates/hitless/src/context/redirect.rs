//! Where a packet is to go when a program redirects it.

/// The target of `XDP_REDIRECT` and `TC_ACT_REDIRECT`, as the program's last call of a redirect helper named it. Hosts take
/// packets there; the runtime has no interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// `bpf_redirect`: an interface. `BPF_F_INGRESS` (1) in the flags: as if the packet had come in there.
    Interface {
        /// Its index.
        ifindex: u32,
        /// The flags that were given.
        flags: u64,
    },
    /// `bpf_redirect_peer`: the other end of a pair of interfaces.
    Peer {
        /// The index of this end.
        ifindex: u32,
    },
    /// `bpf_redirect_neigh`: an interface, with the address of the neighbour to be looked up.
    Neighbour {
        /// Its index.
        ifindex: u32,
    },
    /// `bpf_redirect_map`: what a map has under a key.
    Map {
        /// The map's id.
        map: u32,
        /// The key.
        key: u64,
        /// The flags that were given.
        flags: u64,
    },
}
