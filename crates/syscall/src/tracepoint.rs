//! `BPF_RAW_TRACEPOINT_OPEN`: what old loaders attach raw tracepoints by, and programs that know what they are attached to.

use hitless::{AttachError, AttachOptions, ProgramKind};
use rustix::io::Errno;

use crate::attr::Field;
use crate::{Call, link};

const NAME: Field<u64> = Field::at(0);
const PROG_FD: Field<u32> = Field::at(8);
const COOKIE: Field<u64> = Field::at(16);

/// Bytes of a tracepoint's name, its end included.
const NAME_LEN: usize = 128;

/// Attaches a program to the hook with a name, or to the one that it was loaded for.
pub(crate) fn open(call: &Call<'_>) -> Result<u32, Errno> {
    let program = call.program(call.attr.get(PROG_FD))?;
    let options = AttachOptions {
        cookie: call.attr.get(COOKIE),
        ..AttachOptions::default()
    };
    let kind = program.program_type().kind();
    let at = call.attr.get(NAME);
    let name = match kind {
        ProgramKind::RawTracepoint => {
            let name = call.caller.read_string(at, NAME_LEN - 1)?;
            String::from_utf8(name).map_err(|_| Errno::NOENT)?
        }
        _ if at != 0 => return Err(Errno::INVAL),
        ProgramKind::Ext => {
            let made = call.bpf.runtime().attach_extension(&program);
            return link::open(call, made.map_err(|error| link::errno(&error))?, 0, 0);
        }
        _ => {
            let is_for_one = link::is_for_one_place(kind);
            let target = program.program_type().target().filter(|_| is_for_one);
            target.ok_or(Errno::INVAL)?.to_owned()
        }
    };
    let made = call.bpf.runtime().attach_by_name(Some(&name), &program, &options);
    let made = made.map_err(|error: AttachError| link::errno(&error))?;
    link::open(call, made, link::attach_types(kind)[0], 0)
}
