//! Objects that depend on where they are loaded: against the runtime's own types, and against others.
#![cfg(not(hitless_model))]

mod common;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use common::committed;
use hitless::upgrade::{Options, Upgrade, UpgradeError};
use hitless::{
    Collection, LoadError, LoadOptions, Packet, Runtime, VerifyError, VerifyOptions, Xdp, XdpAction, verify,
};
use hitless_btf::{Btf, Composite, Int, IntEncoding, Kind, Member, Type, TypeId, core};
use hitless_object::ObjectSpec;

/// Types with `struct frame { ...; verdict; }`, the field being of `bytes` bytes at `offset`.
fn frame(offset: u32, bytes: u32) -> Arc<core::Target> {
    let int = Int {
        name: "number".into(),
        size: bytes,
        encoding: IntEncoding::Unsigned,
        bit_offset: 0,
        bits: (bytes * 8) as u8,
    };
    let verdict = Member {
        name: "verdict".into(),
        ty: TypeId(1),
        bit_offset: offset * 8,
        bitfield_size: 0,
    };
    let frame = Composite {
        name: "frame".into(),
        size: 128,
        members: vec![verdict],
    };
    let btf = Btf::new(vec![Type::Void, Type::Int(int), Type::Struct(frame)]).unwrap();
    Arc::new(core::Target::new(Arc::new(btf)))
}

fn run(runtime: &Runtime, object: &Collection, program: &str, packet: &mut [u8]) -> XdpAction {
    let hook = runtime.hook::<Xdp>("xdp");
    let link = runtime.attach(&hook, object.program(program).unwrap()).unwrap();
    let action = hook.run(&mut Packet::new(packet)).unwrap();
    link.detach().unwrap();
    action
}

/// The whole chain of an error.
fn text(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", text(source)),
        None => error.to_string(),
    }
}

#[test]
fn fields_are_read_where_the_target_has_them() {
    let runtime = Runtime::default();
    for (offset, bytes) in [(0, 4), (13, 1), (40, 2), (56, 8)] {
        let options = LoadOptions::new().target_btf(frame(offset, bytes));
        let object = runtime.load_with(&committed("relocated"), &options).unwrap();
        let mut packet = [0xff; 64];
        let field = offset as usize..(offset + bytes) as usize;
        packet[field].copy_from_slice(&3u64.to_le_bytes()[..bytes as usize]);
        assert_eq!(
            run(&runtime, &object, "obey", &mut packet),
            XdpAction::Tx,
            "{bytes} bytes at {offset}"
        );
        assert_eq!(run(&runtime, &object, "guarded", &mut packet), XdpAction::Tx);
    }
}

#[test]
fn a_field_outside_of_what_was_checked_is_refused() {
    let mut spec = committed("relocated");
    spec.programs.retain(|program| program.name == "obey");
    let load = |offset| {
        let options = LoadOptions::new().target_btf(frame(offset, 4));
        Runtime::default().load_with(&spec, &options)
    };
    assert!(load(60).is_ok());
    let error = text(&load(64).unwrap_err());
    assert!(error.contains("invalid access to packet, off=64 size=4"), "{error}");
}

#[test]
fn a_missing_field_is_refused_by_name_where_it_is_used() {
    let mut spec = committed("relocated");
    let unguarded = spec
        .programs
        .iter_mut()
        .find(|program| program.name == "unguarded")
        .unwrap();
    assert!(!unguarded.autoload);
    unguarded.autoload = true;
    let options = LoadOptions::new().target_btf(frame(0, 4));
    let error = Runtime::default().load_with(&spec, &options).unwrap_err();
    assert!(matches!(&error, LoadError::Rejected { program, .. } if program == "unguarded"));
    let error = text(&error);
    let message = "struct frame.no_such_field does not exist in the target BTF; guard the access with \
                   bpf_core_field_exists()";
    assert!(error.contains(message), "{error}");
    assert!(error.contains("bpf/relocated.bpf.c:"), "{error}");
}

#[test]
fn the_runtime_s_own_types_tell_what_it_has() {
    let runtime = Runtime::default();
    assert!(runtime.btf().find(Kind::Struct, "xdp_md").is_some());
    // It has no `struct frame`.
    let mut spec = committed("relocated");
    let error = text(&runtime.load(&spec).unwrap_err());
    assert!(
        error.contains("struct frame.verdict does not exist in the target BTF"),
        "{error}"
    );
    spec.programs.retain(|program| program.name != "obey");
    let object = runtime.load(&spec).unwrap();
    assert_eq!(run(&runtime, &object, "features", &mut [0; 64]), XdpAction::Pass);
    assert_eq!(run(&runtime, &object, "guarded", &mut [0; 64]), XdpAction::Tx);
}

#[test]
fn options_are_those_given() {
    let runtime = Runtime::default();
    let mut spec = committed("relocated");
    spec.programs.retain(|program| program.name == "options");
    let object = runtime.load(&spec).unwrap();
    assert_eq!(run(&runtime, &object, "options", &mut [0; 64]), XdpAction::Drop);
    let options = LoadOptions::new().kconfig("CONFIG_HZ", "250");
    let object = runtime.load_with(&spec, &options).unwrap();
    assert_eq!(run(&runtime, &object, "options", &mut [0; 64]), XdpAction::Pass);

    let options = LoadOptions::new().kconfig("CONFIG_HZ", "y");
    let error = runtime.load_with(&spec, &options).unwrap_err();
    assert!(matches!(error, LoadError::Relocate(_)));
    assert_eq!(
        text(&error),
        "extern CONFIG_HZ: value y of the option: the variable has type unsigned int, expected bool, enum \
         libbpf_tristate or char"
    );
    for symbol in &mut spec.externs {
        symbol.weak = false;
    }
    let error = text(&runtime.load(&spec).unwrap_err());
    assert!(
        error.starts_with("extern CONFIG_HZ (strong): the option is not set here"),
        "{error}"
    );
}

#[test]
fn an_upgrade_loads_the_new_object_as_it_is_told_to() {
    let runtime = Runtime::default();
    let spec = committed("relocated");
    let options = LoadOptions::new().target_btf(frame(8, 4));
    let object = runtime.load_with(&spec, &options).unwrap();
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, object.program("obey").unwrap()).unwrap();
    let obeyed = || {
        let mut packet = [0; 64];
        packet[8] = 1;
        packet[16] = 2;
        hook.run(&mut Packet::new(&mut packet)).unwrap()
    };
    let upgrade = || Upgrade::new(&runtime, &object, &spec, Options::default());
    let error = upgrade().run(&mut |_| {}).unwrap_err();
    assert!(matches!(error, UpgradeError::Load(_)), "{error}");
    assert_eq!(obeyed(), XdpAction::Drop);
    let options = LoadOptions::new().target_btf(frame(16, 1));
    upgrade().load_options(options).run(&mut |_| {}).unwrap();
    assert_eq!(obeyed(), XdpAction::Pass);
}

/// As in Linux, whether or not the program comes to use it.
#[test]
fn a_variable_without_an_address() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf/corpus");
    let read = |name: &str| std::fs::read(corpus.join(name)).expect("it is in the repository");
    let types = Btf::parse(&read("target.btf")).expect("it is well-formed");
    let types = Arc::new(core::Target::new(Arc::new(types)));
    let object = ObjectSpec::parse(&read("ksyms_variables.bpf.o")).expect("it is well-formed");
    let found = |symbols: &[&str]| {
        let symbols = symbols.iter().map(|name| ((*name).to_owned(), 0x1000));
        let load = LoadOptions::new().target_btf(types.clone()).symbols(symbols);
        let verdicts = verify(&object, &VerifyOptions::new(load)).expect("there is everything that is not typed");
        match &verdicts[0].result {
            Err(VerifyError::Symbol { symbol, .. }) => Some(symbol.clone()),
            _ => None,
        }
    };
    let untyped = ["symbol_by_address", "other_symbol"];
    assert_eq!(found(&untyped).as_deref(), Some("number_of_cpus"));
    assert_eq!(
        found(&[&untyped[..], &["number_of_cpus"]].concat()).as_deref(),
        Some("the_widget")
    );
    assert_eq!(found(&[&untyped[..], &["number_of_cpus", "the_widget"]].concat()), None);
}

#[test]
fn exceptions_are_out() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf/corpus");
    let bytes = std::fs::read(corpus.join("exceptions.bpf.o")).expect("it is in the repository");
    let object = ObjectSpec::parse(&bytes).expect("it is well-formed");
    let result = |program: &str| {
        let options = VerifyOptions::new(LoadOptions::new()).program(program).kernel(true);
        verify(&object, &options).expect("it can be prepared").remove(0).result
    };
    let error = result("throws").expect_err("it has a callback");
    assert!(matches!(error, VerifyError::Exceptions { .. }) && error.excluded().is_some());
    assert!(result("does_not").is_ok());
}
