//! The order of the programs at a hook, and who may join them: the kernel's rules.
//!
//! How several programs share a hook is settled by the first one that is attached ([`AttachMode`]). Ordered chains follow
//! `tcx` (`kernel/bpf/mprog.c` of Linux 6.6 and later): a place beside another program, and a revision that a caller may
//! insist on. The modes of control groups follow `BPF_PROG_ATTACH` there, of which a hook is one without ancestors.

use super::link::AttachError;

/// The most programs that a hook has.
pub const MAX_PROGRAMS: usize = 64;

/// How programs share a hook.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum AttachMode {
    /// In an order that whoever attaches says, as `tcx` has it.
    #[default]
    Chain,
    /// One program only, as an XDP link: others are refused while it is there.
    Exclusive,
    /// One program only (control groups: no flags): another takes its place.
    Single,
    /// One program only (`BPF_F_ALLOW_OVERRIDE`): another takes its place. Differs from [`Single`](AttachMode::Single) below
    /// ancestors only, which hooks do not have.
    Override,
    /// All of them, in the order of attachment (`BPF_F_ALLOW_MULTI`).
    Multi,
}

/// Where a program is put in a chain. What it names is that of a program or link at the hook.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Place {
    /// Before all others (`BPF_F_BEFORE` alone).
    First,
    /// Behind all others.
    #[default]
    Last,
    /// Before this one.
    #[doc(alias = "BPF_F_BEFORE")]
    Before(Beside),
    /// Behind this one.
    #[doc(alias = "BPF_F_AFTER")]
    After(Beside),
    /// In place of this one, whose link is detached by that. In a chain, or with [`AttachMode::Multi`].
    #[doc(alias = "BPF_F_REPLACE")]
    Replace(Beside),
}

/// A program at a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beside {
    /// The program with this id.
    #[doc(alias = "BPF_F_ID")]
    Program(u32),
    /// The program of the link with this id.
    #[doc(alias = "BPF_F_LINK")]
    Link(u32),
}

/// A program at a hook, and the link that it is there by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) link: u32,
    pub(crate) program: u32,
}

/// The programs at a hook, in order.
#[derive(Debug)]
pub(crate) struct Chain {
    members: Vec<Member>,
    mode: AttachMode,
    /// Changes with every change of what is attached.
    revision: u64,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain {
            members: Vec::new(),
            mode: AttachMode::default(),
            revision: 1,
        }
    }
}

impl Chain {
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Puts a program in; returns the member whose place it has taken, if it has.
    pub(crate) fn insert(
        &mut self,
        new: Member,
        mode: AttachMode,
        place: Place,
        expected_revision: Option<u64>,
    ) -> Result<Option<Member>, AttachError> {
        if let Some(expected) = expected_revision
            && expected != self.revision
        {
            return Err(AttachError::Revision {
                found: self.revision,
                expected,
            });
        }
        let placed = place != Place::Last;
        if placed && !(mode == AttachMode::Chain || mode == AttachMode::Multi && matches!(place, Place::Replace(_))) {
            return Err(AttachError::Place { mode });
        }
        if !self.members.is_empty() && mode != self.mode {
            return Err(match self.mode {
                AttachMode::Exclusive => AttachError::Occupied,
                found => AttachError::Mode { found, expected: mode },
            });
        }
        let replaced = match mode {
            AttachMode::Exclusive if !self.members.is_empty() => return Err(AttachError::Occupied),
            AttachMode::Exclusive => self.put(new, 0, false),
            AttachMode::Single | AttachMode::Override => self.put(new, 0, !self.members.is_empty()),
            AttachMode::Chain | AttachMode::Multi => self.put_among(new, mode, place)?,
        };
        self.mode = mode;
        Ok(replaced)
    }

    fn put_among(&mut self, new: Member, mode: AttachMode, place: Place) -> Result<Option<Member>, AttachError> {
        let (index, replace) = match place {
            Place::First => (0, false),
            Place::Last => (self.members.len(), false),
            Place::Before(beside) => (self.find(beside)?, false),
            Place::After(beside) => (self.find(beside)? + 1, false),
            Place::Replace(beside) => (self.find(beside)?, true),
        };
        if self.members.iter().any(|member| member.program == new.program) {
            return Err(AttachError::Twice { mode });
        }
        if !replace && self.members.len() >= MAX_PROGRAMS {
            return Err(AttachError::Full { mode });
        }
        Ok(self.put(new, index, replace))
    }

    fn put(&mut self, new: Member, index: usize, replace: bool) -> Option<Member> {
        self.revision += 1;
        if replace {
            return Some(std::mem::replace(&mut self.members[index], new));
        }
        self.members.insert(index, new);
        None
    }

    fn find(&self, beside: Beside) -> Result<usize, AttachError> {
        let is_it = |member: &Member| match beside {
            Beside::Program(id) => member.program == id,
            Beside::Link(id) => member.link == id,
        };
        self.members
            .iter()
            .position(is_it)
            .ok_or(AttachError::NotThere { beside })
    }

    /// Takes a link's program out, if it is there.
    pub(crate) fn remove(&mut self, link: u32) {
        let before = self.members.len();
        self.members.retain(|member| member.link != link);
        self.revision += u64::from(self.members.len() != before);
    }

    /// Refuses to give a link's place to a program that has another.
    pub(crate) fn check_exchange(&self, link: u32, program: u32) -> Result<(), AttachError> {
        let is_other = |member: &Member| member.program == program && member.link != link;
        if self.members.iter().any(is_other) {
            return Err(AttachError::Twice { mode: self.mode });
        }
        Ok(())
    }

    /// Gives a link's place to another program.
    pub(crate) fn exchange(&mut self, link: u32, program: u32) {
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|member| member.link == link && member.program != program) {
            member.program = program;
            self.revision += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u32) -> Member {
        Member {
            link: 100 + id,
            program: id,
        }
    }

    fn chain(ids: &[u32]) -> Chain {
        let mut chain = Chain::default();
        for &id in ids {
            chain.insert(member(id), AttachMode::Chain, Place::Last, None).unwrap();
        }
        chain
    }

    fn ids(chain: &Chain) -> Vec<u32> {
        chain.members().iter().map(|member| member.program).collect()
    }

    fn errno(result: Result<Option<Member>, AttachError>) -> i32 {
        result.expect_err("is refused").errno()
    }

    #[test]
    fn places_in_a_chain() {
        let mut chain = chain(&[1, 2]);
        let mut insert = |id, place| chain.insert(member(id), AttachMode::Chain, place, None);
        assert!(insert(3, Place::First).is_ok());
        assert!(insert(4, Place::Before(Beside::Program(2))).is_ok());
        assert!(insert(5, Place::After(Beside::Link(101))).is_ok());
        assert_eq!(insert(6, Place::Replace(Beside::Program(2))).unwrap(), Some(member(2)));
        assert_eq!(errno(insert(7, Place::After(Beside::Program(2)))), libc::ENOENT);
        assert_eq!(errno(insert(6, Place::Last)), libc::EEXIST);
        assert_eq!(ids(&chain), [3, 1, 5, 4, 6]);
    }

    #[test]
    fn chains_are_bounded() {
        let mut chain = chain(&(1..=64).collect::<Vec<_>>());
        assert_eq!(
            errno(chain.insert(member(65), AttachMode::Chain, Place::Last, None)),
            libc::ERANGE
        );
        let replace = Place::Replace(Beside::Program(3));
        assert!(chain.insert(member(65), AttachMode::Chain, replace, None).is_ok());
    }

    #[test]
    fn revisions_change_with_what_is_attached() {
        let mut chain = chain(&[1]);
        assert_eq!(chain.revision(), 2);
        let mut insert = |id, revision| chain.insert(member(id), AttachMode::Chain, Place::Last, Some(revision));
        assert_eq!(errno(insert(2, 1)), libc::ESTALE);
        assert!(insert(2, 2).is_ok());
        chain.remove(101);
        chain.remove(101);
        assert_eq!((chain.revision(), ids(&chain)), (4, vec![2]));
        assert_eq!(chain.check_exchange(100, 2).unwrap_err().errno(), libc::EEXIST);
        assert!(chain.check_exchange(102, 2).is_ok());
        chain.exchange(102, 9);
        assert_eq!((chain.revision(), ids(&chain)), (5, vec![9]));
    }

    #[test]
    fn modes_do_not_mix() {
        let mut chain = chain(&[1]);
        assert_eq!(
            errno(chain.insert(member(2), AttachMode::Multi, Place::Last, None)),
            libc::EPERM
        );
        chain.remove(101);
        for mode in [AttachMode::Single, AttachMode::Override] {
            let mut chain = Chain::default();
            assert_eq!(chain.insert(member(1), mode, Place::Last, None).unwrap(), None);
            assert_eq!(
                chain.insert(member(2), mode, Place::Last, None).unwrap(),
                Some(member(1))
            );
            assert_eq!(errno(chain.insert(member(3), mode, Place::First, None)), libc::EINVAL);
            assert_eq!(
                errno(chain.insert(member(3), AttachMode::Chain, Place::Last, None)),
                libc::EPERM
            );
        }
        assert!(
            chain
                .insert(member(1), AttachMode::Exclusive, Place::Last, None)
                .is_ok()
        );
        for mode in [AttachMode::Exclusive, AttachMode::Chain] {
            assert_eq!(errno(chain.insert(member(2), mode, Place::Last, None)), libc::EBUSY);
        }
    }

    #[test]
    fn several_of_a_control_group() {
        let mut chain = Chain::default();
        let mut insert = |id, place| chain.insert(member(id), AttachMode::Multi, place, None);
        for id in 1..=64 {
            assert!(insert(id, Place::Last).is_ok());
        }
        assert_eq!(errno(insert(65, Place::Last)), libc::E2BIG);
        assert_eq!(errno(insert(64, Place::Last)), libc::EINVAL);
        assert_eq!(errno(insert(65, Place::Before(Beside::Program(1)))), libc::EINVAL);
        assert_eq!(insert(65, Place::Replace(Beside::Program(1))).unwrap(), Some(member(1)));
    }
}
