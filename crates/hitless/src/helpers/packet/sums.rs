//! Checksums in packets of the network stack. No device has checked or will make them: they are what is in the packet.

use hitless_verifier::tables::helpers::number;

use super::super::errno::{EACCES, EFAULT, EINVAL, Errno, returned};
use super::super::{Helper, checksum};
use super::{ENOTSUPP, get, put, skb};
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_l3_csum_replace"), l3_csum_replace),
    Helper::new(number("bpf_l4_csum_replace"), l4_csum_replace),
    Helper::new(number("bpf_csum_update"), csum_update),
    Helper::new(number("bpf_csum_level"), csum_level),
];

/// How long what changed is, or 0 if `to` is a difference of sums.
const F_SIZE: u64 = 0xf;
/// `BPF_F_PSEUDO_HDR`, `BPF_F_MARK_MANGLED_0`, `BPF_F_MARK_ENFORCE`, `BPF_F_IPV6`. The first and the last matter for devices.
const F_PSEUDO_HDR: u64 = 0x10;
const F_MARK_MANGLED_0: u64 = 0x20;
const F_MARK_ENFORCE: u64 = 0x40;
const F_IPV6: u64 = 0x80;

/// A sum that is 0 says that there is none (in UDP): then it is written as this.
const MANGLED_0: u16 = 0xffff;

/// No offset of a sum is greater.
const MOST: u64 = 0xffff;

unsafe extern "C" fn l3_csum_replace(env: &mut RunEnv<'_>, _: u64, offset: u64, from: u64, to: u64, flags: u64) -> u64 {
    if flags & !F_SIZE != 0 {
        return returned(Err(EINVAL));
    }
    let replace = |field: u16| match flags & F_SIZE {
        2 => Ok(checksum::replaced_u16(field, from as u16, to as u16)),
        size => replaced(field, from, to, size),
    };
    returned(change(env, offset, replace))
}

unsafe extern "C" fn l4_csum_replace(env: &mut RunEnv<'_>, _: u64, offset: u64, from: u64, to: u64, flags: u64) -> u64 {
    if flags & !(F_SIZE | F_PSEUDO_HDR | F_MARK_MANGLED_0 | F_MARK_ENFORCE | F_IPV6) != 0 {
        return returned(Err(EINVAL));
    }
    let marked = flags & F_MARK_MANGLED_0 != 0;
    let replace = |field: u16| {
        if marked && flags & F_MARK_ENFORCE == 0 && field == 0 {
            return Ok(field);
        }
        let (from, to) = match flags & F_SIZE {
            2 => (from & 0xffff, to & 0xffff),
            _ => (from, to),
        };
        let field = replaced(field, from, to, flags & F_SIZE)?;
        Ok(if marked && field == 0 { MANGLED_0 } else { field })
    };
    returned(change(env, offset, replace))
}

/// The sum after words have changed, or by a difference of sums.
fn replaced(field: u16, from: u64, to: u64, size: u64) -> Result<u16, Errno> {
    match size {
        0 if from == 0 => Ok(checksum::replaced(field, to as u32)),
        2 | 4 => Ok(checksum::replaced_u32(field, from as u32, to as u32)),
        _ => Err(EINVAL),
    }
}

fn change(env: &mut RunEnv<'_>, offset: u64, change: impl FnOnce(u16) -> Result<u16, Errno>) -> Result<u64, Errno> {
    let offset = offset & 0xffff_ffff;
    if offset > MOST || offset & 1 != 0 {
        return Err(EFAULT);
    }
    let frame = skb(env);
    let packet = (frame.data, frame.data_end);
    let field = get(packet, offset).map(u16::from_ne_bytes).ok_or(EFAULT)?;
    put(packet, offset, &change(field)?.to_ne_bytes());
    Ok(0)
}

/// Adds to the sum of all of the packet, which only devices make.
unsafe extern "C" fn csum_update(_: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    returned(Err(ENOTSUPP))
}

/// What `bpf_csum_level()` may be asked for (`enum bpf_csum_level`): the level, or to change it.
const LEVEL_QUERY: u64 = 0;
const LEVEL_RESET: u64 = 3;

/// How many sums a device has checked: none, which nothing changes.
unsafe extern "C" fn csum_level(_: &mut RunEnv<'_>, _: u64, what: u64, _: u64, _: u64, _: u64) -> u64 {
    returned(match what {
        LEVEL_QUERY => Err(EACCES),
        1..=LEVEL_RESET => Ok(0),
        _ => Err(EINVAL),
    })
}
