//! A verified program without what no path reaches.
//!
//! What Linux does after verification: a conditional jump one way of which is unreachable becomes an unconditional one or
//! nothing, unreachable instructions go, and so do jumps to the next instruction. Every path through the rest is as before.
//! Instructions only move closer together, so no offset becomes too large for its field.

use hitless_isa::{CallTarget, Imm64, Insn, Instruction, decode, encode};

use super::{SourceLine, Subprog, Verified};

/// A program without dead code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveProgram {
    /// The instructions, offsets adjusted.
    pub insns: Vec<Insn>,
    /// For each slot, the one in the original program that it comes from.
    pub pcs: Vec<usize>,
    /// The subprograms that are ever called, the main program first.
    pub subprogs: Vec<Subprog>,
}

impl LiveProgram {
    /// The source lines of what is left, given those of the original program.
    #[must_use]
    pub fn lines(&self, original: &[SourceLine]) -> Vec<SourceLine> {
        let mut lines = Vec::new();
        let mut last = None;
        for (new, &pc) in self.pcs.iter().enumerate() {
            let line = original.partition_point(|line| line.pc <= pc).checked_sub(1);
            if let Some(index) = line.filter(|_| line != last) {
                lines.push(SourceLine {
                    pc: new,
                    ..original[index].clone()
                });
            }
            last = line;
        }
        lines
    }
}

/// What becomes of a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// A conditional jump that always jumps.
    Jumps,
    Removed,
}

impl Verified {
    /// The program without dead code, as Linux would run it.
    ///
    /// # Examples
    /// ```
    /// # use hitless_verifier::{ProgramInput, tables, verify};
    /// let insns = hitless_isa::asm::assemble(
    ///     "r0 = 1
    ///      if r0 == 1 goto pc+1
    ///      r0 = 7
    ///      exit",
    /// )?;
    /// # let context = tables::program_types::xdp();
    /// # let input = ProgramInput {
    /// #     name: "first", insns: &insns, maps: &[], context: &context, helpers: &[],
    /// #     kfuncs: &[], gpl_compatible: true, lines: &[], poisoned: &[], global_funcs: &[], types: None, own: None,
    /// # };
    /// let live = verify(&input)?.live();
    /// assert_eq!(live.insns, hitless_isa::asm::assemble("r0 = 1\nexit")?);
    /// assert_eq!(live.pcs, [0, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn live(&self) -> LiveProgram {
        let fates = self.fates();
        // Where each slot goes: if it is removed, where the next that is not goes.
        let mut moved = Vec::with_capacity(fates.len() + 1);
        let mut kept = 0;
        for fate in &fates {
            moved.push(kept);
            kept += usize::from(*fate != Fate::Removed);
        }
        moved.push(kept);
        let mut live = LiveProgram {
            insns: Vec::with_capacity(kept),
            pcs: Vec::with_capacity(kept),
            subprogs: Vec::new(),
        };
        let mut pc = 0;
        while pc < fates.len() {
            let slots = decode(&self.insns, pc).map_or(1, |insn| insn.slots());
            if fates[pc] != Fate::Removed {
                live.insns.extend(self.relocated(pc, slots, fates[pc], &moved));
                live.pcs.extend(pc..pc + slots);
            }
            pc += slots;
        }
        for subprog in &self.subprogs {
            let (start, end) = (moved[subprog.start], moved[subprog.end]);
            if start != end {
                live.subprogs.push(Subprog { start, end, ..*subprog });
            }
        }
        live
    }

    fn fates(&self) -> Vec<Fate> {
        let len = self.insns.len();
        let mut fates = vec![Fate::Removed; len];
        // The next slot that is kept, as far as has been decided: from the end, since a jump may go over jumps that go.
        let mut next_kept = len;
        for pc in (0..len).rev() {
            // The second slot of a wide immediate is never reached; it shares the fate of the first.
            if !self.facts.is_reachable(pc) {
                continue;
            }
            let Ok(insn) = decode(&self.insns, pc) else { continue };
            let target = |off: i32| (pc + 1).checked_add_signed(off as isize).filter(|target| *target < len);
            let is_next = |off: i32| target(off).is_some_and(|target| pc < target && target <= next_kept);
            let fate = match insn {
                Instruction::Goto { off, .. } if is_next(off) => Fate::Removed,
                Instruction::Jump { off, .. } => {
                    let jumps = target(off).is_some_and(|target| self.facts.is_reachable(target));
                    match (jumps, self.facts.is_reachable(pc + 1)) {
                        (false, _) => Fate::Removed,
                        (true, false) if is_next(off) => Fate::Removed,
                        (true, false) => Fate::Jumps,
                        (true, true) => Fate::Kept,
                    }
                }
                _ => Fate::Kept,
            };
            if fate != Fate::Removed {
                fates[pc..(pc + insn.slots()).min(len)].fill(fate);
                next_kept = pc;
            }
        }
        fates
    }

    /// The instruction at `pc` with its offset adjusted.
    fn relocated(&self, pc: usize, slots: usize, fate: Fate, moved: &[usize]) -> Vec<Insn> {
        let adjusted = |off: i32| {
            let target = (pc + 1).checked_add_signed(off as isize);
            let target = target.and_then(|target| moved.get(target)).copied();
            // Both lie in a program of a million slots.
            target.map_or(off, |target| (target as i64 - moved[pc] as i64 - 1) as i32)
        };
        let unchanged = || self.insns[pc..pc + slots].to_vec();
        let Ok(mut insn) = decode(&self.insns, pc) else {
            return unchanged();
        };
        match &mut insn {
            Instruction::Jump { off, .. } if fate == Fate::Jumps => {
                let off = adjusted(*off);
                insn = Instruction::Goto { long: false, off };
            }
            Instruction::Jump { off, .. }
            | Instruction::Goto { off, .. }
            | Instruction::MayGoto { off }
            | Instruction::Call(CallTarget::Subprog(off))
            | Instruction::LoadImm64 {
                imm: Imm64::Func(off), ..
            } => *off = adjusted(*off),
            _ => return unchanged(),
        }
        encode(&insn)
    }
}
