//! How the search came to the instruction that it refuses, and what was known there.

use std::fmt;
use std::rc::Rc;

use hitless_isa::{CallTarget, Instruction};

use crate::domain::value::Value;
use crate::facts::{ArgType, SourceLine};
use crate::history::Segment;
use crate::log::text::{Names, frame, value};
use crate::log::trace::touched;
use crate::node::Node;
use crate::program::{Program, source, target, text};
use crate::state::State;

/// The most decisions that are told.
const DECISIONS: usize = 64;

/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;

/// A branch on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Slot of the conditional jump.
    pub pc: usize,
    /// The jump as text.
    pub insn: String,
    /// Whether it jumped.
    pub taken: bool,
    /// The source line that it comes from, if known.
    pub source: Option<SourceLine>,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = &self.source {
            write!(f, "{}:{}: {}: ", line.file, line.line, line.text)?;
        }
        let taken = if self.taken { "taken" } else { "not taken" };
        write!(f, "insn {}: {}: {taken}", self.pc, self.insn)
    }
}

/// The way to an instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The branches on it, in order: the last 64.
    pub decisions: Vec<Decision>,
    /// How many were before those.
    pub omitted: usize,
    /// What was known of the registers that the instruction uses, as the log shows it ("R3=pkt(r=0)").
    pub known: Vec<String>,
}

/// The way that a path took to `pc`, where it is in `state`.
pub(crate) fn trail(program: &Program<'_>, pc: usize, state: &State, node: Option<&Rc<Node>>, last: &Segment) -> Trail {
    let mut trail = Trail {
        known: known(program, pc, state),
        ..Trail::default()
    };
    let mut next = pc;
    let mut segment = |steps: &Segment| {
        for step in steps.steps.iter().rev() {
            let at = step.pc as usize;
            if let Instruction::Jump { off, .. } = *program.insn(at) {
                if trail.decisions.len() < DECISIONS {
                    trail.decisions.push(Decision {
                        pc: at,
                        insn: text(program.input, at),
                        taken: off != 0 && target(at, off) == Some(next),
                        source: source(program.input, at).cloned(),
                    });
                } else {
                    trail.omitted += 1;
                }
            }
            next = at;
        }
    };
    segment(last);
    let mut current = node.cloned();
    while let Some(node) = current {
        segment(&node.segment());
        current = node.previous();
    }
    trail.decisions.reverse();
    trail
}

fn known(program: &Program<'_>, pc: usize, state: &State) -> Vec<String> {
    let insn = program.insn(pc);
    let regs = match insn {
        Instruction::Call(CallTarget::Helper(id)) => program.helper(*id).map_or(ARGUMENTS, |proto| {
            let taken = proto.args.iter().take_while(|ty| **ty != ArgType::None).count();
            ARGUMENTS & ((2 << taken) - 1)
        }),
        Instruction::Call(_) => ARGUMENTS,
        Instruction::Exit => 1,
        insn => touched(insn),
    };
    let names = Names::of(program.input);
    (0..10)
        .filter(|index| regs & 1 << index != 0)
        .map(|index| match state.frame().reg(index) {
            Value::Uninit => format!("R{index} holds nothing"),
            known => format!("R{index}={}", value(names, known, state.depth())),
        })
        .chain(
            (regs & 1 << 10 != 0)
                .then(|| frame(program.input, state, state.depth(), 0, u64::MAX))
                .filter(|text| !text.is_empty())
                .map(|text| text.trim_start().to_owned()),
        )
        .collect()
}
