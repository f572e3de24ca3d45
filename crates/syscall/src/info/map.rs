//! `struct bpf_map_info`.

use hitless::Map;
use rustix::io::Errno;

use super::Info;
use crate::Call;

const SIZE: usize = 88;

pub(super) fn write(call: &Call<'_>, map: &Map) -> Result<u32, Errno> {
    let mut info = Info::<SIZE>::new(call)?;
    let def = map.def();
    info.put_u32(0, def.kind.number());
    info.put_u32(4, map.id());
    info.put_u32(8, def.key_size);
    info.put_u32(12, def.value_size);
    info.put_u32(16, def.max_entries);
    info.put_u32(20, def.flags.bits());
    info.put_name(24, &def.name);
    if let Some(types) = map.types() {
        info.put_u32(64, call.bpf.btfs.id_of(&types.btf));
        info.put_u32(68, types.key.map_or(0, |key| key.0));
        info.put_u32(72, types.value.0);
    }
    info.put_u64(80, def.map_extra);
    info.write(call)
}
