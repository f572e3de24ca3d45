//! Which programs of an object are loaded, by their sections, and why others are not.

use hitless::{LoadError, Options, Runtime};
use hitless_object::{ObjectSpec, ProgramSpec};

fn program(name: &str, section: &str) -> ProgramSpec {
    ProgramSpec {
        name: name.into(),
        section: section.into(),
        insns: hitless_isa::asm::assemble("r0 = 2\nexit").expect("the program assembles"),
        ..ProgramSpec::default()
    }
}

fn load(programs: Vec<ProgramSpec>) -> Result<Vec<String>, LoadError> {
    let spec = ObjectSpec {
        programs,
        ..ObjectSpec::default()
    };
    let collection = Runtime::new(Options::default()).load(&spec)?;
    Ok(collection
        .programs()
        .iter()
        .map(|program| program.name().to_owned())
        .collect())
}

fn refusal(program: ProgramSpec) -> String {
    load(vec![program]).expect_err("should be refused").to_string()
}

#[test]
fn programs_without_a_hook() {
    let no_hook = "the runtime has no hook for them";
    for (section, program_type, expected) in [
        (
            "iter/task",
            "iter",
            "the runtime has iterators of bpf_map_elem, bpf_map, bpf_prog and bpf_link",
        ),
        ("lwt_in", "lwt_in", "it runs in the kernel's network stack"),
        ("xdp/devmap", "xdp/devmap", no_hook),
        ("migrate/flows", "migrate", no_hook),
    ] {
        assert_eq!(
            refusal(program("p", section)),
            format!("program p: section {section}: programs of type {program_type} cannot run here: {expected}")
        );
    }
}

#[test]
fn sections_that_say_nothing() {
    assert_eq!(
        refusal(program("p", "map_trace/flows/LOOKUP")),
        "program p: section map_trace/flows/LOOKUP names no event of maps, expected \
         map_trace/<map>/<UPDATE_ELEM|DELETE_ELEM|EVICT_ELEM>"
    );
    assert_eq!(
        refusal(program("p", "prog")),
        "program p: section prog is iproute2's name for programs of any type: use SEC(\"xdp\") or SEC(\"tc\")"
    );
}

#[test]
fn programs_on_request_are_left_out() {
    let on_request = ProgramSpec {
        autoload: false,
        ..program("later", "kprobe/f")
    };
    assert_eq!(load(vec![program("now", "xdp"), on_request]).expect("loads"), ["now"]);
}
