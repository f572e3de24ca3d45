//! Attaching tracers to maps, replacing and detaching them.
//!
//! Attaching has three phases. Which maps are armed, which programs are in their traced variant, and where each map leads, is
//! changed under the control lock; so a program that is loaded meanwhile takes its variant by what is there, and of two attachments
//! that only together would form a loop the later one is refused.

use std::sync::Arc;

use crate::link::{AttachError, Link};
use crate::map::Map;
use crate::primitive::MutexGuard;
use crate::program::Program;
use crate::program_type::ProgramType;
use crate::run::SyncError;
use crate::runtime::{Attachment, Control, Inner, Runtime};

use super::{Action, MAX_TRACERS, TraceEvent, TraceState, Tracer, is_traceable};

impl Runtime {
    /// Attaches a map tracing program to a map: it runs after each change of the program's kind, before the program (or the
    /// host's call) that made the change goes on. Complete when it returns: no later change is missed.
    ///
    /// # Errors
    /// [`AttachError`], by variant.
    pub fn trace_map(&self, map: &Arc<Map>, program: &Arc<Program>) -> Result<Link, AttachError> {
        if map.runtime() != self.id() || program.runtime() != self.id() {
            return Err(AttachError::OtherRuntime {
                program: program.name().to_owned(),
            });
        }
        let event = check_tracer(map, program)?;
        let action = Action::Program(event, Arc::clone(program));
        let id = self
            .inner()
            .attach_tracer(map, action, &program.written_maps(), Some(program))?;
        Ok(Link::new(Arc::clone(self.inner()), id))
    }
}

/// Whether a program can trace a map: what it waits for.
fn check_tracer(map: &Map, program: &Program) -> Result<TraceEvent, AttachError> {
    let ProgramType::MapTrace(event) = *program.program_type() else {
        return Err(AttachError::WrongType {
            program: program.name().to_owned(),
            found: program.program_type().to_string(),
            expected: "map_trace".to_owned(),
        });
    };
    for (field, size) in [("key", map.def().key_size), ("value", map.def().value_size)] {
        let extent = program.extent(field);
        if extent > size {
            return Err(AttachError::OutOfBounds {
                program: program.name().to_owned(),
                map: map.name().to_owned(),
                field,
                extent,
                size,
            });
        }
    }
    Ok(event)
}

impl Inner {
    /// The three phases of attaching a tracer.
    pub(crate) fn attach_tracer(
        &self,
        map: &Arc<Map>,
        action: Action,
        written: &[u32],
        program: Option<&Arc<Program>>,
    ) -> Result<u32, AttachError> {
        self.check_waitable()?;
        if !is_traceable(map.def().kind) {
            return Err(AttachError::Untraceable {
                map: map.name().to_owned(),
                kind: crate::map::kind_name(map.def().kind),
            });
        }
        let trace = map.trace_or_init();
        let mut control = self.control();
        if let Some(program) = program {
            program.check_current()?;
            control.check_tracers(map, program)?;
        }
        control.check_loop(map, written)?;
        let id = control.next_id();
        control.graph.add(id, map.id(), written);
        trace.arm();
        if let Err(error) = control.choose_variants() {
            control.disarm(trace);
            control.graph.remove(id);
            return Err(error.into());
        }
        control.links.insert(
            id,
            Attachment::Trace {
                map: Arc::clone(map),
                program: program.cloned(),
            },
        );
        // Every run that begins after this knows that the map is traced, and takes the key's stripe for each change.
        if let Err(error) = self.republish(control) {
            let mut control = self.control();
            control.links.remove(&id);
            control.disarm(trace);
            control.graph.remove(id);
            // What cannot be freed now never is; the map is still among those that runs latch, which does no harm.
            let _ = self.slots.publish(control.snapshot());
            return Err(error.into());
        }
        let control = self.control();
        let mut tracers = trace.tracers().to_vec();
        tracers.push(Tracer { link: id, action });
        let before = trace.publish(tracers);
        drop(control);
        // The tracer is attached either way.
        let _ = self.free_later(before);
        Ok(id)
    }

    /// Puts another program in the place of the one that a link attaches to a map: no change is traced by neither, or by both.
    pub(crate) fn update_tracer(
        &self,
        mut control: MutexGuard<'_, Control>,
        id: u32,
        map: &Arc<Map>,
        program: &Arc<Program>,
    ) -> Result<(), AttachError> {
        let event = check_tracer(map, program)?;
        let written = program.written_maps();
        control.check_loop(map, &written)?;
        // The old program's edges count until it runs no more.
        control.graph.add(id, map.id(), &written);
        control.links.insert(
            id,
            Attachment::Trace {
                map: Arc::clone(map),
                program: Some(Arc::clone(program)),
            },
        );
        let trace = map.trace_or_init();
        let mut tracers = trace.tracers().to_vec();
        for tracer in tracers.iter_mut().filter(|tracer| tracer.link == id) {
            tracer.action = Action::Program(event, Arc::clone(program));
        }
        let before = trace.publish(tracers);
        drop(control);
        if self.free_later(before).is_ok() {
            let mut control = self.control();
            let now = control.links.get(&id).and_then(Attachment::program);
            if now.is_some_and(|now| now.id() == program.id()) {
                control.graph.remove(id);
                control.graph.add(id, map.id(), &written);
            }
        }
        Ok(())
    }

    /// Takes a link's tracer off a map, when the link is gone already.
    pub(crate) fn detach_tracer(
        &self,
        control: MutexGuard<'_, Control>,
        id: u32,
        map: &Arc<Map>,
    ) -> Result<(), SyncError> {
        let trace = map.trace_or_init();
        let tracers = trace.tracers().iter();
        let left = tracers.filter(|tracer| tracer.link != id).cloned().collect();
        let before = trace.publish(left);
        control.disarm(trace);
        let snapshot = self.slots.publish(control.snapshot());
        drop(control);
        self.free_later((before, snapshot))?;
        // Runs that still knew the tracer have ended only now: until here its edges counted.
        self.control().graph.remove(id);
        Ok(())
    }
}

impl Control {
    /// Whether the map may have another tracer for the event of this one. Attachments in progress count, too.
    fn check_tracers(&self, map: &Map, program: &Program) -> Result<(), AttachError> {
        let is_one = |attachment: &&Attachment| match attachment {
            Attachment::Trace {
                map: traced,
                program: Some(tracer),
            } => traced.id() == map.id() && tracer.program_type() == program.program_type(),
            _ => false,
        };
        if self.links.values().filter(is_one).count() < MAX_TRACERS {
            return Ok(());
        }
        Err(AttachError::TooMany {
            map: map.name().to_owned(),
            limit: MAX_TRACERS,
        })
    }

    fn check_loop(&self, map: &Map, written: &[u32]) -> Result<(), AttachError> {
        if !self.graph.closes_loop(map.id(), written) {
            return Ok(());
        }
        Err(AttachError::Loop {
            map: map.name().to_owned(),
        })
    }

    /// Counts an attachment out; programs that write no traced map any more go back to their plain variant.
    fn disarm(&self, trace: &TraceState) {
        if trace.disarm() {
            // The plain variant was compiled at load: there is nothing that could fail.
            let switched = self.choose_variants();
            debug_assert!(switched.is_ok());
        }
    }

    /// The maps that are traced, or are about to be: what runs look for what they have written in.
    pub(crate) fn traced_maps(&self) -> Vec<Arc<Map>> {
        let mut traced: Vec<Arc<Map>> = Vec::new();
        for attachment in self.links.values() {
            if let Attachment::Trace { map, .. } = attachment
                && traced.iter().all(|known| known.id() != map.id())
            {
                traced.push(Arc::clone(map));
            }
        }
        traced
    }
}
