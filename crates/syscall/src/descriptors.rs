//! Descriptors: each is one end of a pair of sockets, of which the other one is kept here.
//!
//! The caller's end can be duplicated, inherited and sent to others as any descriptor. When its last copy is closed, the end that
//! is kept hangs up: a thread waits for that, and lets go of the object. Who asks what objects there are lets go of those first
//! whose descriptors were closed before ([`Descriptors::reap`]). Which object a descriptor stands for is known by its socket's
//! cookie, a number that no other socket of this boot has, so a number that is used again is no other object.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

use crate::caller::Identity;
use crate::object::Object;

/// What the event that ends the thread is known by: no socket has this cookie.
const END: u64 = 0;
/// How many events are taken at once.
const EVENTS: usize = 64;

/// The descriptors of all callers.
#[derive(Debug)]
pub(crate) struct Descriptors {
    table: Arc<Table>,
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Table {
    epoll: OwnedFd,
    open: RwLock<HashMap<u64, Open>>,
}

/// An object, and the end that is kept.
#[derive(Debug)]
struct Open {
    object: Object,
    end: OwnedFd,
}

impl Descriptors {
    pub(crate) fn new() -> io::Result<Descriptors> {
        let table = Arc::new(Table {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            open: RwLock::default(),
        });
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&table.epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        let watched = Arc::clone(&table);
        let thread = std::thread::Builder::new()
            .name("hitless-fds".to_owned())
            .spawn(move || while watched.wait(None) {})?;
        Ok(Descriptors {
            table,
            end,
            thread: Some(thread),
        })
    }

    /// A descriptor for an object, to be given to a caller.
    pub(crate) fn add(&self, object: Object) -> Result<(Identity, OwnedFd), Errno> {
        // The caller's is the first, so that it gets the lowest number, as descriptors do.
        let (theirs, end) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let cookie = sockopt::socket_cookie(&theirs)?;
        let data = EventData::new_u64(cookie);
        let mut open = self.table.open.write().unwrap_or_else(PoisonError::into_inner);
        epoll::add(&self.table.epoll, &end, data, EventFlags::empty())?;
        open.insert(cookie, Open { object, end });
        Ok((Identity(cookie), theirs))
    }

    pub(crate) fn get(&self, identity: Identity) -> Option<Object> {
        let open = self.table.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&identity.0).map(|open| open.object.clone())
    }

    /// Lets go of an object, whatever its descriptor does.
    pub(crate) fn remove(&self, identity: Identity) {
        self.table.remove(identity.0);
    }

    /// Lets go of what nobody has a descriptor of any more.
    pub(crate) fn reap(&self) {
        self.table.wait(Some(Timespec::default()));
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // If it could not be told, the thread waits for ever, and holds nothing but the table.
        if rustix::io::write(&self.end, &1u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Table {
    /// Waits for descriptors that are closed, and lets go of their objects. False once there is nothing to wait for.
    fn wait(&self, timeout: Option<Timespec>) -> bool {
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        let mut goes_on = true;
        for event in events {
            match event.data.u64() {
                END => goes_on = false,
                cookie => self.remove(cookie),
            }
        }
        goes_on
    }

    fn remove(&self, cookie: u64) {
        let removed = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            let removed = open.remove(&cookie);
            if let Some(removed) = &removed {
                // A forked child may have a copy of it, which would keep it watched.
                let _ = epoll::delete(&self.epoll, &removed.end);
            }
            removed
        };
        // Outside of the lock: what goes with it may wait for a grace period.
        drop(removed);
    }
}
