//! Descriptors: their last close is what takes an object away.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::sides::{Attr, Side};

const MAP_CREATE: u32 = 0;
const MAP_GET_NEXT_ID: u32 = 12;
const MAP_GET_FD_BY_ID: u32 = 14;
const MAP_WAIT: u32 = 0x8000_0002;

fn array(side: &Side) -> i64 {
    let fd = side.call(
        MAP_CREATE,
        &mut Attr::new().u32(0, 2).u32(4, 4).u32(8, 8).u32(12, 4),
        72,
    );
    assert!(fd >= 0, "{fd}");
    fd
}

/// The first map's id; `None` if there is none.
fn first_map(side: &Side) -> Option<u32> {
    let mut attr = Attr::new();
    match side.call(MAP_GET_NEXT_ID, &mut attr, 12) {
        0 => Some(attr.get_u32(4)),
        error => {
            assert_eq!(error, -i64::from(libc::ENOENT));
            None
        }
    }
}

#[test]
fn the_last_copy_takes_the_object_away() {
    let side = Side::hitless();
    let fd = array(&side);
    // SAFETY: duplicates a descriptor.
    let copy = unsafe { libc::dup(fd as i32) };
    Side::close(fd);
    assert!(first_map(&side).is_some());
    assert_eq!(side.call(22, &mut Attr::new().u32(0, copy as u32), 4), 0);
    assert_eq!(
        side.call(22, &mut Attr::new().u32(0, fd as u32), 4),
        -i64::from(libc::EBADF)
    );
    Side::close(copy.into());
    assert_eq!(first_map(&side), None);
}

/// Nobody asks, and it goes all the same.
#[test]
fn a_thread_sees_the_last_close() {
    let side = Side::hitless();
    let fd = array(&side);
    assert_eq!(side.bpf().runtime().map_ids().len(), 1);
    Side::close(fd);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !side.bpf().runtime().map_ids().is_empty() {
        assert!(Instant::now() < deadline, "the map is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_inherits_a_copy_keeps_the_object() {
    let side = Side::hitless();
    let fd = array(&side);
    // SAFETY: as `Command` does, with nothing but calls that may be made there.
    let mut child = unsafe {
        use std::os::unix::process::CommandExt;
        Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .pre_exec(move || {
                // A copy that is not closed by the execution of another program.
                if libc::dup(fd as i32) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            })
            .spawn()
            .expect("cat is there")
    };
    Side::close(fd);
    assert!(first_map(&side).is_some());
    drop(child.stdin.take());
    child.wait().expect("it is a child");
    assert_eq!(first_map(&side), None);
}

#[test]
fn execution_of_another_program_closes_it() {
    let side = Side::hitless();
    let fd = array(&side);
    // SAFETY: asks for the flags of a descriptor.
    let flags = unsafe { libc::fcntl(fd as i32, libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    Side::close(fd);
}

#[test]
fn descriptors_of_other_kinds_are_invalid() {
    let side = Side::hitless();
    // SAFETY: makes an ordinary descriptor, and one of a socket that nobody knows.
    let (file, socket) = unsafe { (libc::dup(2), libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
    let freeze = |fd: i32| side.call(22, &mut Attr::new().u32(0, fd as u32), 4);
    assert_eq!(freeze(file), -i64::from(libc::EINVAL));
    assert_eq!(freeze(socket), -i64::from(libc::EINVAL));
    assert_eq!(freeze(-1), -i64::from(libc::EBADF));
    assert_eq!(freeze(1 << 30), -i64::from(libc::EBADF));
    Side::close(file.into());
    Side::close(socket.into());
}

#[test]
fn a_map_is_waited_for_by_id_and_by_descriptor() {
    let side = Side::hitless();
    let wait = |fd: i64, id: u32, event: u32| {
        let attr = Attr::new().u32(0, fd as u32).u32(4, id).u32(8, event);
        side.call(MAP_WAIT, &mut attr.u64(16, 50_000_000), 24)
    };
    let (timed_out, invalid) = (-i64::from(libc::ETIMEDOUT), -i64::from(libc::EINVAL));
    let fd = array(&side);
    let id = first_map(&side).expect("one was made");
    assert_eq!((wait(fd, 0, 0), wait(fd, 0, 1)), (0, 0));
    assert_eq!(wait(0, id, 2), timed_out);
    assert_eq!(wait(fd, 0, 3), invalid);
    let other = side.call(MAP_GET_FD_BY_ID, &mut Attr::new().u32(0, id), 12);
    assert_eq!(wait(fd, 0, 1), timed_out);
    // The other descriptor still holds it; this one is given up.
    assert_eq!(wait(fd, 0, 2), timed_out);
    assert_eq!(wait(fd, 0, 0), invalid);
    Side::close(other);
    assert_eq!(wait(0, id, 2), 0);
    Side::close(fd);
}

#[test]
fn references_of_maps_of_maps_are_waited_for() {
    let side = Side::hitless();
    const SYNCHRONIZE: u32 = 0x8000_0000;
    assert_eq!(side.call_at(SYNCHRONIZE, 0, 0), 0);
    assert_eq!(side.call(SYNCHRONIZE, &mut Attr::new(), 0), -i64::from(libc::EINVAL));
    assert_eq!(side.call(SYNCHRONIZE, &mut Attr::new(), 8), -i64::from(libc::EINVAL));
    let inner = array(&side);
    let attr = Attr::new().u32(0, 12).u32(4, 4).u32(8, 4).u32(12, 1);
    let outer = side.call(MAP_CREATE, &mut attr.u32(20, inner as u32), 72);
    let sync = |fd: i64| side.call(SYNCHRONIZE + 1, &mut Attr::new().u32(0, fd as u32), 4);
    assert_eq!((sync(outer), sync(inner)), (0, -524));
    Side::close(inner);
    Side::close(outer);
}
