//! What objects there are, by their ids, and descriptors for them.

use std::sync::Arc;

use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;
use crate::object::{Access, Object, OpenMap};

/// The id to begin behind, or that of the object.
const ID: Field<u32> = Field::at(0);
const NEXT_ID: Field<u32> = Field::at(4);
const OPEN_FLAGS: Field<u32> = Field::at(8);

/// No id is larger.
const MAX_ID: u32 = i32::MAX as u32;

/// Says the first of some ids, which are in order, behind the caller's.
fn next(call: &Call<'_>, ids: &[u32]) -> Result<u32, Errno> {
    let start = call.attr.get(ID);
    if start >= MAX_ID {
        return Err(Errno::INVAL);
    }
    let next = ids.iter().find(|id| **id > start).ok_or(Errno::NOENT)?;
    call.caller.write(call.attr.address_of(NEXT_ID), &next.to_ne_bytes())?;
    Ok(0)
}

/// `BPF_MAP_GET_NEXT_ID`.
pub(crate) fn next_map(call: &Call<'_>) -> Result<u32, Errno> {
    next(call, &call.bpf.runtime.map_ids())
}

/// `BPF_PROG_GET_NEXT_ID`.
pub(crate) fn next_program(call: &Call<'_>) -> Result<u32, Errno> {
    next(call, &call.bpf.runtime.program_ids())
}

/// `BPF_LINK_GET_NEXT_ID`.
pub(crate) fn next_link(call: &Call<'_>) -> Result<u32, Errno> {
    next(call, &call.bpf.runtime.link_ids())
}

/// `BPF_LINK_GET_FD_BY_ID`. A descriptor of a link of the host's does not keep it.
pub(crate) fn open_link(call: &Call<'_>) -> Result<u32, Errno> {
    let link = call.bpf.links.by_id(&call.bpf.runtime, call.attr.get(ID));
    call.open(Object::Link(link.ok_or(Errno::NOENT)?))
}

/// `BPF_BTF_GET_NEXT_ID`.
pub(crate) fn next_btf(call: &Call<'_>) -> Result<u32, Errno> {
    next(call, &call.bpf.btfs.ids())
}

/// `BPF_MAP_GET_FD_BY_ID`.
pub(crate) fn open_map(call: &Call<'_>) -> Result<u32, Errno> {
    let access = Access::only(call.attr.get(OPEN_FLAGS))?;
    let map = call.bpf.runtime.map_by_id(call.attr.get(ID)).ok_or(Errno::NOENT)?;
    call.open(Object::Map(Arc::new(OpenMap::new(map, access))))
}

/// `BPF_PROG_GET_FD_BY_ID`.
pub(crate) fn open_program(call: &Call<'_>) -> Result<u32, Errno> {
    let program = call.bpf.runtime.program_by_id(call.attr.get(ID)).ok_or(Errno::NOENT)?;
    call.open(Object::Program(program))
}

/// `BPF_BTF_GET_FD_BY_ID`.
pub(crate) fn open_btf(call: &Call<'_>) -> Result<u32, Errno> {
    let btf = call.bpf.btfs.by_id(call.attr.get(ID)).ok_or(Errno::NOENT)?;
    call.open(Object::Btf(btf))
}
