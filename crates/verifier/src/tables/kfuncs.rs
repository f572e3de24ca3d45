//! Functions of the kernel's that programs call by BTF id (kfuncs), as of Linux 6.18.
//!
//! Prototypes are what BTF says, with the names of the parameters, whose endings carry rules: `__sz` is the size of the
//! memory before it, `__k` a constant, `__ign` not checked, `__uninit` written only, `__nullable` and `__opt` may be NULL,
//! `__szk` both a size and a constant.

use crate::facts::ProgramKind::{
    self, Action, CgroupBind4, CgroupBind6, CgroupConnect4, CgroupConnect6, CgroupConnectUnix, CgroupDevice,
    CgroupGetsockopt, CgroupName4, CgroupName6, CgroupNameUnix, CgroupPostBind4, CgroupPostBind6, CgroupSendmsg4,
    CgroupSendmsg6, CgroupSendmsgUnix, CgroupSetsockopt, CgroupSkbEgress, CgroupSkbIngress, CgroupSock, CgroupSysctl,
    Fentry, Fexit, FmodRet, Iter, KprobeSession, Lsm, LsmCgroup, LwtIn, LwtOut, LwtSeg6Local, LwtXmit, Netfilter,
    PerfEvent, SkSkb, SockOps, SocketFilter, StructOps, Syscall, Tc, TpBtf, Tracepoint, Xdp, XdpDevmap,
};
use crate::facts::ProgramSet;

/// A kfunc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kfunc {
    /// Its name.
    pub name: &'static str,
    /// What it returns, as a C type.
    pub ret: &'static str,
    /// Its parameters: names and C types.
    pub params: &'static [(&'static str, &'static str)],
    /// What a call means for references and iterators.
    pub flags: KfuncFlags,
    /// Which sorts of programs may call it.
    pub programs: ProgramSet,
    /// Whether programs can be verified and run that call it.
    pub hosted: bool,
    /// Why user space cannot offer it.
    pub excluded: Option<&'static str>,
}

/// What a call of a kfunc means beyond its prototype.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KfuncFlags {
    /// What it returns is a reference that the program has to release (`KF_ACQUIRE`).
    pub acquires: bool,
    /// It releases the reference that it is given (`KF_RELEASE`).
    pub releases: bool,
    /// What it returns may be NULL (`KF_RET_NULL`).
    pub or_null: bool,
    /// Objects that it takes may be ones that RCU protects (`KF_RCU`). Else they have to be trusted, or references.
    pub rcu: bool,
    /// It may sleep (`KF_SLEEPABLE`).
    pub might_sleep: bool,
    /// What it does to the iterator in its first parameter.
    pub iterator: Option<IteratorStep>,
    /// Which region it begins or ends.
    pub region: Option<RegionStep>,
}

/// A region of a program that a kfunc begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionStep {
    /// What RCU protects stays from here on. Such regions do not nest.
    RcuLock,
    /// It does not any more.
    RcuUnlock,
    /// The program keeps its processor from here on.
    PreemptDisable,
    /// It does not any more.
    PreemptEnable,
}

/// What a kfunc does to an open-coded iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IteratorStep {
    /// Makes it (`KF_ITER_NEW`).
    New,
    /// Takes the next element, or NULL at the end (`KF_ITER_NEXT`).
    Next,
    /// Ends it (`KF_ITER_DESTROY`).
    Destroy,
}

const PLAIN: KfuncFlags = KfuncFlags {
    acquires: false,
    releases: false,
    or_null: false,
    rcu: false,
    might_sleep: false,
    iterator: None,
    region: None,
};
const ACQUIRE: KfuncFlags = KfuncFlags {
    acquires: true,
    ..PLAIN
};
const RELEASE: KfuncFlags = KfuncFlags {
    releases: true,
    ..PLAIN
};
const OR_NULL: KfuncFlags = KfuncFlags { or_null: true, ..PLAIN };
const ACQUIRE_OR_NULL: KfuncFlags = KfuncFlags {
    or_null: true,
    ..ACQUIRE
};
const RCU: KfuncFlags = KfuncFlags { rcu: true, ..PLAIN };
const RCU_ACQUIRE_OR_NULL: KfuncFlags = KfuncFlags {
    rcu: true,
    ..ACQUIRE_OR_NULL
};
const SLEEPS: KfuncFlags = KfuncFlags {
    might_sleep: true,
    ..PLAIN
};
const ITER_NEW: KfuncFlags = KfuncFlags {
    iterator: Some(IteratorStep::New),
    ..PLAIN
};
const ITER_NEXT: KfuncFlags = KfuncFlags {
    iterator: Some(IteratorStep::Next),
    ..OR_NULL
};
const ITER_DESTROY: KfuncFlags = KfuncFlags {
    iterator: Some(IteratorStep::Destroy),
    ..PLAIN
};

const fn region(step: RegionStep) -> KfuncFlags {
    KfuncFlags {
        region: Some(step),
        ..PLAIN
    }
}

const OBSERVERS: &[ProgramKind] = &[
    Tracepoint, PerfEvent, Fentry, Fexit, FmodRet, TpBtf, Iter, Lsm, LsmCgroup,
];
/// Who may use masks of processors.
const OF_CPUMASKS: ProgramSet = ProgramSet::of(OBSERVERS).with(&[StructOps, Syscall]);
/// Who may use tasks, control groups and objects of its own.
const OF_OBJECTS: ProgramSet = OF_CPUMASKS.with(&[
    Tc,
    Xdp,
    XdpDevmap,
    CgroupSkbIngress,
    CgroupSkbEgress,
    CgroupSock,
    CgroupPostBind4,
    CgroupPostBind6,
    SockOps,
    CgroupDevice,
    CgroupBind4,
    CgroupBind6,
    CgroupConnect4,
    CgroupConnect6,
    CgroupConnectUnix,
    CgroupSendmsg4,
    CgroupSendmsg6,
    CgroupSendmsgUnix,
    CgroupName4,
    CgroupName6,
    CgroupNameUnix,
    CgroupSysctl,
    CgroupGetsockopt,
    CgroupSetsockopt,
]);
/// Who is given packets as `sk_buff`.
const OF_SKBS: ProgramSet = ProgramSet::of(&[
    SocketFilter,
    Tc,
    Action,
    CgroupSkbIngress,
    CgroupSkbEgress,
    SkSkb,
    LwtIn,
    LwtOut,
    LwtXmit,
    LwtSeg6Local,
    Netfilter,
    Fentry,
    Fexit,
    FmodRet,
    TpBtf,
    Iter,
]);
/// Who may look up connections.
const OF_CONNECTIONS: ProgramSet = ProgramSet::of(&[Tc, Xdp, XdpDevmap]);
/// Who is given addresses of Unix sockets.
const OF_UNIX_ADDRESSES: ProgramSet = ProgramSet::of(&[CgroupConnectUnix, CgroupSendmsgUnix, CgroupNameUnix]);
/// Who may use the ciphers of the kernel.
const OF_CRYPTO: ProgramSet = ProgramSet::of(&[Tc, Action, Xdp, XdpDevmap]);
const CONGESTION_CONTROL: ProgramSet = ProgramSet::of(&[StructOps]);
const OF_SESSIONS: ProgramSet = ProgramSet::of(&[KprobeSession]);

const TASKS: &str = "there is no task_struct in user space";
const CGROUPS: &str = "control groups belong to the kernel";
/// Why there are no exceptions.
pub const EXCEPTIONS: &str = "exceptions unwind the kernel's stack";
const TCP: &str = "TCP is done by the kernel";
const SOCKETS: &str = "it works on sockets of the kernel, which user space has no access to";
const CONNECTIONS: &str = "connections are tracked by the kernel";
const CRYPTO: &str = "keys and ciphers belong to the kernel";
const ARENAS: &str = "arenas need pages that the kernel maps at the same address for programs and processes";

const fn kfunc(
    name: &'static str,
    ret: &'static str,
    params: &'static [(&'static str, &'static str)],
    flags: KfuncFlags,
) -> Kfunc {
    Kfunc {
        name,
        ret,
        params,
        flags,
        programs: ProgramSet::ALL,
        hosted: false,
        excluded: None,
    }
}

impl Kfunc {
    const fn programs(self, programs: ProgramSet) -> Kfunc {
        Kfunc { programs, ..self }
    }

    const fn excluded(self, reason: &'static str) -> Kfunc {
        Kfunc {
            excluded: Some(reason),
            ..self
        }
    }
}

#[rustfmt::skip]
const TABLE: &[Kfunc] = &[
    kfunc("bpf_iter_num_new", "int", &[("it", "struct bpf_iter_num *"), ("start", "int"), ("end", "int")], ITER_NEW),
    kfunc("bpf_iter_num_next", "int *", &[("it", "struct bpf_iter_num *")], ITER_NEXT),
    kfunc("bpf_iter_num_destroy", "void", &[("it", "struct bpf_iter_num *")], ITER_DESTROY),
    kfunc("bpf_iter_bits_new", "int", &[("it", "struct bpf_iter_bits *"), ("unsafe_ptr__ign", "const u64 *"), ("nr_words", "u32")], ITER_NEW),
    kfunc("bpf_iter_bits_next", "int *", &[("it", "struct bpf_iter_bits *")], ITER_NEXT),
    kfunc("bpf_iter_bits_destroy", "void", &[("it", "struct bpf_iter_bits *")], ITER_DESTROY),
    kfunc("bpf_dynptr_adjust", "int", &[("p", "const struct bpf_dynptr *"), ("start", "u32"), ("end", "u32")], PLAIN),
    kfunc("bpf_dynptr_clone", "int", &[("p", "const struct bpf_dynptr *"), ("clone__uninit", "struct bpf_dynptr *")], PLAIN),
    kfunc("bpf_dynptr_copy", "int", &[("dst_ptr", "struct bpf_dynptr *"), ("dst_off", "u32"), ("src_ptr", "struct bpf_dynptr *"), ("src_off", "u32"), ("size", "u32")], PLAIN),
    kfunc("bpf_dynptr_memset", "int", &[("p", "struct bpf_dynptr *"), ("offset", "u32"), ("size", "u32"), ("val", "u8")], PLAIN),
    kfunc("bpf_dynptr_is_null", "bool", &[("p", "const struct bpf_dynptr *")], PLAIN),
    kfunc("bpf_dynptr_is_rdonly", "bool", &[("p", "const struct bpf_dynptr *")], PLAIN),
    kfunc("bpf_dynptr_size", "__u32", &[("p", "const struct bpf_dynptr *")], PLAIN),
    kfunc("bpf_dynptr_from_skb", "int", &[("s", "struct __sk_buff *"), ("flags", "u64"), ("ptr__uninit", "struct bpf_dynptr *")], PLAIN).programs(OF_SKBS),
    kfunc("bpf_dynptr_from_xdp", "int", &[("x", "struct xdp_md *"), ("flags", "u64"), ("ptr__uninit", "struct bpf_dynptr *")], PLAIN).programs(ProgramSet::of(&[Xdp, XdpDevmap])),
    kfunc("bpf_dynptr_slice", "void *", &[("p", "const struct bpf_dynptr *"), ("offset", "u32"), ("buffer__opt", "void *"), ("buffer__szk", "u32")], OR_NULL),
    kfunc("bpf_dynptr_slice_rdwr", "void *", &[("p", "const struct bpf_dynptr *"), ("offset", "u32"), ("buffer__opt", "void *"), ("buffer__szk", "u32")], OR_NULL),
    kfunc("bpf_obj_new_impl", "void *", &[("local_type_id__k", "u64"), ("meta__ign", "void *")], ACQUIRE_OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_percpu_obj_new_impl", "void *", &[("local_type_id__k", "u64"), ("meta__ign", "void *")], ACQUIRE_OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_refcount_acquire_impl", "void *", &[("p__refcounted_kptr", "void *"), ("meta__ign", "void *")], ACQUIRE_OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_obj_drop_impl", "void", &[("p__alloc", "void *"), ("meta__ign", "void *")], RELEASE).programs(OF_OBJECTS),
    kfunc("bpf_percpu_obj_drop_impl", "void", &[("p__alloc", "void *"), ("meta__ign", "void *")], RELEASE).programs(OF_OBJECTS),
    kfunc("bpf_list_push_front_impl", "int", &[("head", "struct bpf_list_head *"), ("node", "struct bpf_list_node *"), ("meta__ign", "void *"), ("off", "u64")], PLAIN).programs(OF_OBJECTS),
    kfunc("bpf_list_push_back_impl", "int", &[("head", "struct bpf_list_head *"), ("node", "struct bpf_list_node *"), ("meta__ign", "void *"), ("off", "u64")], PLAIN).programs(OF_OBJECTS),
    kfunc("bpf_list_pop_front", "struct bpf_list_node *", &[("head", "struct bpf_list_head *")], ACQUIRE_OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_list_pop_back", "struct bpf_list_node *", &[("head", "struct bpf_list_head *")], ACQUIRE_OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_rbtree_remove", "struct bpf_rb_node *", &[("root", "struct bpf_rb_root *"), ("node", "struct bpf_rb_node *")], ACQUIRE_OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_rbtree_add_impl", "int", &[("root", "struct bpf_rb_root *"), ("node", "struct bpf_rb_node *"), ("less", "void *"), ("meta__ign", "void *"), ("off", "u64")], PLAIN).programs(OF_OBJECTS),
    kfunc("bpf_rbtree_first", "struct bpf_rb_node *", &[("root", "struct bpf_rb_root *")], OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_list_front", "struct bpf_list_node *", &[("head", "struct bpf_list_head *")], OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_list_back", "struct bpf_list_node *", &[("head", "struct bpf_list_head *")], OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_rbtree_root", "struct bpf_rb_node *", &[("root", "struct bpf_rb_root *")], OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_rbtree_left", "struct bpf_rb_node *", &[("root", "struct bpf_rb_root *"), ("node", "struct bpf_rb_node *")], OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_rbtree_right", "struct bpf_rb_node *", &[("root", "struct bpf_rb_root *"), ("node", "struct bpf_rb_node *")], OR_NULL).programs(OF_OBJECTS),
    kfunc("bpf_rcu_read_lock", "void", &[], region(RegionStep::RcuLock)),
    kfunc("bpf_rcu_read_unlock", "void", &[], region(RegionStep::RcuUnlock)),
    kfunc("bpf_preempt_disable", "void", &[], region(RegionStep::PreemptDisable)),
    kfunc("bpf_preempt_enable", "void", &[], region(RegionStep::PreemptEnable)),
    kfunc("bpf_cpumask_create", "struct bpf_cpumask *", &[], ACQUIRE_OR_NULL).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_acquire", "struct bpf_cpumask *", &[("cpumask", "struct bpf_cpumask *")], ACQUIRE).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_release", "void", &[("cpumask", "struct bpf_cpumask *")], RELEASE).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_first", "u32", &[("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_first_zero", "u32", &[("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_first_and", "u32", &[("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_set_cpu", "void", &[("cpu", "u32"), ("cpumask", "struct bpf_cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_clear_cpu", "void", &[("cpu", "u32"), ("cpumask", "struct bpf_cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_test_cpu", "bool", &[("cpu", "u32"), ("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_test_and_set_cpu", "bool", &[("cpu", "u32"), ("cpumask", "struct bpf_cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_test_and_clear_cpu", "bool", &[("cpu", "u32"), ("cpumask", "struct bpf_cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_setall", "void", &[("cpumask", "struct bpf_cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_clear", "void", &[("cpumask", "struct bpf_cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_and", "bool", &[("dst", "struct bpf_cpumask *"), ("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_or", "void", &[("dst", "struct bpf_cpumask *"), ("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_xor", "void", &[("dst", "struct bpf_cpumask *"), ("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_equal", "bool", &[("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_intersects", "bool", &[("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_subset", "bool", &[("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_empty", "bool", &[("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_full", "bool", &[("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_copy", "void", &[("dst", "struct bpf_cpumask *"), ("src", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_any_distribute", "u32", &[("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_any_and_distribute", "u32", &[("src1", "const struct cpumask *"), ("src2", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cpumask_weight", "u32", &[("cpumask", "const struct cpumask *")], RCU).programs(OF_CPUMASKS),
    kfunc("bpf_cast_to_kern_ctx", "void *", &[("obj", "void *")], PLAIN),
    kfunc("bpf_rdonly_cast", "void *", &[("obj__ign", "const void *"), ("btf_id__k", "u32")], PLAIN),
    kfunc("bpf_map_sum_elem_count", "s64", &[("map", "const struct bpf_map *")], PLAIN),
    kfunc("bpf_copy_from_user_str", "int", &[("dst", "void *"), ("dst__sz", "u32"), ("unsafe_ptr__ign", "const void *"), ("flags", "u64")], SLEEPS),
    kfunc("bpf_wq_init", "int", &[("wq", "struct bpf_wq *"), ("p__map", "void *"), ("flags", "unsigned int")], PLAIN),
    kfunc("bpf_wq_set_callback_impl", "int", &[("wq", "struct bpf_wq *"), ("callback_fn", "void *"), ("flags", "unsigned int"), ("aux__prog", "void *")], PLAIN),
    kfunc("bpf_wq_start", "int", &[("wq", "struct bpf_wq *"), ("flags", "unsigned int")], PLAIN),
    kfunc("bpf_session_is_return", "bool", &[], PLAIN).programs(OF_SESSIONS),
    kfunc("bpf_session_cookie", "__u64 *", &[], PLAIN).programs(OF_SESSIONS),
    kfunc("bpf_task_acquire", "struct task_struct *", &[("p", "struct task_struct *")], RCU_ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(TASKS),
    kfunc("bpf_task_from_pid", "struct task_struct *", &[("pid", "s32")], ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(TASKS),
    kfunc("bpf_task_from_vpid", "struct task_struct *", &[("vpid", "s32")], ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(TASKS),
    kfunc("bpf_task_release", "void", &[("p", "struct task_struct *")], RELEASE).programs(OF_OBJECTS).excluded(TASKS),
    kfunc("bpf_iter_task_new", "int", &[("it", "struct bpf_iter_task *"), ("task__nullable", "struct task_struct *"), ("flags", "unsigned int")], ITER_NEW).excluded(TASKS),
    kfunc("bpf_iter_task_next", "struct task_struct *", &[("it", "struct bpf_iter_task *")], ITER_NEXT).excluded(TASKS),
    kfunc("bpf_iter_task_destroy", "void", &[("it", "struct bpf_iter_task *")], ITER_DESTROY).excluded(TASKS),
    kfunc("bpf_iter_task_vma_new", "int", &[("it", "struct bpf_iter_task_vma *"), ("task", "struct task_struct *"), ("addr", "u64")], ITER_NEW).excluded(TASKS),
    kfunc("bpf_iter_task_vma_next", "struct vm_area_struct *", &[("it", "struct bpf_iter_task_vma *")], ITER_NEXT).excluded(TASKS),
    kfunc("bpf_iter_task_vma_destroy", "void", &[("it", "struct bpf_iter_task_vma *")], ITER_DESTROY).excluded(TASKS),
    kfunc("bpf_cgroup_acquire", "struct cgroup *", &[("cgrp", "struct cgroup *")], RCU_ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(CGROUPS),
    kfunc("bpf_cgroup_ancestor", "struct cgroup *", &[("cgrp", "struct cgroup *"), ("level", "int")], RCU_ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(CGROUPS),
    kfunc("bpf_cgroup_from_id", "struct cgroup *", &[("cgid", "u64")], ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(CGROUPS),
    kfunc("bpf_cgroup_release", "void", &[("cgrp", "struct cgroup *")], RELEASE).programs(OF_OBJECTS).excluded(CGROUPS),
    kfunc("bpf_task_under_cgroup", "long", &[("task", "struct task_struct *"), ("ancestor", "struct cgroup *")], RCU).programs(OF_OBJECTS).excluded(CGROUPS),
    kfunc("bpf_task_get_cgroup1", "struct cgroup *", &[("task", "struct task_struct *"), ("hierarchy_id", "int")], RCU_ACQUIRE_OR_NULL).programs(OF_OBJECTS).excluded(CGROUPS),
    kfunc("bpf_iter_css_new", "int", &[("it", "struct bpf_iter_css *"), ("start", "struct cgroup_subsys_state *"), ("flags", "unsigned int")], ITER_NEW).excluded(CGROUPS),
    kfunc("bpf_iter_css_next", "struct cgroup_subsys_state *", &[("it", "struct bpf_iter_css *")], ITER_NEXT).excluded(CGROUPS),
    kfunc("bpf_iter_css_destroy", "void", &[("it", "struct bpf_iter_css *")], ITER_DESTROY).excluded(CGROUPS),
    kfunc("tcp_reno_ssthresh", "u32", &[("sk", "struct sock *")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("tcp_reno_cong_avoid", "void", &[("sk", "struct sock *"), ("ack", "u32"), ("acked", "u32")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("tcp_reno_undo_cwnd", "u32", &[("sk", "struct sock *")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("tcp_slow_start", "u32", &[("tp", "struct tcp_sock *"), ("acked", "u32")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("tcp_cong_avoid_ai", "void", &[("tp", "struct tcp_sock *"), ("w", "u32"), ("acked", "u32")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("cubictcp_init", "void", &[("sk", "struct sock *")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("cubictcp_recalc_ssthresh", "u32", &[("sk", "struct sock *")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("cubictcp_cong_avoid", "void", &[("sk", "struct sock *"), ("ack", "u32"), ("acked", "u32")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("cubictcp_state", "void", &[("sk", "struct sock *"), ("new_state", "u8")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("cubictcp_cwnd_event", "void", &[("sk", "struct sock *"), ("event", "enum tcp_ca_event")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("cubictcp_acked", "void", &[("sk", "struct sock *"), ("sample", "const struct ack_sample *")], PLAIN).programs(CONGESTION_CONTROL).excluded(TCP),
    kfunc("bpf_sock_addr_set_sun_path", "int", &[("sa_kern", "struct bpf_sock_addr_kern *"), ("sun_path", "const u8 *"), ("sun_path__sz", "u32")], PLAIN).programs(OF_UNIX_ADDRESSES).excluded(SOCKETS),
    kfunc("bpf_sock_destroy", "int", &[("sock", "struct sock_common *")], PLAIN).programs(ProgramSet::of(&[Iter])).excluded(SOCKETS),
    kfunc("bpf_xdp_ct_lookup", "struct nf_conn *", &[("xdp_ctx", "struct xdp_md *"), ("bpf_tuple", "struct bpf_sock_tuple *"), ("tuple__sz", "u32"), ("opts", "struct bpf_ct_opts *"), ("opts__sz", "u32")], ACQUIRE_OR_NULL).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_xdp_ct_alloc", "struct nf_conn___init *", &[("xdp_ctx", "struct xdp_md *"), ("bpf_tuple", "struct bpf_sock_tuple *"), ("tuple__sz", "u32"), ("opts", "struct bpf_ct_opts *"), ("opts__sz", "u32")], ACQUIRE_OR_NULL).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_skb_ct_lookup", "struct nf_conn *", &[("skb_ctx", "struct __sk_buff *"), ("bpf_tuple", "struct bpf_sock_tuple *"), ("tuple__sz", "u32"), ("opts", "struct bpf_ct_opts *"), ("opts__sz", "u32")], ACQUIRE_OR_NULL).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_skb_ct_alloc", "struct nf_conn___init *", &[("skb_ctx", "struct __sk_buff *"), ("bpf_tuple", "struct bpf_sock_tuple *"), ("tuple__sz", "u32"), ("opts", "struct bpf_ct_opts *"), ("opts__sz", "u32")], ACQUIRE_OR_NULL).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_ct_release", "void", &[("nfct", "struct nf_conn *")], RELEASE).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_ct_change_timeout", "int", &[("nfct", "struct nf_conn *"), ("timeout", "u32")], PLAIN).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_ct_change_status", "int", &[("nfct", "struct nf_conn *"), ("status", "u32")], PLAIN).programs(OF_CONNECTIONS).excluded(CONNECTIONS),
    kfunc("bpf_crypto_ctx_create", "struct bpf_crypto_ctx *", &[("params", "const struct bpf_crypto_params *"), ("params__sz", "u32"), ("err", "int *")], KfuncFlags { might_sleep: true, ..ACQUIRE_OR_NULL }).programs(ProgramSet::of(&[Syscall])).excluded(CRYPTO),
    kfunc("bpf_crypto_ctx_acquire", "struct bpf_crypto_ctx *", &[("ctx", "struct bpf_crypto_ctx *")], RCU_ACQUIRE_OR_NULL).programs(ProgramSet::of(&[Syscall])).excluded(CRYPTO),
    kfunc("bpf_crypto_ctx_release", "void", &[("ctx", "struct bpf_crypto_ctx *")], RELEASE).programs(ProgramSet::of(&[Syscall])).excluded(CRYPTO),
    kfunc("bpf_crypto_encrypt", "int", &[("ctx", "struct bpf_crypto_ctx *"), ("src", "const struct bpf_dynptr *"), ("dst", "const struct bpf_dynptr *"), ("siv__nullable", "const struct bpf_dynptr *")], RCU).programs(OF_CRYPTO).excluded(CRYPTO),
    kfunc("bpf_crypto_decrypt", "int", &[("ctx", "struct bpf_crypto_ctx *"), ("src", "const struct bpf_dynptr *"), ("dst", "const struct bpf_dynptr *"), ("siv__nullable", "const struct bpf_dynptr *")], RCU).programs(OF_CRYPTO).excluded(CRYPTO),
    kfunc("bpf_throw", "void", &[("cookie", "u64")], PLAIN).programs(OF_OBJECTS).excluded(EXCEPTIONS),
    kfunc("bpf_arena_alloc_pages", "void *", &[("p__map", "void *"), ("addr__ign", "void *"), ("page_cnt", "u32"), ("node_id", "int"), ("flags", "u64")], PLAIN).excluded(ARENAS),
    kfunc("bpf_arena_free_pages", "void", &[("p__map", "void *"), ("ptr__ign", "void *"), ("page_cnt", "u32")], PLAIN).excluded(ARENAS),
];

/// The kfuncs that are known.
#[must_use]
pub const fn all() -> &'static [Kfunc] {
    TABLE
}

/// A kfunc by name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Kfunc> {
    TABLE.iter().find(|kfunc| kfunc.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (i, kfunc) in TABLE.iter().enumerate() {
            assert!(kfunc.name.contains('_') && kfunc.params.len() <= 5);
            assert!(
                TABLE[i + 1..].iter().all(|other| other.name != kfunc.name),
                "{}",
                kfunc.name
            );
            assert!(!(kfunc.hosted && kfunc.excluded.is_some()), "{}", kfunc.name);
        }
    }

    #[test]
    fn pointers_are_what_is_acquired_or_null() {
        for kfunc in TABLE {
            let pointer = kfunc.ret.ends_with('*');
            assert!(
                pointer || !kfunc.flags.acquires && !kfunc.flags.or_null,
                "{}",
                kfunc.name
            );
        }
    }

    #[test]
    fn iterators_come_in_threes() {
        for kfunc in TABLE.iter().filter(|kfunc| kfunc.flags.iterator.is_some()) {
            let (family, _) = kfunc.name.rsplit_once('_').expect("an iterator's name has parts");
            for (step, end) in [
                (IteratorStep::New, "new"),
                (IteratorStep::Next, "next"),
                (IteratorStep::Destroy, "destroy"),
            ] {
                let found = by_name(&format!("{family}_{end}")).expect("all three are there");
                assert_eq!(found.flags.iterator, Some(step));
                let state = format!("struct {family} *");
                assert_eq!(found.params[0], ("it", state.as_str()), "{}", found.name);
            }
        }
    }
}
