//! Helpers that print into the output of an iterator, and by types. What does not fit is lost, and the whole element is shown to the program again
//! (`iter/reader.rs`).

use hitless_btf::{Btf, TypeId};
use hitless_verifier::tables::helpers::number;

use super::errno::{EINVAL, ENOENT, EOVERFLOW, Errno, returned};
use super::format::{Output, Staged, TYPED_FLAGS, Typed};
use super::print::{Args, Format};
use super::{Helper, Shared};
use crate::env::RunEnv;
use crate::iter::Seq;
use crate::region::SharedBytes;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_seq_printf"), seq_printf),
    Helper::new(number("bpf_seq_write"), seq_write),
    Helper::new(number("bpf_seq_printf_btf"), seq_printf_btf),
    Helper::new(number("bpf_snprintf_btf"), snprintf_btf),
];

/// Size of a `struct btf_ptr`.
const BTF_PTR: usize = 16;

unsafe extern "C" fn seq_printf(env: &mut RunEnv<'_>, seq: u64, format: u64, size: u64, args: u64, len: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let (format, args) = unsafe {
        (
            SharedBytes::from_raw(format, size as usize),
            SharedBytes::from_raw(args, len as usize),
        )
    };
    let printed = Args::read(args).and_then(|args| {
        let format = Format::copy_of(format)?;
        let staged = Staged::new(format.text(), args.as_slice())?;
        let shared = env.shared();
        let seq = env.seq(seq).ok_or(EINVAL)?;
        print(seq, |out| staged.print(format.text(), shared, out))
    });
    returned(printed)
}

/// Adds text.
pub(super) fn print(seq: &mut Seq, text: impl FnOnce(&mut Output<'_>)) -> Result<u64, Errno> {
    let mut out = Output::to_slice(seq.room());
    text(&mut out);
    let len = out.finish();
    seq.advance(len);
    if seq.has_overflowed() { Err(EOVERFLOW) } else { Ok(0) }
}

/// What a program asks to be printed by its type.
struct Asked {
    ty: TypeId,
    address: u64,
    flags: u64,
}

impl Asked {
    /// Reads a `struct btf_ptr`.
    fn read(btf: &Btf, pointer: SharedBytes<'_>, flags: u64) -> Result<Asked, Errno> {
        if pointer.len() != BTF_PTR || flags & !TYPED_FLAGS != 0 {
            return Err(EINVAL);
        }
        let mut bytes = [0; BTF_PTR];
        pointer.read(&mut bytes);
        let [address, rest] = [0, 8].map(|at| {
            let word = bytes[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(word)
        });
        // The flags behind it mean nothing yet, in Linux, too.
        let ty = TypeId(rest as u32);
        if ty == TypeId::VOID {
            return Err(EINVAL);
        }
        btf.get(ty).ok_or(ENOENT)?;
        Ok(Asked { ty, address, flags })
    }

    fn print(&self, btf: &Btf, hide: &Shared, out: &mut Output<'_>) -> Result<(), Errno> {
        let typed = Typed {
            btf,
            hide,
            flags: self.flags,
        };
        typed.print(self.ty, self.address, out)
    }
}

/// Types are those that the program was relocated against. Whether the text fits is not said.
unsafe extern "C" fn seq_printf_btf(env: &mut RunEnv<'_>, seq: u64, pointer: u64, len: u64, flags: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let pointer = unsafe { SharedBytes::from_raw(pointer, len as usize) };
    let (btf, shared) = (env.program().types(), env.shared());
    let printed = Asked::read(btf, pointer, flags).and_then(|asked| {
        let seq = env.seq(seq).ok_or(EINVAL)?;
        let mut result = Ok(());
        let _overflow = print(seq, |out| result = asked.print(btf, shared, out));
        result.map(|()| 0)
    });
    returned(printed)
}

/// Returns how long the whole text is, without the zero at its end.
unsafe extern "C" fn snprintf_btf(env: &mut RunEnv<'_>, to: u64, size: u64, pointer: u64, len: u64, flags: u64) -> u64 {
    // SAFETY: the verifier proved so much readable and writable memory.
    let (to, pointer) = unsafe {
        (
            SharedBytes::from_raw(to, size as usize),
            SharedBytes::from_raw(pointer, len as usize),
        )
    };
    let (btf, shared) = (env.program().types(), env.shared());
    let printed = Asked::read(btf, pointer, flags).and_then(|asked| {
        // SAFETY: writable, as above.
        let mut out = unsafe { Output::to_shared(to) };
        let result = asked.print(btf, shared, &mut out);
        let len = out.finish();
        result.map(|()| len as u64)
    });
    returned(printed)
}

unsafe extern "C" fn seq_write(env: &mut RunEnv<'_>, seq: u64, data: u64, len: u64, _: u64, _: u64) -> u64 {
    // SAFETY: the verifier proved so much readable memory.
    let data = unsafe { SharedBytes::from_raw(data, len as usize) };
    let written = env.seq(seq).ok_or(EINVAL).and_then(|seq| {
        if let Some(room) = seq.room().get_mut(..data.len()) {
            data.read(room);
        }
        seq.advance(data.len());
        if seq.has_overflowed() { Err(EOVERFLOW) } else { Ok(0) }
    });
    returned(written)
}
