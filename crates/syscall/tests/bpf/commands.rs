//! The table of commands: complete, each works or says why not, and each knows the attributes that Linux knows.

use crate::sides::{Attr, Side};
use hitless_syscall::COMMANDS;

/// The numbers of Linux 6.12.
const OF_LINUX: u32 = 37;

#[test]
fn every_command_of_linux_is_there_once() {
    let numbers: Vec<u32> = COMMANDS.iter().map(|command| command.number).collect();
    let (linux, ours): (Vec<u32>, Vec<u32>) = numbers.iter().partition(|number| **number < 0x8000_0000);
    assert_eq!(linux, (0..OF_LINUX).collect::<Vec<_>>());
    assert_eq!(ours, [0x8000_0000, 0x8000_0001, 0x8000_0002]);
    let names: std::collections::BTreeSet<_> = COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(names.len(), COMMANDS.len());
    assert!(COMMANDS.iter().all(|command| command.name.starts_with("BPF_")));
}

/// A command that is refused fails with its errno; one that works does not say of no attributes at all that it does not know
/// them: it fails otherwise, or works.
#[test]
fn refused_commands_answer_their_errno() {
    let side = Side::hitless();
    for command in COMMANDS {
        let Some(refused) = command.refused() else { continue };
        let found = side.call(command.number, &mut Attr::new(), 152);
        assert_eq!(found, -i64::from(refused.errno.raw_os_error()), "{}", command.name);
        assert!(!refused.reason.is_empty());
    }
    for unknown in [OF_LINUX, 1000, 0x7fff_ffff, 0x8000_0003, u32::MAX] {
        assert_eq!(side.call(unknown, &mut Attr::new(), 8), -i64::from(libc::EINVAL));
    }
}

/// Attributes with which a command fails by another errno than EINVAL, on a kernel too, and does nothing.
fn harmless(number: u32) -> Option<(Attr, i32)> {
    let none = u32::MAX;
    let attr = Attr::new();
    Some(match number {
        15 => (attr.u32(0, none), libc::EBADFD),
        1..=4 | 10 | 21 | 22 | 29 | 34 | 35 => (attr.u32(0, none), libc::EBADF),
        17 => (attr.u32(8, none), libc::EBADF),
        8 | 9 => (attr.u32(4, none).u32(8, 46), libc::EBADF),
        28 => (attr.u32(0, none).u32(8, 46), libc::EBADF),
        24..=27 => (attr.u32(36, none), libc::EBADF),
        11 | 12 | 23 | 31 => (attr.u32(0, 0x7fff_fffe), libc::ENOENT),
        13 | 14 | 19 | 30 => (attr.u32(0, 0x7fff_fff0), libc::ENOENT),
        _ => return None,
    })
}

/// Attributes that newer kernels know, by command: from where to where.
const NEWER: [(u32, usize, usize); 1] = [(19, 4, 16)];

/// Bytes behind the last attribute have to be zero, and those before need not be.
#[test]
fn last_attributes_are_those_of_linux() {
    let Some(linux) = Side::linux() else { return };
    let ours = Side::hitless();
    let mut differ = Vec::new();
    for command in COMMANDS {
        let Some((base, errno)) = harmless(command.number) else {
            continue;
        };
        let works = command.refused().is_none();
        for at in 4..152 {
            if NEWER
                .iter()
                .any(|(number, from, to)| *number == command.number && (*from..*to).contains(&at))
            {
                continue;
            }
            let mut attr = base.clone();
            if attr.0[at] != 0 {
                continue;
            }
            attr.0[at] = 1;
            let (found, expected) = (
                ours.call(command.number, &mut attr.clone(), 152),
                linux.call(command.number, &mut attr.clone(), 152),
            );
            let refused = |result: i64| result == -i64::from(libc::EINVAL);
            if works && refused(found) != refused(expected) {
                differ.push(format!("{} byte {at}: {found}, Linux {expected}", command.name));
            }
        }
        if works {
            let found = ours.call(command.number, &mut base.clone(), 152);
            assert_eq!(found, -i64::from(errno), "{}", command.name);
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Sizes, tails and addresses of attributes.
#[test]
fn attributes_of_any_size() {
    let Some(linux) = Side::linux() else { return };
    let ours = Side::hitless();
    let page = [0u8; 8192];
    let address = page.as_ptr() as u64;
    let mut filled = page;
    filled[300] = 1;
    let filled = filled.as_ptr() as u64;
    for command in [0, 1, 12, 15, 18, 22, 36, 4000] {
        for size in [
            0,
            1,
            4,
            8,
            71,
            151,
            152,
            168,
            300,
            301,
            4095,
            4096,
            4097,
            5000,
            u32::MAX,
        ] {
            for attr in [0, 8, u64::MAX - 7, address, filled] {
                if attr == address && command == 12 {
                    // It would have an answer.
                    continue;
                }
                let (found, expected) = (ours.call_at(command, attr, size), linux.call_at(command, attr, size));
                assert_eq!(found, expected, "command {command}, {size} bytes at {attr:#x}");
            }
        }
    }
}
