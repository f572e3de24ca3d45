//! What both sides are asked to do, and what they answer.

use hitless::{MapDef, MapKind};

/// A call on a map.
#[derive(Clone, Debug)]
pub enum Call {
    Lookup(Vec<u8>),
    /// Whether a bloom filter has the value.
    Contains(Vec<u8>),
    Update(Vec<u8>, Vec<u8>, u64),
    /// Puts in one of the objects: the first two fit, the third does not.
    Insert(Vec<u8>, usize, u64),
    Delete(Vec<u8>),
    /// Looks up and deletes.
    Take(Vec<u8>),
    /// Only whether there is a next key: which one it is is nobody's business.
    Next(Option<Vec<u8>>),
    /// All keys.
    Walk,
    /// All elements, by batches; also deletes them.
    Batch {
        delete: bool,
    },
    UpdateBatch(Vec<(Vec<u8>, Vec<u8>)>, u64),
    /// Puts in objects.
    InsertBatch(Vec<(Vec<u8>, usize)>),
    DeleteBatch(Vec<Vec<u8>>),
    Freeze,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub errno: i32,
    /// Values, keys or elements, sorted.
    pub data: Vec<Vec<u8>>,
}

impl Outcome {
    /// Of a batch: how many elements came before the error. If the kernel looked at none it does not say so.
    pub fn of_batch(errno: i32, done: u32) -> Outcome {
        let started = !matches!(errno, libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP | 524);
        Outcome {
            errno,
            data: if started {
                vec![done.to_ne_bytes().to_vec()]
            } else {
                Vec::new()
            },
        }
    }

    pub fn of(errno: i32) -> Outcome {
        Outcome {
            errno,
            data: Vec::new(),
        }
    }
}

/// A side: something that makes a map, and does calls on it.
pub trait Maps: Sized {
    /// Makes a map; else the errno.
    fn make(def: &MapDef) -> Result<Self, i32>;

    fn call(&mut self, call: &Call) -> Outcome;
}

/// A map that is like the template.
pub fn fitting(template: &MapDef) -> MapDef {
    template.clone()
}

/// A map that is not.
pub fn foreign(template: &MapDef) -> MapDef {
    MapDef {
        kind: MapKind::Hash,
        key_size: template.key_size + 4,
        ..template.clone()
    }
}
