//! Iterator programs (`iter/bpf_map_elem`, `iter/bpf_map`, `iter/bpf_prog`, `iter/bpf_link`): run once for each element of a map, or each
//! map, program or link of the runtime, and once more at the end; what they print is read as from a file.
//!
//! A link ([`Runtime::attach_iter`](crate::Runtime::attach_iter)) says what is walked, and each [`Iter`] of it is a walk of its own
//! (`reader.rs`), with the program that the link had when it was made. A program prints into a buffer (`seq.rs`); what does not fit is
//! taken back, and the element is shown to it again.
//!
//! **Elements of maps.** A walk goes by positions, which keys keep, so a key that is there throughout is met exactly once,
//! unless the program asks to be shown it again. Each element has a run of its own: a long walk holds up nobody.
//!
//! **Traced maps.** While the map is traced, the program runs under the stripe of the element's key. So what it copies of the
//! element neither overwrites what a tracer has copied since, nor brings back what one has deleted: a migration by tracers and an
//! iterator loses nothing. Who holds a stripe waits for none of the same map (`trace/stripe.rs`), and what the program updates
//! may have stripes, too. So a reader counts as an edge of the graph of tracers (`trace/graph.rs`), from the map to those that
//! the program updates, as long as it is there; and if that would close a loop, which includes that the program updates the very map
//! that it walks, it runs without the stripe. What a program writes into the values that it is shown is traced as any write through a
//! pointer: after the run, when no stripe is held.

mod attach;
mod objects;
mod reader;
mod seq;
mod walk;

pub use attach::IterError;
pub(crate) use objects::describe;
pub(crate) use reader::Frame;
pub use reader::Iter;
pub(crate) use seq::Seq;

use hitless_verifier::ProgramKind;

use crate::program::Program;

/// What is walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    MapElem,
    Map,
    Prog,
    Link,
}

impl Target {
    pub(crate) const ALL: [Target; 4] = [Target::MapElem, Target::Map, Target::Prog, Target::Link];

    /// Its name, as sections have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Target::MapElem => "bpf_map_elem",
            Target::Map => "bpf_map",
            Target::Prog => "bpf_prog",
            Target::Link => "bpf_link",
        }
    }

    /// The name of the context's member for the object.
    const fn argument(self) -> &'static str {
        match self {
            Target::MapElem | Target::Map => "map",
            Target::Prog => "prog",
            Target::Link => "link",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }

    /// What a program walks, if it is an iterator's.
    fn of(program: &Program) -> Option<Target> {
        let ty = program.program_type();
        let name = ty.target().filter(|_| ty.kind() == ProgramKind::Iter)?;
        Target::by_name(name)
    }
}
