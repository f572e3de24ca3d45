//! `struct bpf_btf_info`.

use rustix::io::Errno;

use super::Info;
use crate::Call;
use crate::btf::LoadedBtf;

const SIZE: usize = 32;
const BTF: usize = 0;
const BTF_SIZE: usize = 8;
const ID: usize = 12;
const NAME: usize = 16;
const NAME_LEN: usize = 24;

pub(super) fn write(call: &Call<'_>, loaded: &LoadedBtf) -> Result<u32, Errno> {
    let mut info = Info::<SIZE>::read(call)?;
    info.put_u32(ID, loaded.id);
    let room = loaded.bytes.len().min(info.u32(BTF_SIZE) as usize);
    call.caller.write(info.u64(BTF), &loaded.bytes[..room])?;
    info.put_u32(BTF_SIZE, loaded.bytes.len() as u32);
    // What callers load has no name.
    let (name, room) = (info.u64(NAME), info.u32(NAME_LEN));
    if (name != 0) != (room != 0) {
        return Err(Errno::INVAL);
    }
    if name != 0 {
        call.caller.write(name, &[0])?;
    }
    info.put_u32(NAME_LEN, 0);
    info.put_u32(NAME_LEN + 4, 0);
    info.write(call)
}
