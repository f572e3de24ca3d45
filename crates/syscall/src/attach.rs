//! `BPF_PROG_ATTACH`, `BPF_PROG_DETACH` and `BPF_PROG_QUERY`: tc programs at devices, attached until somebody detaches them.
//!
//! Other types of programs are attached by links: there are no control groups, sockets and network namespaces to attach to.

use hitless::{Beside, Place};
use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;
use crate::link::{self, F_REPLACE, TCX_EGRESS, TCX_INGRESS};

const TARGET: Field<u32> = Field::at(0);
const PROG_FD: Field<u32> = Field::at(4);
const ATTACH_TYPE: Field<u32> = Field::at(8);
const FLAGS: Field<u32> = Field::at(12);
const REPLACE_FD: Field<u32> = Field::at(16);
const RELATIVE: Field<u32> = Field::at(20);
const EXPECTED_REVISION: Field<u64> = Field::at(24);

const QUERY_ATTACH_TYPE: Field<u32> = Field::at(4);
const QUERY_FLAGS: Field<u32> = Field::at(8);
const QUERY_ATTACH_FLAGS: Field<u32> = Field::at(12);
const PROG_IDS: Field<u64> = Field::at(16);
const COUNT: Field<u32> = Field::at(24);
const PROG_ATTACH_FLAGS: Field<u64> = Field::at(32);
const LINK_IDS: Field<u64> = Field::at(40);
const LINK_ATTACH_FLAGS: Field<u64> = Field::at(48);
const REVISION: Field<u64> = Field::at(56);

fn check_type(attach_type: u32) -> Result<(), Errno> {
    match attach_type {
        TCX_INGRESS | TCX_EGRESS => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Attaches a tc program.
pub(crate) fn attach(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let attach_type = attr.get(ATTACH_TYPE);
    check_type(attach_type)?;
    let flags = attr.get(FLAGS);
    if flags & !(F_REPLACE | link::PLACES) != 0 {
        return Err(Errno::INVAL);
    }
    let program = call.program(attr.get(PROG_FD))?;
    let mut options = link::in_chain(
        call,
        flags & !F_REPLACE,
        attr.get(RELATIVE),
        attr.get(EXPECTED_REVISION),
    )?;
    let replaced = match (flags & F_REPLACE != 0, attr.get(REPLACE_FD)) {
        (true, fd) => {
            let replaced = call.program(fd)?.id();
            options.place = Place::Replace(Beside::Program(replaced));
            Some(replaced)
        }
        (false, 0) => None,
        (false, _) => return Err(Errno::INVAL),
    };
    let device = attr.get(TARGET);
    let made = link::attach_to_device(call, &program, (attach_type, device), &options)?;
    call.bpf.links.keep((attach_type, device, program.id()), made, replaced);
    Ok(0)
}

/// Detaches a tc program that was attached so.
pub(crate) fn detach(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let attach_type = attr.get(ATTACH_TYPE);
    check_type(attach_type)?;
    if attr.get(FLAGS) != 0 {
        return Err(Errno::INVAL);
    }
    let program = call.program(attr.get(PROG_FD))?;
    if attr.get(RELATIVE) != 0 {
        return Err(Errno::INVAL);
    }
    let key = (attach_type, attr.get(TARGET), program.id());
    let kept = call.bpf.links.release(key).ok_or(Errno::NOENT)?;
    drop(kept);
    Ok(0)
}

/// Says which programs and links there are, in their order.
pub(crate) fn query(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let attach_type = attr.get(QUERY_ATTACH_TYPE);
    check_type(attach_type)?;
    if attr.get(QUERY_FLAGS) != 0 || attr.get(QUERY_ATTACH_FLAGS) != 0 {
        return Err(Errno::INVAL);
    }
    let device = attr.get(TARGET);
    let name = call.bpf.links.hook_name(device, attach_type);
    let found = call.bpf.runtime().programs_by_name("tc", name.as_deref());
    let found = found.ok_or(Errno::NODEV)?;
    let write = |at, bytes: &[u8]| call.caller.write(at, bytes);
    write(attr.address_of(QUERY_ATTACH_FLAGS), &[0; 4])?;
    write(attr.address_of(REVISION), &found.revision.to_ne_bytes())?;
    let count = found.programs.len() as u32;
    write(attr.address_of(COUNT), &count.to_ne_bytes())?;
    let room = attr.get(COUNT);
    if room == 0 || attr.get(PROG_IDS) == 0 || count == 0 {
        return Ok(0);
    }
    for (index, (link, program)) in (0..room).zip(&found.programs) {
        let kept = call.bpf.links.is_kept((attach_type, device, program.id()));
        let at = |base: u64| base.wrapping_add(4 * u64::from(index));
        write(at(attr.get(PROG_IDS)), &program.id().to_ne_bytes())?;
        for flags in [PROG_ATTACH_FLAGS, LINK_ATTACH_FLAGS] {
            if attr.get(flags) != 0 {
                write(at(attr.get(flags)), &[0; 4])?;
            }
        }
        if attr.get(LINK_IDS) != 0 {
            // What is attached without a link has none.
            let link = if kept { 0 } else { *link };
            write(at(attr.get(LINK_IDS)), &link.to_ne_bytes())?;
        }
    }
    if room < count { Err(Errno::NOSPC) } else { Ok(0) }
}
