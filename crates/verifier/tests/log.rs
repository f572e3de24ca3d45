//! The log beside that of the running kernel, and what tools read in it.

mod support;

use hitless_verifier::{Log, LogLevel, Subprog, verify_logged};
use support::Case;
use support::kernel::{self, probe};

const LDDW: &str = "(18)";

fn logged(case: &Case, level: LogLevel) -> String {
    let mut log = Log::new(level, 1 << 24);
    let verdict = verify_logged(&case.input(), &mut log);
    assert_eq!(verdict, case.verify(), "{}: the log changes nothing", case.name);
    log.text().to_owned()
}

/// An instruction in a log: its slot, its text, and what is said of the state behind it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    pc: usize,
    insn: String,
    state: String,
}

/// The interpreted instructions.
fn steps(log: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let is_insn = |rest: &str| rest.starts_with('(') && rest.as_bytes().get(3) == Some(&b')');
    // Behind lines about precision the state has a line of its own.
    let mut apart = false;
    for line in log.lines() {
        if line.starts_with("mark_precise") {
            apart = true;
            continue;
        }
        if line.is_empty() || line.ends_with(": safe") {
            apart = false;
            continue;
        }
        let Some((number, rest)) = line.split_once(": ") else {
            continue;
        };
        let Ok(pc) = number.parse() else { continue };
        if is_insn(rest) {
            let (insn, state) = rest.split_once(" ; ").unwrap_or((rest, ""));
            steps.push(Step {
                pc,
                insn: insn.trim_end().to_owned(),
                state: without_ids(state),
            });
        } else if let Some(last) = steps.last_mut().filter(|last| apart && last.state.is_empty()) {
            last.state = without_ids(rest);
        }
        apart = false;
    }
    steps
}

/// Which ids are given is a matter of the verifier alone.
fn without_ids(state: &str) -> String {
    let mut out = String::new();
    for (index, part) in state.split("id=").enumerate() {
        let number = |c: char| c.is_ascii_digit() || c == '+' || c == '-';
        let part = match index {
            0 => part,
            _ => part.trim_start_matches(number).trim_start_matches(','),
        };
        out += part;
    }
    out
}

/// What differs by design: the kernel marks pointers that lie behind the packet's end, and shows maps by their address.
fn explained(ours: &Step, theirs: &Step) -> bool {
    theirs.state.contains("r=0xffff") || (ours.insn.starts_with(LDDW) && ours.state == theirs.state)
}

#[test]
fn instructions_and_states_are_those_of_linux() {
    if let Err(reason) = probe() {
        println!("skipped: {reason}");
        return;
    }
    let (mut cases, mut compared, mut same) = (0, 0, 0);
    let mut differences = String::new();
    for case in &support::corpus() {
        let Some(theirs) = case.ask_linux(kernel::LogLevel::Everything) else {
            continue;
        };
        if case.verify().is_ok() != theirs.error.is_none() {
            continue;
        }
        let (ours, theirs) = (steps(&logged(case, LogLevel::ALL)), steps(&theirs.log));
        // Where one follows a path that the other need not, there is nothing to compare.
        if !ours.iter().map(|step| step.pc).eq(theirs.iter().map(|step| step.pc)) {
            continue;
        }
        cases += 1;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            compared += 1;
            if ours == theirs || explained(ours, theirs) {
                same += 1;
            } else {
                differences += &format!("{}:\n  {ours:?}\n  {theirs:?}\n", case.name);
            }
        }
    }
    println!("{cases} cases, {compared} instructions, {same} alike\n{differences}");
    assert!(cases > 200, "only {cases} cases can be compared");
    assert!(
        same * 100 >= compared * 95,
        "{same} of {compared} alike:\n{differences}"
    );
}

#[test]
fn costs_are_said_as_linux_does() {
    if let Err(reason) = probe() {
        println!("skipped: {reason}");
        return;
    }
    // Each word with numbers blanked, and the numbers.
    let shape = |line: &str| -> (String, Vec<u64>) {
        let numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
        let words = line.chars().filter(|c| !c.is_ascii_digit());
        (words.collect(), numbers.collect())
    };
    for case in support::corpus().iter().filter(|case| case.errors.is_empty()) {
        let Some(theirs) = case.ask_linux(kernel::LogLevel::Cost) else {
            continue;
        };
        if theirs.error.is_some() {
            continue;
        }
        let ours = logged(case, LogLevel::STATS);
        let (ours, theirs): (Vec<_>, Vec<_>) = (
            ours.lines().map(shape).collect(),
            theirs.log.lines().map(shape).collect(),
        );
        let words = |lines: &[(String, Vec<u64>)]| lines.iter().map(|line| line.0.clone()).collect::<Vec<_>>();
        assert_eq!(words(&ours), words(&theirs), "{}", case.name);
        if ours[2].1[0] == theirs[2].1[0] {
            assert_eq!(ours[2].1[..2], theirs[2].1[..2], "{}", case.name);
        }
    }
}

/// The first case of this text.
fn parse(text: &str) -> Case {
    support::parse(text).pop().expect("one case")
}

#[test]
fn a_refusal_shows_its_path_only() {
    let case = parse(
        "case: refused\n\
         r2 = *(u32 *)(r1 +4)\n\
         r3 = *(u32 *)(r1 +0)\n\
         r0 = 0\n\
         r4 = r3\n\
         r4 += 1\n\
         if r4 > r2 goto bad\n\
         r0 = *(u8 *)(r3 +0)\n\
         r0 = 1\n\
         exit\n\
         bad: r0 = *(u8 *)(r3 +0)\n\
         exit\n",
    );
    let log = logged(&case, LogLevel::PATH);
    let pcs: Vec<usize> = steps(&log).iter().map(|step| step.pc).collect();
    assert_eq!(pcs, [0, 1, 2, 3, 4, 5, 9]);
    assert!(log.starts_with("0: R1=ctx() R10=fp0\n0: (61) r2 = *(u32 *)(r1 +4)          ; R1=ctx() R2=pkt_end()\n"));
    assert!(
        log.contains("\nfrom 5 to 9: R0=0 R1=ctx() R2=pkt_end() R3=pkt(r=0) R4=pkt(off=1,r=0) R10=fp0\n"),
        "{log}"
    );
    let message = "invalid access to packet, off=0 size=1, R3(id=0,off=0,r=0)\nprocessed 10 insns (limit 1000000) ";
    assert!(log.contains(message), "{log}");

    let rejection = case.verify().unwrap_err();
    let path: Vec<(usize, bool)> = rejection
        .trail
        .decisions
        .iter()
        .map(|branch| (branch.pc, branch.taken))
        .collect();
    assert_eq!(path, [(5, true)]);
    assert_eq!(rejection.trail.known, ["R0=0", "R3=pkt(r=0)"]);
    assert!(rejection.errors[0].hint().is_some_and(|hint| hint.contains("data_end")));
    let explanation = rejection.explanation();
    assert!(
        explanation.contains("\n    insn 5: if r4 > r2 goto pc+3: taken"),
        "{explanation}"
    );
}

#[test]
fn an_accepted_program_shows_its_cost_only() {
    let case = parse("case: accepted\nr0 = 1\nexit\n");
    let log = logged(&case, LogLevel::PATH);
    assert_eq!(
        log,
        "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    );
    assert_eq!(logged(&case, LogLevel::default()), "");
}

#[test]
fn a_long_path_is_told_by_its_end() {
    let case = parse("case: loop\nr1 = 0\nagain: r1 += 1\nif r1 < 200 goto again\nr0 = *(u8 *)(r1 +0)\nexit\n");
    let trail = case.verify().unwrap_err().trail;
    assert_eq!((trail.decisions.len(), trail.omitted), (64, 136));
    assert!(!trail.decisions[63].taken && trail.decisions[62].taken);
}

/// What tools that compare verifications read: one line for each figure, by its words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    /// `processed N insns (limit N) max_states_per_insn N total_states N peak_states N mark_read N`
    processed: Option<[u64; 6]>,
    /// `verification time N usec`
    time: Option<u64>,
    /// `stack depth N+N...`
    stack: Vec<u64>,
}

/// The numbers in a line that has these words between them and no others, as `sscanf` finds them.
fn scan<const N: usize>(line: &str, words: [&str; N]) -> Option<Vec<u64>> {
    let mut rest = line;
    let mut numbers = Vec::new();
    for (index, word) in words.iter().enumerate() {
        rest = rest.strip_prefix(word)?;
        if index + 1 < N || word.ends_with(' ') {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            numbers.push(rest[..digits].parse().ok()?);
            rest = &rest[digits..];
        }
    }
    rest.is_empty().then_some(numbers)
}

fn figures(log: &str) -> Figures {
    let mut found = Figures::default();
    for line in log.lines() {
        let costs = [
            "processed ",
            " insns (limit ",
            ") max_states_per_insn ",
            " total_states ",
            " peak_states ",
            " mark_read ",
        ];
        if let Some(numbers) = scan(line, costs) {
            assert_eq!(found.processed, None, "said twice: {log}");
            found.processed = numbers.try_into().ok();
        } else if let Some(numbers) = scan(line, ["verification time ", " usec"]) {
            found.time = numbers.first().copied();
        } else if let Some(depths) = line.strip_prefix("stack depth ") {
            // None of a program that was not looked into.
            let depths = depths.split('+').filter(|depth| !depth.is_empty());
            found.stack = depths.map(|depth| depth.parse().expect("a depth")).collect();
        }
    }
    found
}

#[test]
fn tools_find_the_figures() {
    for case in support::corpus() {
        let (verified, stats) = match case.verify() {
            Ok(verified) => {
                let stats = verified.stats;
                (Some(verified), stats)
            }
            Err(rejection) => (None, rejection.stats),
        };
        // Long programs say nothing else.
        if stats.processed > 10_000 {
            continue;
        }
        let log = logged(&case, LogLevel::STATS);
        let found = figures(&log);
        let known = [
            stats.processed,
            stats.limit,
            stats.max_states_per_insn,
            stats.total_states,
            stats.peak_states,
        ];
        let processed = found.processed.unwrap_or_else(|| panic!("{}: {log}", case.name));
        assert_eq!(processed[..5], known.map(|n| n as u64), "{}: {log}", case.name);
        assert!(found.time.is_some(), "{}: {log}", case.name);
        let last = log.lines().last().unwrap_or_default();
        assert!(last.starts_with("processed "), "{}: {log}", case.name);
        if let Some(verified) = verified {
            let reached = |subprog: &&Subprog| verified.facts.is_reachable(subprog.start);
            let depths = verified
                .subprogs
                .iter()
                .filter(reached)
                .map(|subprog| subprog.stack_depth);
            assert_eq!(
                found.stack,
                depths.map(u64::from).collect::<Vec<_>>(),
                "{}: {log}",
                case.name
            );
        }
        // At the other levels the costs are said, too.
        let path = figures(&logged(&case, LogLevel::PATH));
        assert_eq!((path.processed, path.time), (found.processed, None), "{}", case.name);
    }
}
