//! User references: what the host holds a map by.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use super::Map;
use crate::runtime::Inner;

/// A user reference to a map, as a file descriptor or a pin is one in the kernel. Clones are further ones.
///
/// Programs, maps of maps and links that use a map hold references of their own, which keep it alive. What a map *refers to*
/// is another matter: a prog array is emptied when its last user reference goes, even while programs still hold it, or else
/// an array that holds a program that uses the array would keep both for ever. So is a perf event array, unless it was made
/// with [`MapFlags::PRESERVE_ELEMS`](crate::MapFlags::PRESERVE_ELEMS).
///
/// A handle is used like the `Arc<Map>` that it dereferences to. Such an `Arc` is a reference, not a user reference.
#[derive(Debug)]
pub struct MapHandle {
    map: Arc<Map>,
    runtime: Weak<Inner>,
}

impl MapHandle {
    pub(crate) fn new(map: Arc<Map>, runtime: &Arc<Inner>) -> MapHandle {
        map.add_user();
        MapHandle {
            map,
            runtime: Arc::downgrade(runtime),
        }
    }

    /// The map's runtime, if it is still there.
    pub(super) fn runtime(&self) -> Option<Arc<Inner>> {
        self.runtime.upgrade()
    }
}

impl Deref for MapHandle {
    type Target = Arc<Map>;

    fn deref(&self) -> &Arc<Map> {
        &self.map
    }
}

impl Clone for MapHandle {
    fn clone(&self) -> MapHandle {
        self.map.add_user();
        MapHandle {
            map: Arc::clone(&self.map),
            runtime: Weak::clone(&self.runtime),
        }
    }
}

impl Drop for MapHandle {
    fn drop(&mut self) {
        self.map.remove_user();
    }
}
