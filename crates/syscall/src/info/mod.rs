//! `BPF_OBJ_GET_INFO_BY_FD`: what there is to know of an object, as a struct whose size the caller says.
//!
//! A caller that knows less gets less; what one knows that there is not here has to be zero. The size is answered with what was
//! written.

mod btf;
mod link;
mod map;
mod program;

use rustix::io::Errno;

use crate::Call;
use crate::attr::{Field, NAME_LEN, check_tail};
use crate::object::Object;

const FD: Field<u32> = Field::at(0);
const INFO_LEN: Field<u32> = Field::at(4);
const INFO: Field<u64> = Field::at(8);

/// Says what there is to know of an object.
pub(crate) fn get(call: &Call<'_>) -> Result<u32, Errno> {
    // Linux says it in another way than elsewhere that there is no such descriptor.
    let object = call.object(call.attr.get(FD)).map_err(|errno| match errno {
        Errno::BADF => Errno::BADFD,
        other => other,
    });
    match object? {
        Object::Map(open) => map::write(call, open.map()),
        Object::Btf(loaded) => btf::write(call, &loaded),
        Object::Program(program) => program::write(call, &program),
        Object::Link(link) => link::write(call, &link),
        Object::Stats(_) => Err(Errno::INVAL),
    }
}

/// A struct of so many bytes that is filled in.
struct Info<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Info<SIZE> {
    /// An empty one; refuses one of the caller's that goes on with something.
    fn new(call: &Call<'_>) -> Result<Self, Errno> {
        check_tail(call.caller, call.attr.get(INFO), SIZE, call.attr.get(INFO_LEN))?;
        Ok(Info([0; SIZE]))
    }

    /// What the caller has filled in, likewise.
    fn read(call: &Call<'_>) -> Result<Self, Errno> {
        let mut info = Info::new(call)?;
        let len = info.len(call);
        call.caller.read(call.attr.get(INFO), &mut info.0[..len])?;
        Ok(info)
    }

    fn len(&self, call: &Call<'_>) -> usize {
        SIZE.min(call.attr.get(INFO_LEN) as usize)
    }

    fn u32(&self, at: usize) -> u32 {
        self.0[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    fn u64(&self, at: usize) -> u64 {
        self.0[at..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    /// A name, as much of it as there is room for.
    fn put_name(&mut self, at: usize, name: &str) {
        let bytes = name.chars().map(|c| u8::try_from(c).unwrap_or(b'?'));
        for (to, byte) in self.0[at..at + NAME_LEN - 1].iter_mut().zip(bytes) {
            *to = byte;
        }
    }

    fn write(&self, call: &Call<'_>) -> Result<u32, Errno> {
        let len = self.len(call);
        call.caller.write(call.attr.get(INFO), &self.0[..len])?;
        call.caller
            .write(call.attr.address_of(INFO_LEN), &(len as u32).to_ne_bytes())?;
        Ok(0)
    }
}
