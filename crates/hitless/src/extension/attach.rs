//! Attaching extensions, and taking them away.

use std::sync::Arc;

use super::{ExtensionError, ReplacedFunction, function_for};
use crate::link::{AttachError, Link};
use crate::primitive::MutexGuard;
use crate::program::Program;
use crate::run::SyncError;
use crate::runtime::{Attachment, Control, Inner, Runtime};

impl Runtime {
    /// Puts an extension in the place of the function that it was loaded for ([`LoadOptions::attach_target`]): when this
    /// returns, every run that begins calls it instead. When the link goes, the function is itself again.
    ///
    /// [`LoadOptions::attach_target`]: crate::LoadOptions::attach_target
    ///
    /// # Errors
    /// [`AttachError::WrongType`] for programs that are no extensions; [`AttachError::Extension`] if the target is gone;
    /// [`AttachError::Extended`] if another extension is there; [`AttachError::Migrated`] if an upgrade has replaced a map that
    /// it writes; [`AttachError::Build`] if the target cannot be compiled with it; [`AttachError::Sync`] from inside a run.
    ///
    /// # Examples
    /// ```
    /// use hitless::{LoadOptions, Object, Packet, Runtime, Xdp, XdpAction};
    ///
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    /// let runtime = Runtime::default();
    /// let hook = runtime.hook::<Xdp>("xdp");
    /// let object = Object::open("bpf/extended.bpf.o")?.load(&runtime)?;
    /// let target = object.program("count").unwrap();
    /// let _attached = runtime.attach(&hook, target)?;
    /// assert_eq!(hook.run(&mut Packet::new(&mut [0; 64]))?, XdpAction::Pass);
    ///
    /// // SEC("freplace/verdict") int drop(struct xdp_md *ctx, u64 length)
    /// let options = LoadOptions::new().attach_target("drop", target, None);
    /// let extension = Object::open("bpf/extension.bpf.o")?.set_options(options).load(&runtime)?;
    /// let link = runtime.attach_extension(extension.program("drop").unwrap())?;
    /// assert_eq!(hook.run(&mut Packet::new(&mut [0; 64]))?, XdpAction::Drop);
    /// drop(link);
    /// assert_eq!(hook.run(&mut Packet::new(&mut [0; 64]))?, XdpAction::Pass);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "freplace")]
    #[doc(alias = "BPF_PROG_TYPE_EXT")]
    pub fn attach_extension(&self, extension: &Arc<Program>) -> Result<Link, AttachError> {
        let extends = extension.extends().ok_or_else(|| not_an_extension(extension))?;
        let (target, function) = extends.original()?;
        self.inner().attach_extension(extension, &target, function)
    }

    /// Puts an extension in the place of a function of a program that it was not loaded for, but which is of the same type: a
    /// second instance, or one with another function that has the same prototype.
    ///
    /// # Errors
    /// As [`attach_extension`](Self::attach_extension); [`AttachError::Extension`], too, if it cannot take the place of that
    /// function.
    #[doc(alias = "bpf_program__attach_freplace")]
    pub fn attach_extension_to(
        &self,
        extension: &Arc<Program>,
        target: &Arc<Program>,
        function: &str,
    ) -> Result<Link, AttachError> {
        self.inner().attach_extension(extension, target, function)
    }
}

fn not_an_extension(program: &Program) -> AttachError {
    AttachError::WrongType {
        program: program.name().to_owned(),
        found: program.program_type().to_string(),
        expected: "freplace".to_owned(),
    }
}

impl Inner {
    fn attach_extension(
        self: &Arc<Self>,
        extension: &Arc<Program>,
        target: &Arc<Program>,
        function: &str,
    ) -> Result<Link, AttachError> {
        if extension.extends().is_none() {
            return Err(not_an_extension(extension));
        }
        if [extension, target]
            .iter()
            .any(|program| program.runtime() != self.slots.runtime())
        {
            return Err(AttachError::OtherRuntime {
                program: extension.name().to_owned(),
            });
        }
        self.check_waitable()?;
        let mut control = self.control();
        let function = function_for(extension, target, function)?;
        extension.check_current()?;
        let mut replaced = target.replaced();
        if replaced.iter().any(|other| other.subprog() == function.subprog()) {
            return Err(AttachError::Extended {
                program: target.name().to_owned(),
                function: function.name().to_owned(),
            });
        }
        replaced.push(Arc::clone(&function));
        let before = target.replace(replaced)?;
        let link = control.next_id();
        let attachment = Attachment::Extension {
            target: Arc::clone(target),
            function,
            program: Arc::clone(extension),
        };
        control.links.insert(link, attachment);
        drop(control);
        // If the grace period is overdue, the extension is attached all the same.
        let _ = self.free_later(before);
        Ok(Link::new(Arc::clone(self), link))
    }

    /// Takes an extension away whose link has been taken out.
    pub(crate) fn detach_extension(
        &self,
        mut control: MutexGuard<'_, Control>,
        link: u32,
        attachment: Attachment,
    ) -> Result<(), SyncError> {
        let Attachment::Extension { target, function, .. } = &attachment else {
            return Ok(());
        };
        let mut replaced = target.replaced();
        replaced.retain(|other| !Arc::ptr_eq(other, function));
        let Ok(before) = target.replace(replaced) else {
            control.links.insert(link, attachment);
            return Err(SyncError::NoMemory);
        };
        drop(control);
        self.free_later((before, attachment))
    }

    /// Has another extension take the place of one at its link.
    pub(crate) fn update_extension(
        &self,
        mut control: MutexGuard<'_, Control>,
        link: u32,
        program: &Arc<Program>,
    ) -> Result<(), AttachError> {
        let before = control.exchange_extension(link, program)?;
        drop(control);
        // If the grace period is overdue, the extension is attached all the same.
        let _ = self.free_later(before);
        Ok(())
    }
}

impl Control {
    /// Refuses what cannot take the place of the extension at a link.
    pub(crate) fn check_extension(&self, link: u32, program: &Arc<Program>) -> Result<(), ExtensionError> {
        match self.links.get(&link) {
            Some(Attachment::Extension { target, function, .. }) => {
                function_for(program, target, function.name()).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Gives a link another extension. Returns the one before, for a grace period.
    pub(crate) fn exchange_extension(
        &mut self,
        link: u32,
        program: &Arc<Program>,
    ) -> Result<Option<Arc<Program>>, ExtensionError> {
        self.check_extension(link, program)?;
        let Some(Attachment::Extension {
            function,
            program: attached,
            ..
        }) = self.links.get_mut(&link)
        else {
            return Ok(None);
        };
        function.set(program);
        Ok(Some(std::mem::replace(attached, Arc::clone(program))))
    }
}

impl std::fmt::Debug for ReplacedFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplacedFunction")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
