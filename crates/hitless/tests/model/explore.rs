//! How models are checked: each scenario under many interleavings, and with the rule that it needs taken out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hitless::model::{Fault, set_fault};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

/// What happens, and the rule without which it would go wrong.
pub type Scenario = (&'static str, fn(), Fault);

/// Finds nothing wrong in the scenarios, and something in each without its rule. The only test of its binary, since the fault
/// is put in for the whole process.
pub fn each_rule_is_needed(scenarios: &[Scenario]) {
    set_fault(Fault::None);
    for (_, scenario, _) in scenarios {
        explore(RandomScheduler::new(iterations()), *scenario);
        explore(PctScheduler::new(3, iterations()), *scenario);
    }
    for (name, scenario, fault) in scenarios {
        set_fault(*fault);
        let noticed = [
            catch_unwind(AssertUnwindSafe(|| {
                explore(RandomScheduler::new(20 * iterations()), *scenario)
            })),
            catch_unwind(AssertUnwindSafe(|| {
                explore(PctScheduler::new(3, 20 * iterations()), *scenario)
            })),
        ];
        set_fault(Fault::None);
        assert!(noticed.iter().any(Result::is_err), "{name}: {fault:?} was not noticed");
    }
}

fn explore(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.max_steps = shuttle::MaxSteps::FailAfter(10_000_000);
    shuttle::Runner::new(scheduler, config).run(scenario);
}

fn iterations() -> usize {
    std::env::var("MODEL_ITERATIONS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1000)
}
