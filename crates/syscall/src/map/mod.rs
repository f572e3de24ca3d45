//! Commands on maps: creation, elements, batches, freezing and waiting.

mod batch;
mod create;
mod elements;
mod wait;

pub(crate) use batch::{delete_batch, lookup_and_delete_batch, lookup_batch, update_batch};
pub(crate) use create::create;
pub(crate) use elements::{delete, freeze, lookup, lookup_and_delete, next_key, update};
use hitless::MapError;
use rustix::io::Errno;
pub(crate) use wait::{sync_refs, synchronize, wait};

/// `BPF_F_LOCK`.
const LOCK: u64 = 4;

fn errno(error: MapError) -> Errno {
    Errno::from_raw_os_error(error.errno())
}
