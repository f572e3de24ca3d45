//! Does each case a fixed number of times, for valgrind to count instructions.
//!
//! Prints the cases' names in their order and [`CALLS`]; what is to be counted is what [`counted`] does
//! (`tests/instructions.rs` says so to valgrind).

use hitless_benches::{Case, hook, maps};

/// How often each case is done while instructions are counted.
const CALLS: u32 = 4096;

/// How often before: whatever is done once is done then.
const WARM_UP: u32 = 256;

fn main() {
    println!("{CALLS}");
    for case in hook::cases().into_iter().chain(maps::cases()) {
        case.run(WARM_UP);
        counted(&case);
        println!("{}", case.name);
    }
}

/// Found by its name.
#[inline(never)]
fn counted(case: &Case) {
    case.run(CALLS);
}
