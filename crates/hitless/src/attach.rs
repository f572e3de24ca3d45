//! Attaching programs to hooks.

use std::sync::Arc;

use hitless_verifier::ProgramKind;

use crate::chain::{AttachMode, Member, Place};
use crate::context::Context;
use crate::hook::Hook;
use crate::link::{AttachError, Link};
use crate::program::Program;
use crate::program_type::hook_name;
use crate::runtime::{Attachment, Inner, Runtime};

/// How a program is attached to a hook.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AttachOptions {
    /// How the programs share the hook.
    pub mode: AttachMode,
    /// Where in their order it is put.
    pub place: Place,
    /// The revision that the hook is expected to have ([`HookPrograms::revision`]): if others have changed what is attached
    /// meanwhile, it is refused.
    pub expected_revision: Option<u64>,
    /// A number for the program to tell by which of its links it runs, of those types that Linux gives one to
    /// (`bpf_get_attach_cookie`). It stays with the link when another program takes its place.
    #[doc(alias = "bpf_cookie")]
    pub cookie: u64,
}

/// What is attached to a hook.
#[derive(Clone, Debug)]
pub struct HookPrograms {
    /// A number that every change of what is attached changes.
    pub revision: u64,
    /// The programs in their order, each with the id of its link.
    pub programs: Vec<(u32, Arc<Program>)>,
}

impl Runtime {
    /// Attaches a program to a hook, behind those already there.
    ///
    /// # Errors
    /// As [`attach_with`](Self::attach_with).
    pub fn attach<C: Context>(&self, hook: &Hook<C>, program: &Arc<Program>) -> Result<Link, AttachError> {
        self.attach_with(hook, program, &AttachOptions::default())
    }

    /// Attaches a program to a hook, in a certain place.
    ///
    /// # Errors
    /// [`AttachError::WrongType`] for programs that are not for such a hook; [`AttachError::OtherRuntime`];
    /// [`AttachError::Migrated`] if an upgrade has replaced a map that the program writes; [`AttachError::Sync`] from inside a
    /// run; those of the place and the mode, by variant.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    ///
    /// use hitless::{AttachOptions, Beside, Hook, Link, Place, Program, Runtime};
    ///
    /// # fn first(runtime: &Runtime, hook: &Hook, program: &Arc<Program>, other: &Link)
    /// #     -> Result<Link, hitless::AttachError> {
    /// let options = AttachOptions { place: Place::Before(Beside::Link(other.id())), ..AttachOptions::default() };
    /// let link = runtime.attach_with(hook, program, &options)?;
    /// # Ok(link)
    /// # }
    /// ```
    pub fn attach_with<C: Context>(
        &self,
        hook: &Hook<C>,
        program: &Arc<Program>,
        options: &AttachOptions,
    ) -> Result<Link, AttachError> {
        if hook.runtime() != self.id() {
            return Err(AttachError::OtherRuntime {
                program: program.name().to_owned(),
            });
        }
        self.inner().attach(hook.index(), program, options)
    }

    /// Attaches a program to the hook that its section names: `fentry/NAME` to the hook `NAME` of functions, `xdp` to the only
    /// hook for XDP programs. An extension, `freplace/FUNCTION`, takes the place of what it was loaded for; an iterator's program is
    /// attached as [`attach_iter`](Self::attach_iter) does it.
    /// The functions that Linux has for trying out programs (`bpf_fentry_test1` to `10`, `bpf_modify_return_test` and `test2`)
    /// have hooks of their own, run by [`test_run`](Self::test_run).
    ///
    /// # Errors
    /// [`AttachError::NoHook`] if there is no such hook, or if several are meant; as [`attach_with`](Self::attach_with).
    pub fn attach_by_section(&self, program: &Arc<Program>) -> Result<Link, AttachError> {
        if program.extends().is_some() {
            return self.attach_extension(program);
        }
        if program.program_type().kind() == ProgramKind::Iter {
            return self.attach_iter(program);
        }
        let mut control = self.inner().control();
        let (section, target) = hook_name(program.section());
        let tested = target.and_then(|name| control.test_hook(section, name));
        let hook = match tested {
            Some(hook) => hook,
            None => control.hook_of(program)?,
        };
        drop(control);
        self.inner().attach(hook, program, &AttachOptions::default())
    }

    /// What is attached to a hook.
    #[must_use]
    pub fn programs<C: Context>(&self, hook: &Hook<C>) -> HookPrograms {
        self.inner().programs_at(hook.index())
    }
}

impl Inner {
    pub(crate) fn programs_at(&self, hook: usize) -> HookPrograms {
        let control = self.control();
        let chain = &control.hooks[hook].chain;
        let members = chain.members().iter();
        HookPrograms {
            revision: chain.revision(),
            programs: members
                .filter_map(|member| Some((member.link, Arc::clone(control.program_of(member.link)?))))
                .collect(),
        }
    }

    pub(crate) fn attach(
        self: &Arc<Self>,
        hook: usize,
        program: &Arc<Program>,
        options: &AttachOptions,
    ) -> Result<Link, AttachError> {
        if program.runtime() != self.slots.runtime() {
            return Err(AttachError::OtherRuntime {
                program: program.name().to_owned(),
            });
        }
        self.check_waitable()?;
        let mut control = self.control();
        control.hooks[hook].check_takes(program)?;
        program.check_current()?;
        let link = control.next_id();
        let new = Member {
            link,
            program: program.id(),
        };
        let replaced = control.hooks[hook]
            .chain
            .insert(new, options.mode, options.place, options.expected_revision)?;
        if let Some(replaced) = replaced {
            control.links.remove(&replaced.link);
        }
        control.links.insert(
            link,
            Attachment::Hook {
                hook,
                program: Arc::clone(program),
                cookie: options.cookie,
            },
        );
        // If the grace period is overdue, the program is attached all the same.
        let _ = self.republish(control);
        Ok(Link::new(Arc::clone(self), link))
    }
}
