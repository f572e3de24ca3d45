//! Commands that Linux does not have: waiting for what programs took from maps, and for what becomes of maps.

use std::time::Duration;

use hitless::{AttachError, MapKind, WaitError, WaitEvent};
use rustix::io::Errno;

use crate::attr::Field;
use crate::object::Object;
use crate::{Call, ENOTSUPP, link};

const MAP_FD: Field<u32> = Field::at(0);
const MAP_ID: Field<u32> = Field::at(4);
const EVENT: Field<u32> = Field::at(8);
const TIMEOUT_NS: Field<u64> = Field::at(16);

/// What becomes of a wait whose end the caller does not say: a year stands for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

fn errno(error: &WaitError) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

/// `BPF_SYNCHRONIZE_MAP_TO_MAP_REFERENCES`: until no program uses what it took from a map of maps before. Has no attributes, not
/// even empty ones.
pub(crate) fn synchronize(call: &Call<'_>) -> Result<u32, Errno> {
    if call.attr.address() != 0 || call.attr.size() != 0 {
        return Err(Errno::INVAL);
    }
    let waited = call.bpf.runtime().synchronize(Some(FOR_EVER));
    waited.map_err(AttachError::from).map_err(|error| link::errno(&error))?;
    Ok(0)
}

/// `BPF_MAP_SYNC_REFS {map_fd}`: the same for one map of maps.
pub(crate) fn sync_refs(call: &Call<'_>) -> Result<u32, Errno> {
    let open = call.open_map(call.attr.get(MAP_FD))?;
    let map = open.map();
    if !matches!(map.def().kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
        return Err(ENOTSUPP);
    }
    map.sync_refs(FOR_EVER).map_err(|error| errno(&error))?;
    Ok(0)
}

/// `BPF_MAP_WAIT {map_fd, map_id, event, timeout_ns}`: until something becomes of a map. The map is that of the id if it is not
/// zero, else that of the descriptor; 0 as the timeout stands for ever. Waiting for `FREED` by a descriptor gives up what it stands
/// for, and all its copies.
pub(crate) fn wait(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let timeout = match attr.get(TIMEOUT_NS) {
        0 => FOR_EVER,
        ns => Duration::from_nanos(ns).min(FOR_EVER),
    };
    let runtime = call.bpf.runtime();
    let event = match attr.get(EVENT) {
        0 => WaitEvent::PendingRefs,
        1 => WaitEvent::Drained,
        2 => WaitEvent::Freed,
        _ => return Err(Errno::INVAL),
    };
    let waited = match (event, attr.get(MAP_ID)) {
        (WaitEvent::Freed, 0) => {
            let fd = attr.get(MAP_FD);
            let identity = call.caller.identify(fd)?;
            let Some(Object::Map(open)) = call.bpf.descriptors.get(identity) else {
                return Err(Errno::INVAL);
            };
            let id = open.map().id();
            drop(open);
            call.bpf.descriptors.remove(identity);
            runtime.wait_freed(id, timeout)
        }
        (WaitEvent::Freed, id) => runtime.wait_freed(id, timeout),
        (_, 0) => match call.object(attr.get(MAP_FD))? {
            Object::Map(open) => open.map().wait(event, timeout),
            _ => return Err(Errno::INVAL),
        },
        // The handle that is made to wait with is the caller's: nobody but descriptors may hold the map besides.
        (_, id) => runtime.map_by_id(id).ok_or(Errno::NOENT)?.wait(event, timeout),
    };
    waited.map_err(|error| errno(&error))?;
    Ok(0)
}
