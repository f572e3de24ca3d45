//! Which errno a program is refused with.

use hitless::LoadError;
use hitless_verifier::Rejection;
use rustix::io::Errno;

/// How messages of Linux's verifier begin that come with another errno than `EACCES`.
const INVALID: [&str; 31] = [
    "At program exit",
    "At callback return",
    "At subprogram exit",
    "BPF_ALU",
    "BPF_END",
    "BPF_JMP",
    "BPF_LDX",
    "BPF_STX",
    "BPF_ST",
    "BPF_LD",
    "BPF_NEG",
    "BPF_MOV",
    "BPF_EXIT",
    "BPF_CALL",
    "Unreleased reference",
    "back-edge",
    "call to invalid destination",
    "cannot call",
    "div by zero",
    "func#",
    "function calls are not allowed",
    "infinite loop detected",
    "invalid bpf_ld_imm64 insn",
    "invalid func",
    "invalid shift",
    "jump out of range",
    "last insn is not",
    "program of this type cannot use helper",
    "unknown func",
    "unknown opcode",
    "unreachable insn",
];

/// How messages begin that come with `E2BIG`.
const TOO_BIG: [&str; 3] = ["BPF program is too large", "The sequence of", "too many"];

pub(super) fn of(error: &LoadError) -> Errno {
    match error {
        LoadError::Rejected { source, .. } => of_rejection(source),
        LoadError::CreateMap(source) => Errno::from_raw_os_error(source.errno()),
        LoadError::Context { .. } => Errno::INVAL,
        LoadError::MapUse { .. } | LoadError::ProgArray { .. } => Errno::INVAL,
        LoadError::Build { .. } => Errno::OPNOTSUPP,
        _ => Errno::INVAL,
    }
}

fn of_rejection(rejection: &Rejection) -> Errno {
    let Some(error) = rejection.errors.first() else {
        return Errno::INVAL;
    };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| error.message.starts_with(prefix));
    if begins(&TOO_BIG) {
        Errno::TOOBIG
    } else if begins(&INVALID) {
        Errno::INVAL
    } else {
        Errno::ACCESS
    }
}
