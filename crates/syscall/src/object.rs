//! What descriptors stand for.

use std::sync::Arc;

use hitless::{MapHandle, Program, StatsEnabled};
use rustix::io::Errno;

use crate::Call;
use crate::btf::LoadedBtf;
use crate::link::OpenLink;

/// `BPF_F_RDONLY` and `BPF_F_WRONLY`: what a descriptor of a map is good for.
const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;

/// What a descriptor stands for. It holds a user reference.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Map(Arc<OpenMap>),
    Program(Arc<Program>),
    Btf(Arc<LoadedBtf>),
    Link(Arc<OpenLink>),
    /// Statistics are kept as long as it is open.
    Stats(#[expect(dead_code, reason = "held, never looked at")] Arc<StatsEnabled>),
}

/// A map, opened for reading and writing or one of them.
#[derive(Debug)]
pub(crate) struct OpenMap {
    map: MapHandle,
    access: Access,
}

/// What may be done with a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Both,
    Read,
    Write,
}

impl Access {
    /// As flags say it; not both of them.
    pub(crate) fn of(flags: u32) -> Result<Access, Errno> {
        match flags & (RDONLY | WRONLY) {
            0 => Ok(Access::Both),
            RDONLY => Ok(Access::Read),
            WRONLY => Ok(Access::Write),
            _ => Err(Errno::INVAL),
        }
    }

    /// As the flags of a descriptor say it, of which there are no others.
    pub(crate) fn only(flags: u32) -> Result<Access, Errno> {
        if flags & !(RDONLY | WRONLY) != 0 {
            return Err(Errno::INVAL);
        }
        Access::of(flags)
    }
}

impl OpenMap {
    pub(crate) fn new(map: MapHandle, access: Access) -> OpenMap {
        OpenMap { map, access }
    }

    pub(crate) fn map(&self) -> &MapHandle {
        &self.map
    }

    pub(crate) fn readable(&self) -> Result<&MapHandle, Errno> {
        match self.access {
            Access::Both | Access::Read => Ok(&self.map),
            Access::Write => Err(Errno::PERM),
        }
    }

    pub(crate) fn writable(&self) -> Result<&MapHandle, Errno> {
        match self.access {
            Access::Both | Access::Write => Ok(&self.map),
            Access::Read => Err(Errno::PERM),
        }
    }
}

impl Call<'_> {
    /// What one of the caller's descriptors stands for; [`Errno::INVAL`] if nothing of this runtime.
    pub(crate) fn object(&self, fd: u32) -> Result<Object, Errno> {
        let identity = self.caller.identify(fd)?;
        self.bpf.descriptors.get(identity).ok_or(Errno::INVAL)
    }

    pub(crate) fn open_map(&self, fd: u32) -> Result<Arc<OpenMap>, Errno> {
        match self.object(fd)? {
            Object::Map(map) => Ok(map),
            _ => Err(Errno::INVAL),
        }
    }

    pub(crate) fn program(&self, fd: u32) -> Result<Arc<Program>, Errno> {
        match self.object(fd)? {
            Object::Program(program) => Ok(program),
            _ => Err(Errno::INVAL),
        }
    }

    pub(crate) fn link(&self, fd: u32) -> Result<Arc<OpenLink>, Errno> {
        match self.object(fd)? {
            Object::Link(link) => Ok(link),
            _ => Err(Errno::INVAL),
        }
    }

    pub(crate) fn btf(&self, fd: u32) -> Result<Arc<LoadedBtf>, Errno> {
        match self.object(fd)? {
            Object::Btf(btf) => Ok(btf),
            _ => Err(Errno::INVAL),
        }
    }

    /// A new descriptor of the caller's for an object.
    pub(crate) fn open(&self, object: Object) -> Result<u32, Errno> {
        let (identity, end) = self.bpf.descriptors.add(object)?;
        self.caller
            .install(end)
            .inspect_err(|_| self.bpf.descriptors.remove(identity))
    }
}
