//! `BPF_PROG_LOAD`.

use std::sync::Arc;

use hitless::{LoadOptions, Log, LogLevel, Program};
use hitless_isa::Insn;
use hitless_object::{ObjectSpec, ProgramSpec};
use rustix::io::Errno;

use super::kind::Asked;
use super::{Record, debug, errno, insns};
use crate::Call;
use crate::attr::Field;
use crate::log::LogRequest;
use crate::object::Object;

const PROG_TYPE: Field<u32> = Field::at(0);
const INSN_CNT: Field<u32> = Field::at(4);
const INSNS: Field<u64> = Field::at(8);
const LICENSE: Field<u64> = Field::at(16);
const LOG_LEVEL: Field<u32> = Field::at(24);
const LOG_SIZE: Field<u32> = Field::at(28);
const LOG_BUF: Field<u64> = Field::at(32);
const PROG_FLAGS: Field<u32> = Field::at(44);
const PROG_NAME: usize = 48;
const PROG_IFINDEX: Field<u32> = Field::at(64);
const EXPECTED_ATTACH_TYPE: Field<u32> = Field::at(68);
const ATTACH_BTF_ID: Field<u32> = Field::at(108);
const ATTACH_PROG_FD: Field<u32> = Field::at(112);
const FD_ARRAY: Field<u64> = Field::at(120);
const LOG_TRUE_SIZE: Field<u32> = Field::at(140);
const TOKEN_FD: Field<u32> = Field::at(144);

/// `BPF_F_SLEEPABLE`.
const F_SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_XDP_DEV_BOUND_ONLY`.
const F_DEV_BOUND: u32 = 1 << 6;
/// `BPF_F_TOKEN_FD`: an attribute names a token.
const F_TOKEN_FD: u32 = 1 << 16;
/// The flags that there are: for testing verifiers, and what `F_` names.
const FLAGS: u32 = 0xff | F_TOKEN_FD;

/// Types of programs that devices may run.
const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;

/// The most instructions of a program.
const MAX_INSNS: u32 = 1_000_000;
/// Bytes of a license, its end included.
const LICENSE_LEN: usize = 128;
/// The most of a log that is made for a caller that gives no room, to say how much it needs.
const LOG_LIMIT: usize = 16 << 20;

/// Verifies and compiles a program. Its kernel's version is not looked at.
pub(crate) fn load(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    let flags = attr.get(PROG_FLAGS);
    if flags & !FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    if flags & F_TOKEN_FD != 0 {
        // Whatever it is, it is no token.
        return Err(call.object(attr.get(TOKEN_FD)).err().unwrap_or(Errno::INVAL));
    }
    let count = attr.get(INSN_CNT);
    if count == 0 || count > MAX_INSNS {
        return Err(Errno::TOOBIG);
    }
    let asked = Asked {
        program_type: attr.get(PROG_TYPE),
        attach_type: attr.get(EXPECTED_ATTACH_TYPE),
        attach_btf_id: attr.get(ATTACH_BTF_ID),
        sleepable: flags & F_SLEEPABLE != 0,
    }
    .completed();
    let target = target(call, &asked)?;
    asked.check()?;
    let insns = insns::read(call, attr.get(INSNS), count)?;
    let license = call.caller.read_string(attr.get(LICENSE), LICENSE_LEN - 1)?;
    let license = String::from_utf8_lossy(&license).into_owned();
    if attr.get(PROG_IFINDEX) != 0 || flags & F_DEV_BOUND != 0 {
        // No device takes a program.
        let may_be_offered = matches!(asked.program_type, SCHED_CLS | XDP);
        return Err(if may_be_offered { Errno::OPNOTSUPP } else { Errno::INVAL });
    }
    let name = attr.name(PROG_NAME)?;
    let section = match &target {
        Some(target) => asked.section(target.btf().ok_or(Errno::INVAL)?)?,
        None => asked.section(call.bpf.runtime().btf().btf())?,
    };
    let mut options = LoadOptions::new();
    if let Some(target) = &target {
        options = options.attach_target(name.as_str(), target, None);
    }
    let log = LogRequest {
        level: attr.get(LOG_LEVEL),
        address: attr.get(LOG_BUF),
        size: attr.get(LOG_SIZE),
    };
    log.check()?;
    let (loaded, text) = verify(call, &asked, (&name, section), &license, insns, (&options, log));
    log.finish(call, &text, LOG_TRUE_SIZE)?;
    let (program, debug) = loaded?;
    let is_gpl = hitless::is_gpl_compatible(&license);
    let record = Record::new(&program, is_gpl, asked.attach_btf_id, debug);
    call.bpf.programs.add(program.id(), record);
    call.open(Object::Program(program))
}

/// The program that one extends. Other programs have none, and are not for the types of modules either.
fn target(call: &Call<'_>, asked: &Asked) -> Result<Option<Arc<Program>>, Errno> {
    match call.attr.get(ATTACH_PROG_FD) {
        0 => Ok(None),
        fd => match call.object(fd) {
            Ok(Object::Program(program)) if asked.is_extension() => Ok(Some(program)),
            Ok(Object::Btf(_)) => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::INVAL),
        },
    }
}

type Loaded = (Arc<Program>, debug::Debug);

/// What becomes of a program, and the log.
fn verify(
    call: &Call<'_>,
    asked: &Asked,
    (name, section): (&str, String),
    license: &str,
    insns: Vec<Insn>,
    (options, request): (&LoadOptions, LogRequest),
) -> (Result<Loaded, Errno>, String) {
    if let Err(message) = asked.check_sleepable() {
        return (Err(Errno::INVAL), format!("{message}\n"));
    }
    let mut debug = match debug::read(call, name, insns.len()) {
        Ok(debug) => debug,
        Err(errno) => return (Err(errno), String::new()),
    };
    let program = match insns::resolve(call, insns, call.attr.get(FD_ARRAY)) {
        Ok(program) => program,
        Err(bad) => return (Err(bad.errno), format!("{}\n", bad.message)),
    };
    let spec = ProgramSpec {
        name: name.to_owned(),
        section,
        insns: program.insns,
        subprograms: std::mem::take(&mut debug.subprograms),
        lines: std::mem::take(&mut debug.lines),
        core_relos: std::mem::take(&mut debug.core_relos),
        ..ProgramSpec::default()
    };
    let object = ObjectSpec {
        license: license.to_owned(),
        programs: vec![spec],
        btf: debug.btf.as_ref().map(|loaded| (*loaded.btf).clone()),
        ..ObjectSpec::default()
    };
    let mut log = Log::new(LogLevel::from_bits(request.level & 7).unwrap_or_default(), LOG_LIMIT);
    let loaded = call
        .bpf
        .runtime()
        .load_program(&object, &program.maps, options, Some(&mut log));
    let mut text = log.text().to_owned();
    let loaded = match loaded {
        Ok(program) => Ok((program, debug)),
        Err(error) => {
            if text.is_empty() {
                // It is not the verifier that refuses.
                text = format!("{error}\n");
            }
            Err(errno::of(&error))
        }
    };
    (loaded, text)
}
