//! Helpers, as Linux has them: programs are run here and by the running kernel, and both must come to the same.
//!
//! The programs (`bpf/helpers_*.bpf.c`) leave what helpers returned and wrote in their global data, which is compared as a whole.
//! Without `bpf(2)` the tests say that they skip.
#![cfg(not(hitless_model))]

#[path = "helpers/both.rs"]
mod both;
mod common;
mod oracle;

#[path = "common/processor.rs"]
mod processor;

#[path = "helpers/dynptr.rs"]
mod dynptr;
#[path = "helpers/format.rs"]
mod format;
#[path = "helpers/host.rs"]
mod host;
#[path = "helpers/kfuncs.rs"]
mod kfuncs;
#[path = "helpers/maps.rs"]
mod maps;
#[path = "helpers/objects.rs"]
mod objects;
#[path = "helpers/packet.rs"]
mod packet;
#[path = "helpers/redirect.rs"]
mod redirect;
#[path = "helpers/task.rs"]
mod task;
#[path = "helpers/text.rs"]
mod text;
#[path = "helpers/timer.rs"]
mod timer;
#[path = "helpers/trace.rs"]
mod trace;
#[path = "helpers/traced.rs"]
mod traced;
