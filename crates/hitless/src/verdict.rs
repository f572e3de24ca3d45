//! What the verifier says of an object's programs.

use hitless_object::ObjectSpec;
use hitless_verifier::{Log, LogLevel, MapFacts, Stats, Verified};

use crate::load::{LoadError, verify_program};
use crate::load_options::LoadOptions;
use crate::runtime::Runtime;

/// The most of a log that is kept: as much as libbpf gives the kernel at the most.
const LOG_LIMIT: usize = 16 << 20;

/// What came of verifying a program.
#[derive(Debug)]
pub struct Verdict {
    /// The program's name.
    pub program: String,
    /// Its section.
    pub section: String,
    /// What was proved, or why the program is refused.
    pub result: Result<Verified, LoadError>,
    /// The verifier log, in the kernel's format.
    pub log: String,
}

impl Verdict {
    /// What the verification cost, if there was one.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        match &self.result {
            Ok(verified) => Some(verified.stats),
            Err(LoadError::Rejected { source, .. }) => Some(source.stats),
            Err(_) => None,
        }
    }
}

impl Runtime {
    /// Verifies programs as [`Runtime::load_with`] would, each whether or not another is refused, and keeps nothing:
    /// the one with this name, or all that would be loaded.
    ///
    /// # Errors
    /// [`LoadError`] if the object's maps cannot be made, or the object needs something that there is not.
    pub fn verify(
        &self,
        spec: &ObjectSpec,
        options: &LoadOptions,
        level: LogLevel,
        name: Option<&str>,
    ) -> Result<Vec<Verdict>, LoadError> {
        let mut chosen = spec.clone();
        if let Some(name) = name {
            for program in &mut chosen.programs {
                program.autoload = program.name == name;
            }
        }
        let spec = &*options.relocate(&chosen)?;
        let facts: Vec<MapFacts> = self.make_maps(spec, options)?.iter().map(|map| map.facts()).collect();
        let programs = spec.programs.iter().filter(|program| program.autoload);
        let verdict = |program: &hitless_object::ProgramSpec| {
            let mut log = Log::new(level, LOG_LIMIT);
            let result = verify_program(spec, program, &facts, Some(&mut log)).map(|(_, verified)| verified);
            Verdict {
                program: program.name.clone(),
                section: program.section.clone(),
                result,
                log: log.text().to_owned(),
            }
        };
        Ok(programs.map(verdict).collect())
    }
}
