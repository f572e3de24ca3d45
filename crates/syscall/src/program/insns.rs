//! The instructions of a program: what they refer to by descriptors becomes what they refer to by index.

use std::sync::Arc;

use hitless::MapHandle;
use hitless_isa::Insn;
use rustix::io::Errno;

use crate::Call;

/// Opcode of a wide immediate.
const LDDW: u8 = 0x18;
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_MAP_IDX: u8 = 5;
const PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// The most maps that a program uses.
const MAX_MAPS: usize = 64;

/// Instructions, and the maps that they refer to by index.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) insns: Vec<Insn>,
    pub(super) maps: Vec<MapHandle>,
}

/// Why a reference is none: the errno, and what the log says.
#[derive(Debug)]
pub(super) struct BadReference {
    pub(super) errno: Errno,
    pub(super) message: String,
}

/// Reads so many instructions.
pub(super) fn read(call: &Call<'_>, address: u64, count: u32) -> Result<Vec<Insn>, Errno> {
    let mut bytes = vec![0; count as usize * Insn::SIZE];
    call.caller.read(address, &mut bytes)?;
    let (slots, _) = bytes.as_chunks::<{ Insn::SIZE }>();
    Ok(slots.iter().map(|slot| Insn::from_bytes(*slot)).collect())
}

/// Looks up the maps that instructions refer to. `fd_array` is where the caller has its table of descriptors.
pub(super) fn resolve(call: &Call<'_>, mut insns: Vec<Insn>, fd_array: u64) -> Result<Program, BadReference> {
    let mut maps: Vec<MapHandle> = Vec::new();
    let mut pc = 0;
    while pc < insns.len() {
        let insn = insns[pc];
        if insn.code != LDDW {
            pc += 1;
            continue;
        }
        let by_index = match insn.src {
            PSEUDO_MAP_FD | PSEUDO_MAP_VALUE => false,
            PSEUDO_MAP_IDX | PSEUDO_MAP_IDX_VALUE => true,
            _ => {
                pc += 2;
                continue;
            }
        };
        let bad = |errno, message: String| BadReference { errno, message };
        let fd = if by_index {
            if fd_array == 0 {
                return Err(bad(Errno::PROTO, "fd_idx without fd_array is invalid".to_owned()));
            }
            let mut fd = [0; 4];
            let at = fd_array.wrapping_add_signed(i64::from(insn.imm) * 4);
            call.caller
                .read(at, &mut fd)
                .map_err(|errno| bad(errno, String::new()))?;
            u32::from_ne_bytes(fd)
        } else {
            insn.imm.cast_unsigned()
        };
        let open = call.open_map(fd).map_err(|errno| {
            let message = format!("fd {} is not pointing to valid bpf_map", fd.cast_signed());
            bad(errno, message)
        })?;
        let map = open.map();
        let known = maps.iter().position(|known| Arc::ptr_eq(known, map));
        let index = match known {
            Some(index) => index,
            None if maps.len() == MAX_MAPS => {
                let message = "The total number of maps per program has reached the limit of 64".to_owned();
                return Err(bad(Errno::TOOBIG, message));
            }
            None => {
                maps.push(map.clone());
                maps.len() - 1
            }
        };
        let is_value = matches!(insn.src, PSEUDO_MAP_VALUE | PSEUDO_MAP_IDX_VALUE);
        insns[pc].src = if is_value { PSEUDO_MAP_IDX_VALUE } else { PSEUDO_MAP_IDX };
        insns[pc].imm = index as i32;
        pc += 2;
    }
    Ok(Program { insns, maps })
}
