//! What is timed, and of what instructions are counted: one and the same loops.

/// Something that can be done any number of times.
pub struct Case {
    /// What it is called in tables.
    pub name: &'static str,
    run: Box<dyn Fn(u32) + Send + Sync>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Case {
    /// A case: `run` does it as often as it is told.
    pub fn new(name: &'static str, run: impl Fn(u32) + Send + Sync + 'static) -> Case {
        Case {
            name,
            run: Box::new(run),
        }
    }

    /// Does it so often.
    pub fn run(&self, times: u32) {
        (self.run)(times);
    }
}
