//! `BPF_ENABLE_STATS`.

use std::sync::Arc;

use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;
use crate::object::Object;

const TYPE: Field<u32> = Field::at(0);

/// `BPF_STATS_RUN_TIME`, the only ones that there are.
const RUN_TIME: u32 = 0;

/// Has statistics of programs kept until the descriptor is closed.
pub(crate) fn enable(call: &Call<'_>) -> Result<u32, Errno> {
    if call.attr.get(TYPE) != RUN_TIME {
        return Err(Errno::INVAL);
    }
    call.open(Object::Stats(Arc::new(call.bpf.runtime().enable_stats())))
}
