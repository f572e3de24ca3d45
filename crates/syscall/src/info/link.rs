//! `struct bpf_link_info`.

use hitless::{LinkTarget, ProgramKind};
use hitless_verifier::tables::{map_trace, program_types};
use rustix::io::Errno;

use super::Info;
use crate::Call;
use crate::link::OpenLink;

const SIZE: usize = 64;

const TYPE: usize = 0;
const ID: usize = 4;
const PROG_ID: usize = 8;
/// What follows depends on the type of the link.
const REST: usize = 16;

/// Types of links (`enum bpf_link_type`).
const RAW_TRACEPOINT: u32 = 1;
const TRACING: u32 = 2;
const CGROUP: u32 = 3;
const XDP: u32 = 6;
const PERF_EVENT: u32 = 7;
const TCX: u32 = 11;

/// The id of the host's BTF: none that callers load has it.
const HOST_BTF: u32 = 0;

pub(super) fn write(call: &Call<'_>, link: &OpenLink) -> Result<u32, Errno> {
    let mut info = Info::<SIZE>::read(call)?;
    let (tp_name, tp_room) = (info.u64(REST), info.u32(REST + 8));
    info.0.fill(0);
    info.put_u32(ID, link.id);
    let runtime = call.bpf.runtime();
    let Some(known) = runtime.link_info(link.id) else {
        // It is detached: what it was is all that there is to say.
        return info.write(call);
    };
    info.put_u32(PROG_ID, known.program_id.unwrap_or(0));
    let program = known.program_id.and_then(|id| runtime.program_by_id(id));
    let kind = program.as_ref().map(|program| program.program_type().kind());
    let target = match &known.target {
        LinkTarget::Map { id, .. } => {
            info.put_u32(TYPE, map_trace::LINK_TYPE);
            info.put_u32(REST, *id);
            return info.write(call);
        }
        LinkTarget::Function { program_id, btf_id, .. } => {
            info.put_u32(TYPE, TRACING);
            info.put_u32(REST + 4, *program_id);
            info.put_u32(REST + 8, btf_id.map_or(0, |id| id.0));
            return info.write(call);
        }
        LinkTarget::Hook(name) => name.as_str(),
        _ => "",
    };
    match kind {
        Some(ProgramKind::Xdp) => {
            info.put_u32(TYPE, XDP);
            info.put_u32(REST, link.device);
        }
        Some(ProgramKind::Tc) => {
            info.put_u32(TYPE, TCX);
            info.put_u32(REST, link.device);
            info.put_u32(REST + 4, link.attach_type);
        }
        Some(ProgramKind::RawTracepoint) => {
            info.put_u32(TYPE, RAW_TRACEPOINT);
            info.put_u64(REST, tp_name);
            put_text(call, &mut info, (tp_name, tp_room), target)?;
            info.put_u64(REST + 16, known.cookie);
        }
        Some(ProgramKind::CgroupSkbIngress | ProgramKind::CgroupSkbEgress) => {
            info.put_u32(TYPE, CGROUP);
            info.put_u32(REST + 8, link.attach_type);
        }
        Some(kind) if program_types::of(kind).is_typed() => {
            info.put_u32(TYPE, TRACING);
            info.put_u32(REST, link.attach_type);
            info.put_u32(REST + 4, HOST_BTF);
            let record = program.and_then(|program| call.bpf.programs.get(program.id()));
            info.put_u32(REST + 8, record.map_or(0, |record| record.attach_btf_id));
            info.put_u64(REST + 16, known.cookie);
        }
        _ => info.put_u32(TYPE, PERF_EVENT),
    }
    info.write(call)
}

/// Writes a name where the caller has room for it, and how long it is.
fn put_text(call: &Call<'_>, info: &mut Info<SIZE>, (address, room): (u64, u32), text: &str) -> Result<(), Errno> {
    if (address != 0) != (room != 0) {
        return Err(Errno::INVAL);
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    info.put_u32(REST + 8, bytes.len() as u32);
    if address == 0 {
        return Ok(());
    }
    if bytes.len() > room as usize {
        bytes.truncate(room as usize - 1);
        bytes.push(0);
        call.caller.write(address, &bytes)?;
        return Err(Errno::NOSPC);
    }
    call.caller.write(address, &bytes)
}
