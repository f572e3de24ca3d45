//! `BPF_PROG_TEST_RUN`.

use hitless::{ProgramKind, TestResult, TestRun, TestRunError};
use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;

const PROG_FD: Field<u32> = Field::at(0);
const RETVAL: Field<u32> = Field::at(4);
const DATA_SIZE_IN: Field<u32> = Field::at(8);
const DATA_SIZE_OUT: Field<u32> = Field::at(12);
const DATA_IN: Field<u64> = Field::at(16);
const DATA_OUT: Field<u64> = Field::at(24);
const REPEAT: Field<u32> = Field::at(32);
const DURATION: Field<u32> = Field::at(36);
const CTX_SIZE_IN: Field<u32> = Field::at(40);
const CTX_SIZE_OUT: Field<u32> = Field::at(44);
const CTX_IN: Field<u64> = Field::at(48);
const CTX_OUT: Field<u64> = Field::at(56);
const FLAGS: Field<u32> = Field::at(64);
const CPU: Field<u32> = Field::at(68);
const BATCH_SIZE: Field<u32> = Field::at(72);

/// More than any packet or context has: what is larger is refused before it is read.
const LIMIT: u32 = 65_535;

/// Runs a program by itself.
pub(crate) fn test_run(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    for (size, address) in [(CTX_SIZE_IN, CTX_IN), (CTX_SIZE_OUT, CTX_OUT)] {
        if (attr.get(size) != 0) != (attr.get(address) != 0) {
            return Err(Errno::INVAL);
        }
    }
    let program = call.program(attr.get(PROG_FD))?;
    let kind = program.program_type().kind();
    let has_packet = !matches!(kind, ProgramKind::RawTracepoint | ProgramKind::Syscall);
    if !has_packet {
        let others = [DATA_IN, DATA_OUT, CTX_OUT].map(|field| attr.get(field));
        if others != [0; 3] || attr.get(DURATION) != 0 {
            return Err(Errno::INVAL);
        }
    }
    if attr.get(DATA_SIZE_IN) > LIMIT {
        return Err(Errno::INVAL);
    }
    if attr.get(CTX_SIZE_IN) > LIMIT {
        return Err(if has_packet { Errno::TOOBIG } else { Errno::INVAL });
    }
    let mut data = vec![0; attr.get(DATA_SIZE_IN) as usize];
    call.caller.read(attr.get(DATA_IN), &mut data)?;
    let mut ctx = vec![0; attr.get(CTX_SIZE_IN) as usize];
    call.caller.read(attr.get(CTX_IN), &mut ctx)?;
    let run = TestRun {
        data_in: &data,
        data_size_out: Some(attr.get(DATA_SIZE_OUT) as usize),
        ctx_in: (attr.get(CTX_IN) != 0).then_some(&ctx),
        ctx_size_out: (attr.get(CTX_OUT) != 0).then(|| attr.get(CTX_SIZE_OUT) as usize),
        repeat: attr.get(REPEAT),
        cpu: attr.get(CPU),
        batch_size: attr.get(BATCH_SIZE),
        flags: attr.get(FLAGS),
    };
    match call.bpf.runtime().test_run(&program, &run) {
        Ok(result) if has_packet => write(call, &result, None).map(|()| 0),
        Ok(result) => {
            put(call, RETVAL, result.retval)?;
            if kind == ProgramKind::Syscall {
                // Such a program answers in its context.
                call.caller.write(attr.get(CTX_IN), &result.ctx_out)?;
            }
            Ok(0)
        }
        Err(TestRunError::NoSpace {
            what, needed, result, ..
        }) => {
            write(call, &result, Some((what, needed)))?;
            Err(Errno::NOSPC)
        }
        Err(error) => Err(Errno::from_raw_os_error(error.errno())),
    }
}

fn put(call: &Call<'_>, field: Field<u32>, value: u32) -> Result<(), Errno> {
    call.caller.write(call.attr.address_of(field), &value.to_ne_bytes())
}

/// Writes what came of a packet. What had no room is cut, and how much there is of it is said all the same.
fn write(call: &Call<'_>, result: &TestResult, cut: Option<(&str, usize)>) -> Result<(), Errno> {
    let attr = call.attr;
    let size = |what: &str, len: usize| match cut {
        Some((cut, needed)) if cut == what => needed as u32,
        _ => len as u32,
    };
    if attr.get(DATA_OUT) != 0 {
        call.caller.write(attr.get(DATA_OUT), &result.data_out)?;
    }
    put(call, DATA_SIZE_OUT, size("data_out", result.data_out.len()))?;
    put(call, RETVAL, result.retval)?;
    put(
        call,
        DURATION,
        u32::try_from(result.duration.as_nanos()).unwrap_or(u32::MAX),
    )?;
    let has_room = cut.is_none_or(|(what, _)| what != "data_out");
    if attr.get(CTX_OUT) != 0 && has_room {
        call.caller.write(attr.get(CTX_OUT), &result.ctx_out)?;
        put(call, CTX_SIZE_OUT, size("ctx_out", result.ctx_out.len()))?;
    }
    Ok(())
}
