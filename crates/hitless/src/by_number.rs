//! Hooks by name and links by id, for those who have nothing else: `bpf(2)`.

use std::sync::Arc;

use crate::attach::{AttachOptions, HookPrograms};
use crate::link::{AttachError, Link, LinkInfo};
use crate::program::Program;
use crate::run::SyncError;
use crate::runtime::Runtime;

/// What a hook is called.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HookName {
    /// What the sections of its programs begin with: "xdp".
    pub section: &'static str,
    /// Its own name.
    pub name: Arc<str>,
}

impl Runtime {
    /// The hooks that were asked for, in that order.
    #[must_use]
    pub fn hooks(&self) -> Vec<HookName> {
        let control = self.inner().control();
        let names = control.hooks.iter().map(|hook| HookName {
            section: hook.section,
            name: Arc::clone(&hook.name),
        });
        names.collect()
    }

    /// Attaches a program to the hook for such programs that has a name, or, if none is given, to the only one.
    ///
    /// # Errors
    /// [`AttachError::NoHook`] if there is no such hook, or several; as [`attach_with`](Self::attach_with).
    pub fn attach_by_name(
        &self,
        name: Option<&str>,
        program: &Arc<Program>,
        options: &AttachOptions,
    ) -> Result<Link, AttachError> {
        let hook = self.inner().control().hook_for(program, name)?;
        self.inner().attach(hook, program, options)
    }

    /// What is attached to the hook whose programs' sections begin so, and that has a name, or, if none is given, to the only one;
    /// `None` if there is no such hook, or several.
    #[must_use]
    pub fn programs_by_name(&self, section: &str, name: Option<&str>) -> Option<HookPrograms> {
        let fits = |hook: &HookName| hook.section == section && name.is_none_or(|name| *name == *hook.name);
        let mut found = (0..).zip(self.hooks()).filter(|(_, hook)| fits(hook));
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Some(self.inner().programs_at(index)),
            _ => None,
        }
    }

    /// What a link attaches to what; `None` if there is no such link.
    #[must_use]
    pub fn link_info(&self, id: u32) -> Option<LinkInfo> {
        self.inner().link_info(id)
    }

    /// As [`Link::update`], of the link with an id.
    ///
    /// # Errors
    /// As there; [`AttachError::Detached`] if there is no such link.
    pub fn update_link(
        &self,
        id: u32,
        program: &Arc<Program>,
        expected: Option<&Arc<Program>>,
    ) -> Result<(), AttachError> {
        self.inner().update_link(id, program, expected)
    }

    /// Detaches what a link attaches, though whoever has the link keeps it. Does nothing if there is no such link.
    ///
    /// # Errors
    /// As [`Link::detach`].
    pub fn detach_link(&self, id: u32) -> Result<(), SyncError> {
        self.inner().detach(id)
    }
}
