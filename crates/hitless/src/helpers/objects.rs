//! Objects that programs allocate: pointers to them in maps, lists and trees of them.
//!
//! What is passed around are addresses of objects, and of nodes in them; the lock beside a list or tree is held, as the verifier
//! has proved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hitless_verifier::tables::helpers::number;

use super::errno::{EINVAL, returned};
use super::{Helper, broken};
use crate::env::RunEnv;
use crate::objects::Heap;
use crate::objects::list::{self, End};
use crate::objects::tree::{Side, Tree};

pub(super) const HELPERS: &[Helper] = &[Helper::new(number("bpf_kptr_xchg"), kptr_xchg)];

/// Where the objects are: who has one was loaded after their memory was made.
fn heap<'a>(env: &RunEnv<'a>) -> &'a Arc<Heap> {
    match env.shared().objects() {
        Some(heap) => heap,
        None => broken(0, "no object was ever allocated"),
    }
}

unsafe extern "C" fn kptr_xchg(_: &mut RunEnv<'_>, field: u64, object: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a field for a pointer, aligned to eight bytes, in a value of a map or in an object; nobody
    // accesses it other than atomically.
    unsafe { &*(field as *const AtomicU64) }.swap(object, Ordering::AcqRel)
}

/// `bpf_obj_new()`: NULL where there is no memory.
pub(super) unsafe extern "C" fn new(env: &mut RunEnv<'_>, ty: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let Some(ty) = env.program().object_type(ty) else {
        return 0;
    };
    heap(env).allocate(ty).unwrap_or(0)
}

/// `bpf_obj_drop()`.
pub(super) unsafe extern "C" fn release(env: &mut RunEnv<'_>, object: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a reference to an object.
    unsafe { heap(env).release(object) };
    0
}

/// `bpf_refcount_acquire()`.
pub(super) unsafe extern "C" fn acquire(env: &mut RunEnv<'_>, object: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved an object that is there, or was when the run began.
    if unsafe { heap(env).acquire(object) } {
        object
    } else {
        0
    }
}

fn kept(kept: bool) -> u64 {
    returned(if kept { Ok(0) } else { Err(EINVAL) })
}

/// `bpf_list_push_front()`.
pub(super) unsafe extern "C" fn push_front(env: &mut RunEnv<'_>, head: u64, node: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a head, and a node of an object that the program has a reference to.
    kept(unsafe { list::push(heap(env), head, node, End::Front) })
}

/// `bpf_list_push_back()`.
pub(super) unsafe extern "C" fn push_back(env: &mut RunEnv<'_>, head: u64, node: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    kept(unsafe { list::push(heap(env), head, node, End::Back) })
}

/// `bpf_list_pop_front()`.
pub(super) unsafe extern "C" fn pop_front(_: &mut RunEnv<'_>, head: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a head.
    unsafe { list::pop(head, End::Front) }
}

/// `bpf_list_pop_back()`.
pub(super) unsafe extern "C" fn pop_back(_: &mut RunEnv<'_>, head: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { list::pop(head, End::Back) }
}

/// `bpf_list_front()`.
pub(super) unsafe extern "C" fn front(_: &mut RunEnv<'_>, head: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { list::peek(head, End::Front) }
}

/// `bpf_list_back()`.
pub(super) unsafe extern "C" fn back(_: &mut RunEnv<'_>, head: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { list::peek(head, End::Back) }
}

/// `bpf_rbtree_add()`.
pub(super) unsafe extern "C" fn tree_add(env: &mut RunEnv<'_>, root: u64, node: u64, less: u64, _: u64, _: u64) -> u64 {
    let heap = heap(env);
    // SAFETY: the verifier proved a function that takes two nodes, and leaves the tree alone.
    let less = |new: u64, other: u64| unsafe { env.callback(less, [new, other, 0, 0, 0]) } != 0;
    // SAFETY: the verifier proved a root, and a node of an object that the program has a reference to.
    kept(unsafe { Tree::at(root).insert(heap, node, less) })
}

/// `bpf_rbtree_remove()`: NULL if it is not in this tree.
pub(super) unsafe extern "C" fn tree_remove(_: &mut RunEnv<'_>, root: u64, node: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a root and a node.
    if unsafe { Tree::at(root) }.remove(node) {
        node
    } else {
        0
    }
}

/// `bpf_rbtree_first()`.
pub(super) unsafe extern "C" fn tree_first(_: &mut RunEnv<'_>, root: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved a root.
    unsafe { Tree::at(root) }.first()
}

/// `bpf_rbtree_root()`.
pub(super) unsafe extern "C" fn tree_root(_: &mut RunEnv<'_>, root: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as above.
    unsafe { Tree::at(root) }.top()
}

/// `bpf_rbtree_left()`: NULL also if the node is not in this tree.
pub(super) unsafe extern "C" fn tree_left(_: &mut RunEnv<'_>, root: u64, node: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as for this function.
    unsafe { child(root, node, Side::Left) }
}

/// `bpf_rbtree_right()`.
pub(super) unsafe extern "C" fn tree_right(_: &mut RunEnv<'_>, root: u64, node: u64, _: u64, _: u64, _: u64) -> u64 {
    // SAFETY: as for this function.
    unsafe { child(root, node, Side::Right) }
}

/// # Safety
/// There are a root, whose lock is held, and a node.
unsafe fn child(root: u64, node: u64, side: Side) -> u64 {
    // SAFETY: as for this function.
    let tree = unsafe { Tree::at(root) };
    if tree.owns(node) { tree.child(node, side) } else { 0 }
}
