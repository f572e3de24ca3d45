//! Programs of the running kernel, run by themselves through `bpf(2)`. Nothing is attached.

use std::io;
use std::os::fd::OwnedFd;

use hitless_isa::asm;

use super::bpf::{self, Attr, bpf};
use super::case::{Case, Kind, Outcome, Room};

const PROG_TEST_RUN: i32 = 10;
const F_SLEEPABLE: u32 = 1 << 4;

/// Room for whatever may come out.
const PLENTY: usize = 1 << 17;
/// What that room is filled with.
const UNTOUCHED: u8 = 0xa5;

/// Whether programs can be loaded here, or else why not.
pub fn probe() -> Result<(), String> {
    load(Kind::Socket, "r0 = 0\nexit")
        .map(|_| ())
        .map_err(|error| format!("bpf(2) loads nothing here: {error}"))
}

/// Loads a program.
pub fn load(kind: Kind, text: &str) -> io::Result<OwnedFd> {
    let (program_type, attach_type) = match kind {
        Kind::Socket => (1, 0),
        Kind::Tc => (3, 0),
        Kind::Xdp => (6, 0),
        Kind::CgroupIngress => (8, 0),
        Kind::CgroupEgress => (8, 1),
        Kind::RawTracepoint => (17, 0),
        Kind::Syscall => (31, 0),
    };
    let more = Attr::new()
        .u32(44, if kind == Kind::Syscall { F_SLEEPABLE } else { 0 })
        .u32(68, attach_type);
    bpf::load(program_type, &asm::assemble(text).expect("assembles"), more)
}

/// The address and the size to be given of what takes so many bytes.
fn target(room: Room, buffer: &mut [u8]) -> (u64, u32) {
    match room {
        Room::None => (0, 0),
        Room::Any => (buffer.as_mut_ptr() as u64, PLENTY as u32),
        Room::Bytes(bytes) => (buffer.as_mut_ptr() as u64, bytes as u32),
    }
}

/// Runs a program.
pub fn run(program: &OwnedFd, case: &Case) -> Outcome {
    let (mut data, mut ctx) = (vec![UNTOUCHED; PLENTY], vec![UNTOUCHED; PLENTY]);
    let (data_out, data_size_out) = target(case.data_out, &mut data);
    let (ctx_out, ctx_size_out) = target(case.ctx_out, &mut ctx);
    let mut ctx_in = case.ctx_in.clone().unwrap_or_default();
    let mut attr = Attr::new()
        .fd(0, program)
        .u32(8, case.data_in.len() as u32)
        .u32(12, data_size_out)
        .bytes(16, &case.data_in)
        .u64(24, data_out)
        .u32(32, case.repeat)
        .u32(40, ctx_in.len() as u32)
        .u32(44, ctx_size_out)
        .u64(
            48,
            if ctx_in.is_empty() {
                0
            } else {
                ctx_in.as_mut_ptr() as u64
            },
        )
        .u64(56, ctx_out)
        .u32(64, case.flags)
        .u32(68, case.cpu)
        .u32(72, case.batch_size);
    let errno = match bpf(PROG_TEST_RUN, &mut attr) {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().expect("an errno"),
    };
    if errno != 0 && errno != libc::ENOSPC {
        return Outcome {
            errno,
            ..Outcome::default()
        };
    }
    let written = |buffer: &[u8], address: u64, given: u32, size: usize| {
        let most = if given == 0 { size } else { size.min(given as usize) };
        let (written, rest) = buffer.split_at(if address == 0 { 0 } else { most });
        assert!(
            rest.iter().all(|byte| *byte == UNTOUCHED),
            "nothing is written behind the room"
        );
        written.to_vec()
    };
    if case.in_place {
        return Outcome {
            retval: attr.get_u32(4),
            ctx_size: ctx_in.len(),
            ctx: ctx_in,
            ..Outcome::default()
        };
    }
    let data_size = attr.get_u32(12) as usize;
    let data = written(&data, data_out, data_size_out, data_size);
    // Where no context comes out, its size stays what was given.
    let ctx_came = ctx.iter().any(|byte| *byte != UNTOUCHED);
    let ctx_size = if ctx_came { attr.get_u32(44) as usize } else { 0 };
    let ctx = written(&ctx, ctx_out, ctx_size_out, ctx_size);
    Outcome {
        errno,
        retval: attr.get_u32(4),
        data_size,
        data,
        ctx_size,
        ctx,
    }
}
