//! The kernel's verdict beside ours: on the programs in `tests/cases`, and on generated ones.
//!
//! Accepted here and refused there is a finding: it has to be explained, or it is an unsound verifier. Refused here and
//! accepted there is a false refusal. Without `bpf(2)` the tests say that they skip.

mod support;

use std::collections::BTreeMap;

use hitless_verifier::Rejection;
use support::Case;
use support::kernel::{LogLevel, probe};
use support::random::Random;

const PRECISER: &str = "bounds are kept better here";
const NOT_HERE: &str = "not supported here";
const ENDLESS: &str = "it never ends, which Linux overlooks at inner loops that it counts";
const NOT_COUNTED: &str = "Linux overlooks that the helper calls the function";
const SLICE_ENDED: &str = "what a slice is of, or lies in, may be gone, which Linux overlooks";

/// Cases in which the verdicts differ, and why.
const EXPLAINED: &[(&str, &str)] = &[
    ("a remainder bounds an index", PRECISER),
    ("the bound of a sum reaches the copy", PRECISER),
    ("a smaller check after a greater one is decided", PRECISER),
    ("a map is no memory", NOT_HERE),
    ("kernel objects", NOT_HERE),
    ("a subprogram looks at the packet", "with BTF it may there"),
    ("round for ever about a loop", ENDLESS),
    ("round for ever about an iterator", ENDLESS),
    ("a kfunc that throws", "exceptions are out"),
    ("a loop whose callback makes another round", ENDLESS),
    ("too much stack of a callback of a subprogram", NOT_COUNTED),
    ("a timer's function that is called at once, too", NOT_COUNTED),
    ("a slice after its dynptr", SLICE_ENDED),
    ("a pointer kept where a slice may lie", SLICE_ENDED),
    ("a slice that may lie in a frame that is left", SLICE_ENDED),
];

/// What is refused here by name, for a reason of our own.
const OWN_REASONS: &[&str] = &[
    "not available in user space",
    "are not supported",
    "which the host does not have",
];

/// What Linux says of generated programs whose bounds it does not know well enough.
const LESS_PRECISE: &[&str] = &[
    "R max value is outside of the allowed memory range",
    "R offset is outside of the packet",
    "R unbounded memory access",
    "R min value is",
    "R invalid variable-offset",
    "invalid access to packet",
    "invalid access to map value",
    "math between map_value pointer and",
    "map_value pointer offset",
    "math between pkt pointer and",
    // A size or an index that is a constant for better bounds.
    "R type=scalar expected=fp",
    "R invalid mem access 'map_value_or_null'",
    "value",
    "infinite loop detected",
    "BPF program is too large",
    "The sequence of",
];

/// What either says of loops in which an unsettled number matters: with bounds as good as the other's it might settle.
const UNSETTLED: &[&str] = &["BPF program is too large", "The sequence of"];

#[test]
fn cases() {
    if let Err(reason) = probe() {
        println!("skipped: {reason}");
        return;
    }
    let mut failures = Vec::new();
    let (mut compared, mut same_words) = (0, 0);
    for case in &support::corpus() {
        let Some(theirs) = case.ask_linux(LogLevel::Failure) else {
            continue;
        };
        let explained = EXPLAINED.iter().any(|(name, _)| *name == case.name);
        let ours = case.verify();
        let own_reason = |error: &Rejection| OWN_REASONS.iter().any(|text| error.errors[0].message.contains(text));
        compared += 1;
        let (agree, words) = match (&ours, &theirs.error) {
            (Ok(_), None) => (true, true),
            (Err(error), Some(_)) => (true, theirs.log.contains(&error.errors[0].message)),
            (Err(error), None) if own_reason(error) => continue,
            _ => (false, false),
        };
        same_words += usize::from(words);
        if agree == explained {
            let ours = ours.map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
            failures.push(format!(
                "{}: here {ours}; Linux: {:?} {}",
                case.name,
                theirs.error,
                theirs.message()
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{compared} cases compared:\n{}",
        failures.join("\n")
    );
    // Where several things are wrong the two may name another, and what is not supported here has its own words.
    assert!(
        same_words * 100 >= compared * 80,
        "{same_words} of {compared} verdicts in the words of Linux"
    );
}

/// What the generated programs came to.
#[derive(Debug, Default)]
struct Tally {
    both_accept: usize,
    both_refuse: usize,
    /// Refused here only, by the kind of message.
    only_linux: BTreeMap<String, usize>,
    /// Accepted here only, by the kernel's kind of message.
    only_here: BTreeMap<String, usize>,
}

/// A message without its numbers.
fn kind(message: &str) -> String {
    let letters = message.chars().filter(|c| !c.is_ascii_digit());
    letters.take(60).collect()
}

fn compare_generated(seed: u64, rounds: usize) -> Tally {
    let mut random = Random::new(seed);
    let setting = &support::parse(support::generate::SETTING)[0];
    let mut tally = Tally::default();
    let show = std::env::var("SHOW").unwrap_or_default();
    for round in 0..rounds {
        let case = Case {
            insns: support::generate::program(&mut random),
            name: format!("generated ({seed}, {round})"),
            ..setting.surroundings()
        };
        let ask = |level| case.ask_linux(level).expect("an XDP program");
        let (ours, mut theirs) = (case.verify(), ask(LogLevel::Cost));
        if ours.is_ok() != theirs.error.is_none() {
            theirs = ask(LogLevel::Failure);
        }
        let differ = match (&ours, &theirs.error) {
            (Ok(_), None) => {
                tally.both_accept += 1;
                false
            }
            (Err(_), Some(_)) => {
                tally.both_refuse += 1;
                false
            }
            (Err(error), None) => {
                *tally.only_linux.entry(kind(&error.errors[0].message)).or_default() += 1;
                show == "linux"
            }
            (Ok(_), Some(_)) => {
                *tally.only_here.entry(kind(theirs.message())).or_default() += 1;
                show == "here"
            }
        };
        if differ {
            println!(
                "{}",
                hitless_isa::disasm::listing(&case.insns, &hitless_isa::disasm::no_names)
            );
            println!(
                "{}: {:?}\n{}",
                case.name,
                ours.err().map(|error| error.to_string()),
                theirs.log
            );
        }
    }
    tally
}

/// A few false refusals in a hundred thousand are borne: the bounds of the two verifiers are not the same.
#[test]
fn generated_programs() {
    if let Err(reason) = probe() {
        println!("skipped: {reason}");
        return;
    }
    let given = std::env::var("FUZZ_PROGRAMS").ok().and_then(|text| text.parse().ok());
    let programs = given.unwrap_or(1_000);
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let tally = compare_generated(seed.unwrap_or(11), programs);
    println!("{tally:#?}");
    let unsettled = |message: &str| UNSETTLED.iter().any(|start| message.starts_with(start));
    let (unsettled, refused): (Vec<_>, Vec<_>) = tally.only_linux.iter().partition(|(message, _)| unsettled(message));
    let sum = |counts: Vec<(&String, &usize)>| counts.into_iter().map(|(_, count)| count).sum::<usize>();
    let (unsettled, refused) = (sum(unsettled), sum(refused));
    assert!(unsettled * 200 <= programs, "loops that do not settle: {unsettled}");
    assert!(refused * 10_000 <= programs, "false refusals: {:?}", tally.only_linux);
    let explained = |message: &str| LESS_PRECISE.iter().any(|start| message.starts_with(start));
    let unexplained: Vec<_> = tally.only_here.keys().filter(|message| !explained(message)).collect();
    assert!(unexplained.is_empty(), "accepted here only: {unexplained:?}");
    assert!(tally.both_accept > 0 && tally.both_refuse > 0);
}

/// Objects of different types that typed tracepoints are given: the tracepoint, offset of the argument, type.
fn traced_objects(types: &hitless_btf::Btf) -> Vec<(String, u32, hitless_btf::TypeId)> {
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for (_, ty) in types.types() {
        let Some(event) = ty.name().strip_prefix("btf_trace_") else {
            continue;
        };
        let kind = hitless_verifier::ProgramKind::TpBtf;
        let Ok(context) = hitless_verifier::tables::program_types::context_for(kind, Some(event), Some(types)) else {
            continue;
        };
        for field in &context.fields {
            if let hitless_verifier::ContextFieldKind::Object(object) = field.kind
                && let hitless_verifier::ObjectType::Btf(id) = object.ty
                && !object.nullable
                && seen.insert(id)
            {
                found.push((event.to_owned(), field.off, id));
            }
        }
    }
    found
}

/// Loads at any offset of objects of any type: the same verdict in the same words.
#[test]
fn loads_from_objects() {
    if let Err(reason) = probe() {
        println!("skipped: {reason}");
        return;
    }
    let Some(types) = support::types::kernel() else {
        println!("skipped: the kernel does not say what its types are");
        return;
    };
    let mut random = Random::new(5);
    let objects = traced_objects(&types);
    let given = std::env::var("FUZZ_PROGRAMS").ok().and_then(|text| text.parse().ok());
    let (mut differ, mut accepted, mut asked) = (Vec::new(), 0, 0);
    for _ in 0..given.unwrap_or(2_000) {
        let (event, arg, id) = &objects[random.below(objects.len() as u64) as usize];
        let size = types.size_of(*id).unwrap_or(8);
        let mut text = format!("case: {event}\ncontext: tp_btf/{event}\nhelpers: all\nr2 = *(u64 *)(r1 +{arg})\n");
        for step in 0..=random.below(2) {
            let bytes = if step == 0 && random.below(2) == 0 {
                8
            } else {
                1 << random.below(4)
            };
            let limit = u64::from(size.min(30_000)) + 16;
            let off = random.below(limit.div_ceil(bytes)) * bytes;
            text += &format!("r2 = *(u{} *)(r2 +{off})\n", 8 * bytes);
        }
        // What helpers think of it tells what was loaded.
        if random.below(2) == 0 {
            text += "r1 = r2\ncall task_pt_regs#175\n";
        }
        text += "r0 = 0\nexit\n";
        let case = &support::parse(&text)[0];
        let Some(theirs) = case.ask_linux(LogLevel::Failure) else {
            return;
        };
        asked += 1;
        let ours = case.verify();
        let same = match (&ours, &theirs.error) {
            (Ok(_), None) => true,
            (Err(error), Some(_)) => theirs.log.contains(&error.errors[0].message),
            _ => false,
        };
        accepted += usize::from(ours.is_ok());
        if !same {
            let ours = ours.map_or_else(|error| error.errors[0].message.clone(), |_| "accepted".to_owned());
            differ.push(format!(
                "{text}here {ours}\nLinux: {:?} {}",
                theirs.error,
                theirs.message()
            ));
        }
    }
    println!("{accepted} of {asked} accepted");
    assert!(
        differ.is_empty(),
        "{} of {asked}\n{}",
        differ.len(),
        differ[..differ.len().min(12)].join("\n")
    );
    assert!(accepted * 10 > asked, "{accepted} of {asked}");
}
