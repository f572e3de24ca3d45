//! `BPF_PROG_BIND_MAP`.

use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;

const PROG_FD: Field<u32> = Field::at(0);
const MAP_FD: Field<u32> = Field::at(4);
const FLAGS: Field<u32> = Field::at(8);

/// Has a program keep a map.
pub(crate) fn bind_map(call: &Call<'_>) -> Result<u32, Errno> {
    if call.attr.get(FLAGS) != 0 {
        return Err(Errno::INVAL);
    }
    let program = call.program(call.attr.get(PROG_FD))?;
    let open = call.open_map(call.attr.get(MAP_FD))?;
    program.bind_map(open.map());
    Ok(0)
}
