//! Bytes of packets of the network stack.

use hitless_verifier::tables::helpers::number;

use super::super::Helper;
use super::super::errno::{EFAULT, EINVAL, ENOMEM, Errno, returned};
use super::{part, skb};
use crate::env::RunEnv;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_skb_load_bytes"), load_bytes),
    Helper::new(number("bpf_skb_load_bytes_relative"), load_bytes_relative),
    Helper::new(number("bpf_skb_store_bytes"), store_bytes),
    Helper::new(number("bpf_skb_pull_data"), pull_data),
];

/// `BPF_F_RECOMPUTE_CSUM`: there is no sum of all of the packet that would have to follow.
const F_RECOMPUTE_CSUM: u64 = 1;
const F_INVALIDATE_HASH: u64 = 2;

const HDR_START_MAC: u32 = 0;
const HDR_START_NET: u32 = 1;

/// Copies what was found; if nothing was, clears the destination.
///
/// # Safety
/// `to` is writable for `len` bytes, which is how many were looked for.
unsafe fn copy_or_clear(found: Option<SharedBytes<'_>>, to: u64, len: u64) -> u64 {
    // SAFETY: by the caller's word.
    let to = unsafe { SharedBytes::from_raw(to, len as usize) };
    match found {
        Some(found) => {
            // SAFETY: as above.
            unsafe { to.write(found) };
            0
        }
        None => {
            // SAFETY: as above.
            unsafe { to.fill(0) };
            returned(Err(EFAULT))
        }
    }
}

unsafe extern "C" fn load_bytes(env: &mut RunEnv<'_>, _: u64, offset: u64, to: u64, len: u64, _: u64) -> u64 {
    let frame = skb(env);
    let found = part((frame.data, frame.data_end), offset & 0xffff_ffff, len);
    // SAFETY: the verifier proved so much writable memory.
    unsafe { copy_or_clear(found, to, len) }
}

unsafe extern "C" fn load_bytes_relative(
    env: &mut RunEnv<'_>,
    _: u64,
    offset: u64,
    to: u64,
    len: u64,
    header: u64,
) -> u64 {
    let frame = skb(env);
    let start = match header as u32 {
        // Where the link-layer header has been left behind, the packet begins with the network header.
        HDR_START_MAC => (frame.mac_len > 0).then_some(0),
        HDR_START_NET => Some(frame.mac_len),
        _ => None,
    };
    let found = start.and_then(|start| {
        let offset = u64::from(start) + (offset & 0xffff_ffff);
        part((frame.data, frame.data_end), offset, len)
    });
    // SAFETY: the verifier proved so much writable memory.
    unsafe { copy_or_clear(found, to, len) }
}

unsafe extern "C" fn store_bytes(env: &mut RunEnv<'_>, _: u64, offset: u64, from: u64, len: u64, flags: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    store(
        env,
        offset & 0xffff_ffff,
        unsafe { SharedBytes::from_raw(from, len as usize) },
        flags,
    )
}

/// Overwrites bytes at an offset, by the flags of `bpf_skb_store_bytes()`.
pub(crate) fn store(env: &mut RunEnv<'_>, offset: u64, from: SharedBytes<'_>, flags: u64) -> u64 {
    if flags & !(F_RECOMPUTE_CSUM | F_INVALIDATE_HASH) != 0 {
        return returned(Err(EINVAL));
    }
    returned(find(env, offset, from.len() as u64).map(|found| {
        // SAFETY: the packet is writable.
        unsafe { found.write_overlapping(from) };
        if flags & F_INVALIDATE_HASH != 0 {
            skb(env).fields.hash = 0;
        }
        0
    }))
}

/// The bytes at an offset.
pub(crate) fn find<'a>(env: &mut RunEnv<'_>, offset: u64, len: u64) -> Result<SharedBytes<'a>, Errno> {
    let frame = skb(env);
    part((frame.data, frame.data_end), offset, len).ok_or(EFAULT)
}

/// All of the packet is in one piece already.
unsafe extern "C" fn pull_data(env: &mut RunEnv<'_>, _: u64, len: u64, _: u64, _: u64, _: u64) -> u64 {
    let frame = skb(env);
    if len & 0xffff_ffff > frame.data_end - frame.data {
        return returned(Err(ENOMEM));
    }
    0
}
