//! Which registers may still be read.
//!
//! A backward dataflow over the whole program, blind to paths. States that differ only in registers that nothing reads
//! any more have the same future, so the search need not tell them apart.

use hitless_isa::{AluOp, AtomicOp, CallTarget, Instruction, Operand, Reg};

use crate::facts::ArgType;
use crate::program::{Program, target};

/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;
/// `r0` to `r5`.
const CLOBBERED: u16 = 0b11_1111;

fn bit(reg: Reg) -> u16 {
    1 << reg.index()
}

fn operand(operand: Operand) -> u16 {
    match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

/// For each slot the registers, as bits, that some path from there reads before it writes them.
///
/// A slot is looked at again only after one that it depends on has changed, and a slot changes at most ten times.
pub(crate) fn live_registers(program: &Program<'_>) -> Vec<u16> {
    let slots = program.code.len();
    let is_insn = |pc: &usize| program.code[*pc].is_some();
    // A slot depends on the next one, and on where it jumps to or which subprogram it calls: these pairs, by target.
    let jump = |pc: usize| Some((program.jump_target(pc)? as u32, pc as u32));
    let mut jumps: Vec<(u32, u32)> = (0..slots).filter_map(jump).collect();
    jumps.extend(program.calls().map(|(call, start)| (start as u32, call as u32)));
    jumps.sort_unstable();
    let mut todo: Vec<u32> = (0..slots).filter(is_insn).map(|pc| pc as u32).collect();
    let mut waiting = vec![true; slots];
    let mut live = vec![0u16; slots];
    while let Some(pc) = todo.pop() {
        let pc = pc as usize;
        waiting[pc] = false;
        let after = program
            .successors(pc)
            .fold(0, |live_after, next| live_after | live[next]);
        let (reads, writes) = effects(program, pc, program.insn(pc), &live);
        let before = reads | after & !writes;
        if before == live[pc] {
            continue;
        }
        live[pc] = before;
        let first = jumps.partition_point(|jump| (jump.0 as usize) < pc);
        let jumps = jumps[first..].iter().take_while(|jump| jump.0 as usize == pc);
        let previous = (pc.saturating_sub(2)..pc).rev().find(is_insn);
        for dependent in jumps.map(|jump| jump.1).chain(previous.map(|pc| pc as u32)) {
            if !std::mem::replace(&mut waiting[dependent as usize], true) {
                todo.push(dependent);
            }
        }
    }
    live
}

/// The registers that an instruction may read, and those that it certainly writes.
fn effects(program: &Program<'_>, pc: usize, insn: &Instruction, live: &[u16]) -> (u16, u16) {
    match *insn {
        Instruction::Alu {
            op: AluOp::Mov,
            dst,
            src,
            ..
        } => (operand(src), bit(dst)),
        Instruction::Alu { dst, src, .. } => (bit(dst) | operand(src), bit(dst)),
        Instruction::MovSx { dst, src, .. } | Instruction::AddrSpaceCast { dst, src, .. } => (bit(src), bit(dst)),
        Instruction::Neg { dst, .. } | Instruction::End { dst, .. } => (bit(dst), bit(dst)),
        Instruction::LoadImm64 { dst, .. } => (0, bit(dst)),
        Instruction::Load { dst, base, .. } | Instruction::LoadAcquire { dst, base, .. } => (bit(base), bit(dst)),
        Instruction::Store { base, src, .. } => (bit(base) | operand(src), 0),
        Instruction::StoreRelease { base, src, .. } => (bit(base) | bit(src), 0),
        Instruction::Atomic { op, base, src, .. } => {
            let reads = bit(base) | bit(src);
            match op {
                AtomicOp::CmpXchg => (reads | bit(Reg::R0), bit(Reg::R0)),
                op => (reads, if op.fetches() { bit(src) } else { 0 }),
            }
        }
        Instruction::Jump { dst, src, .. } => (bit(dst) | operand(src), 0),
        Instruction::Goto { .. } | Instruction::MayGoto { .. } => (0, 0),
        Instruction::Call(CallTarget::Subprog(off)) => {
            let start = target(pc, off);
            let global = start.and_then(|start| program.global(program.subprog_at(start)?));
            let callee = match global.map(|func| &func.args) {
                Some(Ok(args)) => ARGUMENTS & ((2u16 << args.len()) - 1),
                Some(Err(_)) => 0,
                None => start.map_or(ARGUMENTS, |start| live[start]),
            };
            (callee & ARGUMENTS, CLOBBERED)
        }
        Instruction::Call(CallTarget::Helper(id)) => {
            let reads = match program.helper(id) {
                Some(proto) => (1..6)
                    .zip(&proto.args)
                    .filter(|(_, ty)| **ty != ArgType::None)
                    .map(|(n, _)| 1 << n)
                    .sum(),
                None => ARGUMENTS,
            };
            (reads, CLOBBERED)
        }
        Instruction::LoadPacket { index, .. } => (bit(Reg::R6) | index.map_or(0, bit), CLOBBERED),
        Instruction::Call(CallTarget::Kfunc { id, fd_idx }) => {
            let count = program.kfunc(id, fd_idx).map_or(5, |proto| proto.args().count());
            (ARGUMENTS & ((2u16 << count) - 1), CLOBBERED)
        }
        Instruction::Call(CallTarget::Register(_)) => (u16::MAX, 0),
        Instruction::Exit => (bit(Reg::R0), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::ProgramInput;
    use crate::tables::{helpers, program_types};

    /// The registers that are live before `line`, which is followed by nothing that reads any.
    fn live_before(line: &str) -> Vec<usize> {
        let text = format!("{line}\nr0 = 0\nend: exit\nsub: r0 = r2\nr0 += r6\nexit\n");
        // Without a call of its own the subprogram would be unreachable.
        let text = if line.contains("sub") {
            text
        } else {
            text[..text.find("sub:").expect("there")].to_owned()
        };
        let insns = hitless_isa::asm::assemble(&text).expect("assembles");
        let context = program_types::xdp();
        let input = ProgramInput {
            name: "live",
            insns: &insns,
            maps: &[],
            context: &context,
            helpers: helpers::xdp(),
            kfuncs: &[],
            gpl_compatible: true,
            lines: &[],
            poisoned: &[],
            global_funcs: &[],
            types: None,
            own: None,
        };
        let live = Program::new(&input).expect("well-formed").live[0];
        (0..11).filter(|&index| live & (1 << index) != 0).collect()
    }

    #[test]
    fn every_instruction_reads_its_operands() {
        let lines: [(&str, &[usize]); 25] = [
            ("r0 = *(u32 *)skb[4]", &[6]),
            ("r0 = *(u32 *)skb[r7 + 4]", &[6, 7]),
            ("r1 = r2", &[2]),
            ("r1 = 5", &[]),
            ("r1 += r2", &[1, 2]),
            ("w1 -= 5", &[1]),
            ("r1 = (s8)r2", &[2]),
            ("r1 = -r1", &[1]),
            ("r1 = be16 r1", &[1]),
            ("r1 = 0x5 ll", &[]),
            ("r1 = *(u32 *)(r2 +0)", &[2]),
            ("r1 = load_acquire((u32 *)(r2 +0))", &[2]),
            ("*(u32 *)(r2 +0) = r3", &[2, 3]),
            ("*(u32 *)(r2 +0) = 3", &[2]),
            ("store_release((u32 *)(r2 +0), r3)", &[2, 3]),
            ("lock *(u64 *)(r2 +0) += r3", &[2, 3]),
            ("r3 = atomic64_fetch_add((u64 *)(r2 +0), r3)", &[2, 3]),
            ("r3 = atomic64_xchg((u64 *)(r2 +0), r3)", &[2, 3]),
            ("r0 = atomic64_cmpxchg((u64 *)(r2 +0), r0, r3)", &[0, 2, 3]),
            // The branch to the exit returns what is in `r0`.
            ("if r1 == r2 goto end", &[0, 1, 2]),
            ("if w1 == 2 goto end", &[0, 1]),
            ("call bpf_ktime_get_ns#5", &[]),
            ("call bpf_map_lookup_elem#1", &[1, 2]),
            ("call bpf_map_update_elem#2", &[1, 2, 3, 4]),
            // Of what the subprogram reads only arguments come from the caller.
            ("call sub", &[2]),
        ];
        for (line, expected) in lines {
            assert_eq!(live_before(line), expected, "{line}");
        }
    }
}
