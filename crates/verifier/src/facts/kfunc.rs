//! The kernel's functions that a program calls by BTF id (kfuncs), as data.

use super::ProgramKind;
use crate::tables::kfuncs::{IteratorStep, Kfunc, RegionStep};

/// A kfunc that the program names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KfuncProto {
    /// Its id in the BTF that the program was relocated against.
    pub id: i32,
    /// Which BTF that is, as the call says it: 0 for the main one.
    pub fd_idx: i16,
    /// Its name.
    pub name: String,
    /// The sort of the program that calls it.
    pub kind: ProgramKind,
    /// What is known of it, if such programs may call it.
    pub known: Option<&'static Kfunc>,
    /// Why user space cannot offer it; a program that calls it is refused with that.
    pub excluded: Option<&'static str>,
}

/// What a kfunc takes in one argument register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KfuncArg {
    /// A number.
    Number,
    /// A number that is known (`__k`).
    Constant,
    /// The context.
    Context,
    /// A dynptr.
    Dynptr {
        /// Whether the kfunc may write its memory.
        written: bool,
    },
    /// Room for one, which the kfunc makes (`__uninit`).
    UninitDynptr,
    /// Memory that the kfunc reads and writes, of the size in the next argument (`__sz`, `__szk`); NULL if `optional` (`__opt`).
    Memory {
        /// Whether it may be NULL instead.
        optional: bool,
    },
    /// Memory of so many bytes that the kfunc reads and writes.
    FixedMemory(u32),
    /// An object of the host's, by the name of its struct; NULL if `nullable` (`__nullable`).
    Object {
        /// The struct.
        name: &'static str,
        /// Whether it may be NULL instead.
        nullable: bool,
    },
    /// An open-coded iterator on the stack.
    Iterator(IteratorType),
    /// The id of a struct of the program's own types.
    OwnType,
    /// An object that the program allocated and holds a reference to.
    Allocated,
    /// An object that the program allocated, the references to which are counted.
    Counted,
    /// The head of a list, or the root of a tree.
    Head {
        /// Whether it is that of a tree.
        tree: bool,
    },
    /// What links an object into a list or tree.
    Node {
        /// Whether into a tree.
        tree: bool,
    },
    /// A function of the program that compares two nodes of a tree.
    Less,
    /// A pointer that the kfunc takes care with (`__ign`).
    Ignored,
    /// Something that is not supported, in words.
    Unsupported(&'static str),
}

/// What a kfunc returns in `r0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KfuncRet {
    /// Nothing.
    Void,
    /// A number.
    Number,
    /// What an iterator has come to, or NULL.
    Element,
    /// An object of the host's, by the name of its struct.
    Object(&'static str),
    /// The context, as the host has it (`bpf_cast_to_kern_ctx`): an object, by the name of its struct.
    HostContext(&'static str),
    /// An object that nothing is known of, of the struct whose id is in the second argument (`bpf_rdonly_cast`).
    Cast,
    /// Bytes of the dynptr in the first argument, as many as the fourth says, or NULL.
    Slice {
        /// Whether they may be written.
        writable: bool,
    },
    /// A new object, of the struct whose id is in the first argument.
    Allocated,
    /// One more reference to the object in the first argument. It is there if the program holds a reference already.
    Counted,
    /// A node of the list or tree in the first argument: a reference if it was taken out, or else kept by the lock.
    Node,
    /// Something that is not supported, in words.
    Unsupported(&'static str),
}

/// An open-coded iterator, as programs have it on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IteratorType {
    /// Its name in messages ("iter_num").
    pub name: &'static str,
    /// Bytes that it takes.
    pub size: u32,
    /// Size of what its elements point to, which lies in the iterator.
    pub element: u32,
}

/// The iterators that are supported. The numbers that they count to, and so their steps, are bounded at run time.
const ITERATORS: &[(&str, IteratorType)] = &[
    (
        "struct bpf_iter_num *",
        IteratorType {
            name: "iter_num",
            size: 8,
            element: 4,
        },
    ),
    (
        "struct bpf_iter_bits *",
        IteratorType {
            name: "iter_bits",
            size: 16,
            element: 4,
        },
    ),
];

const TO_HOST_CONTEXT: &str = "bpf_cast_to_kern_ctx";
const THROW: &str = "bpf_throw";
const CAST: &str = "bpf_rdonly_cast";
const NEW: &str = "bpf_obj_new_impl";
const COUNT: &str = "bpf_refcount_acquire_impl";
const SLICE: &str = "bpf_dynptr_slice";
const WRITABLE_SLICE: &str = "bpf_dynptr_slice_rdwr";

const NUMBERS: &[&str] = &[
    "u8",
    "enum tcp_ca_event",
    "int",
    "u32",
    "s32",
    "u64",
    "s64",
    "__u32",
    "__u64",
    "unsigned int",
    "bool",
];

impl KfuncProto {
    /// What programs of this sort may know of a kfunc, by its name.
    #[must_use]
    pub fn new(kind: ProgramKind, id: i32, fd_idx: i16, name: &str) -> KfuncProto {
        let known = crate::tables::kfuncs::by_name(name).filter(|kfunc| kfunc.programs.contains(kind));
        KfuncProto {
            id,
            fd_idx,
            name: name.to_owned(),
            kind,
            known,
            excluded: known.and_then(|kfunc| kfunc.excluded),
        }
    }

    /// What it takes.
    pub fn args(&self) -> impl Iterator<Item = KfuncArg> + '_ {
        let params = self.known.map_or(&[][..], |kfunc| kfunc.params);
        let casts = self.name == TO_HOST_CONTEXT;
        let next = params.iter().skip(1).map(Some).chain([None]);
        params.iter().zip(next).map(move |(&(name, ty), next)| {
            let sized = next.is_some_and(|(name, _)| name.ends_with("__sz") || name.ends_with("__szk"));
            match ty {
                _ if casts => KfuncArg::Context,
                // What is not given such a context has objects of the host's in its place.
                "struct __sk_buff *" if host_context(self.kind) != Some("sk_buff") => KfuncArg::Object {
                    name: "sk_buff",
                    nullable: false,
                },
                "struct __sk_buff *" | "struct xdp_md *" => KfuncArg::Context,
                _ if sized && ty.ends_with('*') => KfuncArg::Memory {
                    optional: name.ends_with("__opt"),
                },
                _ => argument(name, ty),
            }
        })
    }

    /// The iterator in its first argument, and what it does to it.
    #[must_use]
    pub fn iterator(&self) -> Option<(IteratorType, IteratorStep)> {
        let step = self.known?.flags.iterator?;
        match self.args().next()? {
            KfuncArg::Iterator(iterator) => Some((iterator, step)),
            _ => None,
        }
    }

    /// The region that it begins or ends.
    #[must_use]
    pub fn region(&self) -> Option<RegionStep> {
        self.known?.flags.region
    }

    /// Whether it calls a function of the program before it returns.
    #[must_use]
    pub fn calls_back(&self) -> bool {
        self.args().any(|arg| arg == KfuncArg::Less)
    }

    /// Whether it puts the object in its second argument into the list or tree in the first, which keeps it from then on.
    #[must_use]
    pub fn keeps(&self) -> bool {
        let mut args = self.args();
        matches!(
            (args.next(), args.next(), self.ret()),
            (
                Some(KfuncArg::Head { .. }),
                Some(KfuncArg::Node { .. }),
                KfuncRet::Number
            )
        )
    }

    /// Whether it makes a dynptr of another.
    #[must_use]
    pub fn clones(&self) -> bool {
        let mut args = self.args();
        matches!(args.next(), Some(KfuncArg::Dynptr { .. })) && args.any(|arg| arg == KfuncArg::UninitDynptr)
    }

    /// Whether it may be called while a lock is held.
    #[must_use]
    pub fn is_for_locked(&self) -> bool {
        let of_graphs = self
            .args()
            .any(|arg| matches!(arg, KfuncArg::Head { .. } | KfuncArg::Counted));
        of_graphs || self.name.starts_with("bpf_iter_num_")
    }

    /// Whether it may sleep.
    #[must_use]
    pub fn might_sleep(&self) -> bool {
        self.known.is_some_and(|kfunc| kfunc.flags.might_sleep)
    }

    /// What it takes or returns that the verifier does not support, in words.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        let kfunc = self.known?;
        // What unwinds the stack ends all frames at once, with rules of its own.
        if self.name == THROW {
            return Some("exceptions");
        }
        let argument = self.args().find_map(|arg| match arg {
            KfuncArg::Unsupported(what) => Some(what),
            _ => None,
        });
        let result = match self.ret() {
            KfuncRet::Unsupported(what) => Some(what),
            // An object that is not a reference is there for a reason of its own.
            KfuncRet::Object(_) if !kfunc.flags.acquires => Some("kernel objects that are not references"),
            _ => None,
        };
        argument.or(result)
    }

    /// What it returns.
    #[must_use]
    pub fn ret(&self) -> KfuncRet {
        let ret = self.known.map_or("void", |kfunc| kfunc.ret);
        match (self.name.as_str(), ret) {
            (TO_HOST_CONTEXT, _) => match host_context(self.kind) {
                Some(name) => KfuncRet::HostContext(name),
                None => KfuncRet::Unsupported("contexts of this sort as kernel objects"),
            },
            (CAST, _) => KfuncRet::Cast,
            (NEW, _) => KfuncRet::Allocated,
            (COUNT, _) => KfuncRet::Counted,
            (SLICE, _) => KfuncRet::Slice { writable: false },
            (WRITABLE_SLICE, _) => KfuncRet::Slice { writable: true },
            (_, "struct bpf_list_node *" | "struct bpf_rb_node *") => KfuncRet::Node,
            (_, "void") => KfuncRet::Void,
            (_, ret) if NUMBERS.contains(&ret) => KfuncRet::Number,
            _ if self.iterator().is_some() => KfuncRet::Element,
            (_, ret) => match struct_name(ret) {
                Some(name) if !is_own(name) => KfuncRet::Object(name),
                _ => KfuncRet::Unsupported("pointers that are returned"),
            },
        }
    }
}

fn argument(name: &'static str, ty: &'static str) -> KfuncArg {
    let iterator = ITERATORS.iter().find(|iterator| iterator.0 == ty);
    match iterator {
        Some((_, iterator)) => KfuncArg::Iterator(*iterator),
        None if name.ends_with("__ign") => KfuncArg::Ignored,
        None if name == "local_type_id__k" => KfuncArg::OwnType,
        None if name.ends_with("__alloc") => KfuncArg::Allocated,
        None if name.ends_with("__refcounted_kptr") => KfuncArg::Counted,
        None if ty == "struct bpf_list_head *" => KfuncArg::Head { tree: false },
        None if ty == "struct bpf_rb_root *" => KfuncArg::Head { tree: true },
        None if ty == "struct bpf_list_node *" => KfuncArg::Node { tree: false },
        None if ty == "struct bpf_rb_node *" => KfuncArg::Node { tree: true },
        None if name == "less" => KfuncArg::Less,
        None if NUMBERS.contains(&ty) && !name.ends_with("__k") && !name.ends_with("__szk") => KfuncArg::Number,
        None if ty == "u32" && (name.ends_with("__k") || name.ends_with("__szk")) => KfuncArg::Constant,
        None if ty == "const struct bpf_dynptr *" && !name.ends_with("__nullable") => {
            KfuncArg::Dynptr { written: false }
        }
        None if ty == "struct bpf_dynptr *" && name.ends_with("__uninit") => KfuncArg::UninitDynptr,
        None if ty == "struct bpf_dynptr *" => KfuncArg::Dynptr { written: true },
        None if ty == "int *" => KfuncArg::FixedMemory(4),
        None if ty.contains("bpf_dynptr") => KfuncArg::Unsupported("dynptrs given to kernel functions"),
        None => match struct_name(ty) {
            Some(object) if !is_own(object) && !name.ends_with("__uninit") => KfuncArg::Object {
                name: object,
                nullable: name.ends_with("__nullable"),
            },
            _ => KfuncArg::Unsupported("such pointers given to kernel functions"),
        },
    }
}

/// The struct that a C type points to.
fn struct_name(ty: &'static str) -> Option<&'static str> {
    let ty = ty.strip_prefix("const ").unwrap_or(ty);
    ty.strip_prefix("struct ")?.strip_suffix(" *")
}

/// Whether such structs lie in memory of the program's, and are no objects of the host's.
fn is_own(name: &str) -> bool {
    let own = [
        "__sk_buff",
        "xdp_md",
        "bpf_wq",
        "bpf_list_head",
        "bpf_list_node",
        "bpf_rb_root",
        "bpf_rb_node",
        "bpf_map",
    ];
    own.contains(&name) || name.starts_with("bpf_iter_")
}

/// The struct that the host has where programs see their context.
fn host_context(kind: ProgramKind) -> Option<&'static str> {
    use ProgramKind as P;
    Some(match kind {
        P::SocketFilter | P::Tc | P::Action | P::SkSkb => "sk_buff",
        P::CgroupSkbIngress | P::CgroupSkbEgress => "sk_buff",
        P::LwtIn | P::LwtOut | P::LwtXmit | P::LwtSeg6Local => "sk_buff",
        P::Xdp | P::XdpDevmap => "xdp_buff",
        P::CgroupBind4 | P::CgroupBind6 => "bpf_sock_addr_kern",
        P::CgroupConnect4 | P::CgroupConnect6 | P::CgroupConnectUnix => "bpf_sock_addr_kern",
        P::CgroupSendmsg4 | P::CgroupSendmsg6 | P::CgroupSendmsgUnix => "bpf_sock_addr_kern",
        P::CgroupName4 | P::CgroupName6 | P::CgroupNameUnix => "bpf_sock_addr_kern",
        P::SockOps => "bpf_sock_ops_kern",
        P::PerfEvent => "bpf_perf_event_data_kern",
        P::CgroupSysctl => "bpf_sysctl_kern",
        P::CgroupGetsockopt | P::CgroupSetsockopt => "bpf_sockopt_kern",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prototypes_say_what_is_taken() {
        let new = KfuncProto::new(ProgramKind::Tc, 7, 0, "bpf_iter_num_new");
        let (iterator, step) = new.iterator().unwrap();
        assert_eq!((iterator.name, step), ("iter_num", IteratorStep::New));
        let rest: Vec<_> = new.args().skip(1).collect();
        assert_eq!((rest, new.unsupported()), (vec![KfuncArg::Number; 2], None));
        assert_eq!(
            KfuncProto::new(ProgramKind::Tc, 8, 0, "bpf_iter_bits_next").unsupported(),
            None
        );
        let add = KfuncProto::new(ProgramKind::Tc, 9, 0, "bpf_rbtree_add_impl");
        assert!(add.keeps() && add.calls_back() && add.is_for_locked() && add.unsupported().is_none());
        let remove = KfuncProto::new(ProgramKind::Tc, 9, 0, "bpf_rbtree_remove");
        assert!(!remove.keeps() && remove.is_for_locked() && remove.ret() == KfuncRet::Node);
        assert!(
            KfuncProto::new(ProgramKind::Tc, 9, 0, "bpf_percpu_obj_new_impl")
                .unsupported()
                .is_some()
        );
        assert!(KfuncProto::new(ProgramKind::Tc, 9, 0, "bpf_throw").excluded.is_some());
        assert_eq!(KfuncProto::new(ProgramKind::Tc, 9, 0, "no_such_kfunc").known, None);
    }
}
