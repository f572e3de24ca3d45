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
    /// An open-coded iterator on the stack.
    Iterator(IteratorType),
    /// A pointer that the kfunc takes care with (`__ign`).
    Ignored,
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

const NUMBERS: &[&str] = &[
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
            known,
            excluded: known.and_then(|kfunc| kfunc.excluded),
        }
    }

    /// What it takes.
    pub fn args(&self) -> impl Iterator<Item = KfuncArg> + '_ {
        let params = self.known.map_or(&[][..], |kfunc| kfunc.params);
        params.iter().map(|&(name, ty)| argument(name, ty))
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

    /// Whether it may sleep.
    #[must_use]
    pub fn might_sleep(&self) -> bool {
        self.known.is_some_and(|kfunc| kfunc.flags.might_sleep)
    }

    /// What it takes or returns that the verifier does not support, in words.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        let kfunc = self.known?;
        let argument = self.args().find_map(|arg| match arg {
            KfuncArg::Unsupported(what) => Some(what),
            _ => None,
        });
        let result = match kfunc.ret {
            "void" => None,
            ret if NUMBERS.contains(&ret) => None,
            _ if self.iterator().is_some() => None,
            _ => Some("pointers to kernel objects"),
        };
        argument.or(result)
    }
}

fn argument(name: &str, ty: &str) -> KfuncArg {
    let iterator = ITERATORS.iter().find(|iterator| iterator.0 == ty);
    match iterator {
        Some((_, iterator)) => KfuncArg::Iterator(*iterator),
        None if name.ends_with("__ign") => KfuncArg::Ignored,
        None if NUMBERS.contains(&ty) && !name.ends_with("__k") && !name.ends_with("__szk") => KfuncArg::Number,
        None if ty.contains("bpf_dynptr") => KfuncArg::Unsupported("dynptrs given to kernel functions"),
        None => KfuncArg::Unsupported("pointers to kernel objects"),
    }
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
        assert!(
            KfuncProto::new(ProgramKind::Tc, 9, 0, "bpf_obj_new_impl")
                .unsupported()
                .is_some()
        );
        assert!(KfuncProto::new(ProgramKind::Tc, 9, 0, "bpf_throw").excluded.is_some());
        assert_eq!(KfuncProto::new(ProgramKind::Tc, 9, 0, "no_such_kfunc").known, None);
    }
}
