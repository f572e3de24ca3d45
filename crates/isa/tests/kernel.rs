//! The kernel as the oracle: what it refuses as malformed and in which words, and how it writes what it accepts.
//!
//! Programs are loaded, and attached to nothing. Where the kernel is too old or loads nothing, the tests say that they skip.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::{kernel, single_field_variations};
use hitless_isa::asm::assemble;
use hitless_isa::{CallTarget, DecodeError, Insn, Instruction, decode, disasm};

/// The instruction after others that set all registers, and before enough others to jump to. `r6` is the context.
struct Probe {
    insns: Vec<Insn>,
    pc: usize,
}

impl Probe {
    fn new(slots: &[Insn]) -> Probe {
        let mut insns =
            assemble("r6 = r1\n r0 = 0\n r1 = 0\n r2 = 0\n r3 = 0\n r4 = 0\n r5 = 0\n r7 = 0\n r8 = 0\n r9 = 0")
                .unwrap();
        // What follows is reachable although the instruction may not lead there.
        insns.extend(assemble(&format!("if r7 == 5 goto pc+{}", slots.len())).unwrap());
        let pc = insns.len();
        insns.extend(slots);
        insns.extend(assemble(&("r0 = 0\n".repeat(70) + "exit")).unwrap());
        Probe { insns, pc }
    }
}

/// The words in which the verifier says that a slot is no instruction, if it does.
fn malformed(log: &str) -> Option<&str> {
    let register = |line: &str| {
        line.strip_prefix('R')
            .and_then(|line| line.strip_suffix(" is invalid"))
            .is_some_and(|number| number.parse::<u8>().is_ok())
    };
    log.lines().find(|line| {
        line.starts_with("unknown opcode ")
            || line.ends_with(" uses reserved fields")
            || line.starts_with("invalid may_goto imm ")
            || line.starts_with("addr_space_cast insn can only convert ")
            || line.starts_with("BPF_ATOMIC uses invalid atomic opcode ")
            || *line == "invalid atomic operand size"
            || line.ends_with(" bpf_ld_imm64 insn")
            || register(line)
    })
}

/// Why the kernel may answer differently, or `None` if it must not.
fn explanation(insn: Insn, ours: Option<&DecodeError>, kernels: Option<&str>) -> Option<&'static str> {
    let class = insn.code & 7;
    match (ours, kernels) {
        (Some(DecodeError::UnknownOpcode { .. }), Some("BPF_LDX uses reserved fields")) if class == 1 => Some(
            "loads: the kernel looks at the mode, which is part of the opcode, and at imm before it looks up opcodes",
        ),
        (Some(DecodeError::ReservedField { code: 0x95 }), None) if insn.off != 0 => {
            Some("exit: the kernel overlooks off, which RFC 9669 has zero")
        }
        (None, Some("unknown opcode 8d")) if insn.code == 0x8d => Some(
            "callx: decoded, as clang makes it without optimisation; the verifier refuses it in the kernel's words",
        ),
        (Some(_), Some(_)) if insn.dst > 10 || insn.src > 10 => Some("two things are wrong, and either may be named"),
        _ => None,
    }
}

#[test]
fn what_is_refused_and_in_which_words() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (mut same, mut explained, mut unexplained) = (0, BTreeMap::<_, usize>::new(), Vec::new());
    for insn in single_field_variations() {
        let slots = [insn, Insn::default()];
        let slots = &slots[..if insn.code == 0x18 { 2 } else { 1 }];
        let probe = Probe::new(slots);
        let answer = kernel::load(&probe.insns, 1);
        let kernels = malformed(&answer.log);
        let ours = decode(&probe.insns, probe.pc).err();
        let text = ours.as_ref().map(DecodeError::to_string);
        let errno = ours.as_ref().map(DecodeError::errno);
        if text.as_deref() == kernels && (kernels.is_none() || answer.result.as_ref().err().copied() == errno) {
            same += 1;
        } else if let Some(reason) = explanation(insn, ours.as_ref(), kernels) {
            *explained.entry(reason).or_default() += 1;
        } else {
            unexplained.push(format!(
                "{insn:x?}: ours {text:?}, the kernel's {kernels:?}: {}",
                answer.log
            ));
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} differences: {:#?}",
        unexplained.len(),
        unexplained
    );
    assert!(same > 15_000, "{same}");
    assert_eq!(
        explained.len(),
        4,
        "an explanation that explains nothing: {explained:#?}"
    );
}

#[test]
fn which_wide_immediates_are_refused() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let first = |src, off| Insn {
        code: 0x18,
        dst: 1,
        src,
        off,
        imm: 0,
    };
    let second = Insn::default();
    let mut pairs = vec![
        [first(0, 1), second],
        [first(0, 0), Insn { code: 0xb7, ..second }],
        [first(0, 0), Insn { dst: 1, ..second }],
        [first(0, 0), Insn { src: 1, ..second }],
        [first(0, 0), Insn { off: 1, ..second }],
    ];
    for src in 0..16 {
        pairs.push([first(src, 0), second]);
        pairs.push([first(src, 0), Insn { imm: 7, ..second }]);
    }
    for slots in pairs {
        // The kernel overlooks the upper half of a subprogram's address.
        if slots[0].src == 4 && slots[1].imm != 0 {
            assert_eq!(decode(&slots, 0), Err(DecodeError::UnrecognizedWide { kind: 4 }));
            continue;
        }
        let probe = Probe::new(&slots);
        let answer = kernel::load(&probe.insns, 1);
        let ours = decode(&slots, 0).err().map(|error| error.to_string());
        assert_eq!(ours.as_deref(), malformed(&answer.log), "{slots:x?}: {}", answer.log);
    }
}

/// The instruction at `pc` as the kernel writes it, in the table of live registers that begins its log.
fn kernels_text(log: &str, pc: usize) -> Option<&str> {
    let table = log.split_once("Live regs before insn:\n")?.1;
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&format!("{pc}: ")))?;
    Some(line.split_once(") ")?.1)
}

#[test]
fn accepted_instructions_have_the_kernels_text() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut compared = 0;
    for insn in single_field_variations() {
        let slots = [
            insn,
            Insn {
                imm: insn.imm,
                ..Insn::default()
            },
        ];
        let Ok(instruction) = decode(&slots, 0) else { continue };
        // The kernel names kfuncs, and there is none with these ids.
        if matches!(instruction, Instruction::Call(CallTarget::Kfunc { .. })) {
            continue;
        }
        let probe = Probe::new(&slots[..instruction.slots()]);
        let answer = kernel::load(&probe.insns, 2);
        let Some(kernels) = kernels_text(&answer.log, probe.pc) else {
            continue;
        };
        assert_eq!(
            disasm::text(&instruction, &disasm::helper_name).to_string(),
            kernels,
            "{insn:x?}"
        );
        assert_eq!(
            assemble(kernels).as_deref(),
            Ok(&slots[..instruction.slots()]),
            "{kernels}"
        );
        compared += 1;
    }
    if compared == 0 {
        eprintln!("skipped: the kernel does not print what it does not execute");
    } else {
        assert!(compared > 2_000, "{compared}");
    }
}

/// bpftool lists programs as they are once they are loaded: this one has nothing that the kernel rewrites.
#[test]
fn bpftool_lists_a_loaded_program_in_the_same_words() {
    let source = "r6 = r1
         w7 = 3
         r8 = 0x1234567890
         *(u64 *)(r10 -8) = 7
         *(u16 *)(r10 -16) = r7
         r1 = *(u64 *)(r10 -8)
         lock *(u64 *)(r10 -8) += r7
         r7 = atomic64_fetch_or((u64 *)(r10 -8), r7)
         r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r7)
         r7 = atomic64_xchg((u64 *)(r10 -8), r7)
         if r7 s> 0xfffffffe goto pc+2
         r7 <<= 3
         w7 s>>= 1
         if w7 & 0x4 goto pc+1
         r7 = -r7
         r7 = be32 r7
         r7 *= -3
         r0 = 0
         exit";
    let source = source.replace("r0 = atomic64", "r0 = 1\n r0 = atomic64");
    let insns = assemble(&source).unwrap();
    let answer = kernel::load(&insns, 1);
    let Ok(program) = &answer.result else {
        eprintln!("skipped: the kernel does not load the program: {}", answer.log);
        return;
    };
    let id = kernel::id(program).to_string();
    let output = match Command::new("bpftool")
        .args(["prog", "dump", "xlated", "id", &id])
        .output()
    {
        Ok(output) if output.status.success() => output,
        other => {
            eprintln!("skipped: bpftool does not list the program: {other:?}");
            return;
        }
    };
    let theirs: String = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim_start().to_owned() + "\n")
        .collect();
    assert_eq!(theirs, disasm::listing(&insns, &disasm::no_names));
    assert_eq!(assemble(&theirs), Ok(insns));
}
