//! Hooks: where the host runs programs.
//!
//! Which programs are attached is a [`Snapshot`], replaced as a whole whenever links change. A run latches the snapshot
//! current when its outermost run began, so it never sees a mixture of old and new programs.

use std::sync::Arc;

use hitless_jit::Trap;

use crate::env::Reach;
use crate::program::{Failure, Program};
use crate::run::{Forked, Slots};

/// The programs at every hook, by the hook's index, in the order of attachment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) hooks: Vec<Vec<Arc<Program>>>,
}

/// A hook that runs XDP programs on packets. Cheap to clone; any number of threads may run it at once.
#[derive(Clone, Debug)]
pub struct Hook {
    slots: Arc<Slots>,
    index: usize,
    name: Arc<str>,
}

/// A packet as an XDP program sees it (`struct xdp_md`).
#[derive(Debug)]
pub struct Packet<'a> {
    /// The frame, from the link-layer header on. Programs may write it.
    pub data: &'a mut [u8],
    /// Index of the interface that it came in on.
    pub ingress_ifindex: u32,
    /// Index of the receive queue.
    pub rx_queue_index: u32,
}

impl<'a> Packet<'a> {
    /// A packet from interface 1, queue 0.
    pub fn new(data: &'a mut [u8]) -> Packet<'a> {
        Packet {
            data,
            ingress_ifindex: 1,
            rx_queue_index: 0,
        }
    }
}

/// What an XDP program decided (`enum xdp_action`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[doc(alias = "xdp_action")]
pub enum XdpAction {
    /// `XDP_ABORTED`, or any number that is no action: an error in the program.
    Aborted,
    /// `XDP_DROP`.
    Drop,
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
    Tx,
    /// `XDP_REDIRECT`.
    Redirect,
}

impl XdpAction {
    /// All of them, by number.
    pub const ALL: [XdpAction; 5] = [
        XdpAction::Aborted,
        XdpAction::Drop,
        XdpAction::Pass,
        XdpAction::Tx,
        XdpAction::Redirect,
    ];

    /// The action for a program's return value.
    #[must_use]
    pub const fn from_return(value: u64) -> XdpAction {
        match value as u32 {
            1 => XdpAction::Drop,
            2 => XdpAction::Pass,
            3 => XdpAction::Tx,
            4 => XdpAction::Redirect,
            _ => XdpAction::Aborted,
        }
    }

    /// The UAPI name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            XdpAction::Aborted => "XDP_ABORTED",
            XdpAction::Drop => "XDP_DROP",
            XdpAction::Pass => "XDP_PASS",
            XdpAction::Tx => "XDP_TX",
            XdpAction::Redirect => "XDP_REDIRECT",
        }
    }
}

/// Why a hook could not run its programs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A check of the engine failed: a defect of hitless, since the verifier had excluded it.
    #[error("program {program}: {trap}")]
    Trap {
        /// The program.
        program: Arc<str>,
        /// The check.
        trap: Trap,
    },
    /// A program was not run, because the signal handler that ran the hook interrupted that very program, or one that holds
    /// a spin lock. Counted by the program.
    #[error("program {program} is already running on this slot")]
    Recursion {
        /// The program.
        program: Arc<str>,
    },
    /// The process is a forked child.
    #[error(transparent)]
    Forked(#[from] Forked),
}

/// The runtime's own form of the context: what context accesses are converted to.
#[repr(C)]
struct XdpContext {
    data: u64,
    data_end: u64,
    data_meta: u64,
    ingress_ifindex: u32,
    rx_queue_index: u32,
}

impl Hook {
    pub(crate) fn new(slots: Arc<Slots>, index: usize, name: &str) -> Hook {
        Hook {
            slots,
            index,
            name: name.into(),
        }
    }

    /// The hook's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn runtime(&self) -> u64 {
        self.slots.runtime()
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Runs the attached programs on a packet, in the order of attachment, until one decides otherwise than to pass it on.
    /// Without programs the packet passes.
    ///
    /// May be called from any thread, and from a signal handler. Waits while a cutover swaps programs (some
    /// microseconds), unless it is nested in another run.
    ///
    /// # Errors
    /// [`RunError::Recursion`] in signal handlers only; [`RunError::Forked`] in a forked child; [`RunError::Trap`] never,
    /// short of a defect.
    pub fn run(&self, packet: &mut Packet<'_>) -> Result<XdpAction, RunError> {
        self.slots.run(|run| {
            let programs = run.snapshot().hooks.get(self.index).map_or(&[][..], Vec::as_slice);
            for program in programs {
                let bounds = packet.data.as_mut_ptr_range();
                let (start, end) = (bounds.start as u64, bounds.end as u64);
                let mut context = XdpContext {
                    data: start,
                    data_end: end,
                    data_meta: start,
                    ingress_ifindex: packet.ingress_ifindex,
                    rx_queue_index: packet.rx_queue_index,
                };
                // SAFETY: the context has the layout of the XDP table (tested below); the packet is borrowed exclusively.
                let result = unsafe { program.execute(run, &mut context, Reach::packet(start, end)) };
                let action = XdpAction::from_return(result.map_err(|failure| self.error(program, failure))?);
                if action != XdpAction::Pass {
                    return Ok(action);
                }
            }
            Ok(XdpAction::Pass)
        })?
    }

    fn error(&self, program: &Program, failure: Failure) -> RunError {
        // Shared, since this may be a signal handler that interrupted the allocator.
        let program = program.shared_name();
        match failure {
            Failure::Missed => RunError::Recursion { program },
            Failure::Trap(trap) => RunError::Trap { program, trap },
        }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_context_struct_matches_its_table() {
        let table = hitless_verifier::tables::program_types::xdp();
        let host = |name: &str| {
            table
                .fields
                .iter()
                .find(|f| f.name == name)
                .map(|f| f.host_off as usize)
        };
        assert_eq!(host("data"), Some(offset_of!(XdpContext, data)));
        assert_eq!(host("data_end"), Some(offset_of!(XdpContext, data_end)));
        assert_eq!(host("data_meta"), Some(offset_of!(XdpContext, data_meta)));
        assert_eq!(host("ingress_ifindex"), Some(offset_of!(XdpContext, ingress_ifindex)));
        assert_eq!(host("rx_queue_index"), Some(offset_of!(XdpContext, rx_queue_index)));
    }
}
