//! `union bpf_attr` as callers hand it over: its size rules, and its fields by offset.

use std::marker::PhantomData;

use rustix::io::Errno;

use crate::caller::Caller;

/// Size of the union in Linux 6.12.
pub(crate) const SIZE: usize = 152;
/// The most that a caller may hand over.
const MAX_SIZE: u32 = 4096;
/// Bytes of the name of an object, its end included.
pub(crate) const NAME_LEN: usize = 16;

/// Attributes: what the caller left out is zero.
#[derive(Debug)]
pub(crate) struct Attr {
    bytes: [u8; SIZE],
    address: u64,
    size: u32,
}

/// A field, at its offset in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<T> {
    at: usize,
    of: PhantomData<T>,
}

impl<T> Field<T> {
    pub(crate) const fn at(at: usize) -> Field<T> {
        Field { at, of: PhantomData }
    }
}

/// A number in memory, in the machine's order.
pub(crate) trait Number: Copy {
    fn load(bytes: &[u8]) -> Self;
}

impl Number for u32 {
    fn load(bytes: &[u8]) -> u32 {
        bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }
}

impl Number for u64 {
    fn load(bytes: &[u8]) -> u64 {
        bytes.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }
}

impl Attr {
    /// Reads attributes of so many bytes. Those of a caller that knows more fields than there are here have to be zero there.
    pub(crate) fn read(caller: &dyn Caller, address: u64, size: u32) -> Result<Attr, Errno> {
        check_tail(caller, address, SIZE, size)?;
        let mut bytes = [0; SIZE];
        caller.read(address, &mut bytes[..SIZE.min(size as usize)])?;
        Ok(Attr { bytes, address, size })
    }

    pub(crate) fn get<T: Number>(&self, field: Field<T>) -> T {
        T::load(&self.bytes[field.at..])
    }

    /// Where a field is in the caller's memory, whether or not the caller said that there is such a field.
    pub(crate) fn address_of<T>(&self, field: Field<T>) -> u64 {
        self.address.wrapping_add(field.at as u64)
    }

    /// Whether the caller handed a field over.
    pub(crate) fn has(&self, field: Field<u32>) -> bool {
        self.size as usize >= field.at + size_of::<u32>()
    }

    /// How many bytes the caller handed over.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Where they are.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn is_zero_from(&self, end: usize) -> bool {
        self.bytes[end..].iter().all(|byte| *byte == 0)
    }

    /// The name at an offset.
    pub(crate) fn name(&self, at: usize) -> Result<String, Errno> {
        let bytes = &self.bytes[at..at + NAME_LEN];
        let end = bytes.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        // Linux takes letters of Latin-1, and does not look at what follows the end.
        let name = || bytes[..end].iter().map(|byte| char::from(*byte));
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.') || is_latin_letter(c);
        if !name().all(allowed) {
            return Err(Errno::INVAL);
        }
        Ok(name().collect())
    }
}

fn is_latin_letter(c: char) -> bool {
    matches!(c, '\u{c0}'..='\u{ff}') && !matches!(c, '\u{d7}' | '\u{f7}')
}

/// Refuses a struct of so many bytes, of which `known` are known here, unless the rest is zero.
pub(crate) fn check_tail(caller: &dyn Caller, address: u64, known: usize, size: u32) -> Result<(), Errno> {
    if size > MAX_SIZE {
        return Err(Errno::TOOBIG);
    }
    let size = size as usize;
    if size <= known {
        return Ok(());
    }
    let mut tail = [0; MAX_SIZE as usize];
    let tail = &mut tail[..size - known];
    let at = address.checked_add(known as u64).ok_or(Errno::FAULT)?;
    caller.read(at, tail)?;
    if tail.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(Errno::TOOBIG)
    }
}
