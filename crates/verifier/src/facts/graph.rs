//! Lists and trees in map values and in objects that programs allocate: their heads, and what links objects into them.

use hitless_btf::TypeId;

/// A field of a list or tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GraphField {
    /// Where it is in the value or object, in bytes.
    pub off: u32,
    /// What it is.
    pub kind: GraphFieldKind,
}

/// What a field of a list or tree is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GraphFieldKind {
    /// The head of a list of such objects (`struct bpf_list_head`).
    List(Contained),
    /// What links an object into a list (`struct bpf_list_node`).
    ListNode,
    /// The root of a tree of such objects (`struct bpf_rb_root`).
    Tree(Contained),
    /// What links an object into a tree (`struct bpf_rb_node`).
    TreeNode,
    /// How many references there are to an object (`struct bpf_refcount`).
    Refcount,
}

/// What is in a list or tree (`__contains`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contained {
    /// The struct, among the program's own types.
    pub ty: TypeId,
    /// Where in it the node is that links it, in bytes.
    pub off: u32,
}

impl GraphFieldKind {
    /// Whether lists and trees begin here, with what they contain.
    #[must_use]
    pub const fn contained(self) -> Option<Contained> {
        match self {
            GraphFieldKind::List(contained) | GraphFieldKind::Tree(contained) => Some(contained),
            _ => None,
        }
    }

    /// Whether it links an object.
    #[must_use]
    pub const fn is_node(self) -> bool {
        matches!(self, GraphFieldKind::ListNode | GraphFieldKind::TreeNode)
    }

    /// The kernel's name of the struct.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            GraphFieldKind::List(_) => "bpf_list_head",
            GraphFieldKind::ListNode => "bpf_list_node",
            GraphFieldKind::Tree(_) => "bpf_rb_root",
            GraphFieldKind::TreeNode => "bpf_rb_node",
            GraphFieldKind::Refcount => "bpf_refcount",
        }
    }
}
