//! Regions that kfuncs begin and end: where a program may not sleep, nor end.

use hitless_isa::Instruction;

use super::Context;
use crate::error::Failure;
use crate::facts::KfuncProto;
use crate::state::Regions;
use crate::tables::kfuncs::RegionStep;

/// The program is in no region at its end. The exit of a subprogram ends nothing.
pub(super) fn ended(cx: &Context<'_, '_>) -> Result<(), Failure> {
    let end = match cx.program.insn(cx.pc) {
        Instruction::Exit if cx.state.depth() > 0 => return Ok(()),
        Instruction::Exit => "BPF_EXIT instruction in main prog",
        Instruction::LoadPacket { .. } => "BPF_LD_[ABS|IND]",
        _ => "tail_call",
    };
    match cx.state.regions.open() {
        None => Ok(()),
        Some(open) => {
            let message = format!("{end} cannot be used inside {open}-ed region");
            Err(Failure::new(format!("a region that {open} began"), message))
        }
    }
}

/// The program is in no region in which it may not sleep; `message` makes the message of the kernel's name of that.
pub(super) fn may_sleep(cx: &Context<'_, '_>, message: impl Fn(&str) -> String) -> Result<(), Failure> {
    let region = match cx.state.regions {
        Regions { rcu: true, .. } => "rcu_read_lock",
        Regions { preempt: 1.., .. } => "non-preemptible",
        Regions { .. } => return Ok(()),
    };
    Err(Failure::new(format!("a {region} region"), message(region)))
}

/// There is a region for the kfunc to end, and none that it may not begin once more.
pub(super) fn step(cx: &Context<'_, '_>, proto: &KfuncProto) -> Result<(), Failure> {
    let Regions { rcu, preempt } = cx.state.regions;
    let what = match proto.region() {
        Some(RegionStep::RcuLock) if rcu => "nested rcu read lock",
        Some(RegionStep::RcuUnlock) if !rcu => "unmatched rcu read unlock",
        Some(RegionStep::PreemptEnable) if preempt == 0 => "unmatched attempt to enable preemption",
        _ => return Ok(()),
    };
    Err(Failure::new(what, format!("{what} (kernel function {})", proto.name)))
}
