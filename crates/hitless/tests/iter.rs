//! Iterator programs: read for read what the running kernel gives for the same object, by both engines.
#![cfg(not(hitless_model))]

mod common;
#[allow(dead_code, reason = "iterators need little of it")]
mod oracle;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use common::committed;
use hitless::{AttachError, Collection, Engine, Iter, Link, LinkTarget, MapHandle, Options, Runtime, UpdateFlags};
use oracle::Oracle;

/// The object, with how many CPUs as there are in the kernel.
fn load(engine: Engine, slots: Option<usize>) -> (Runtime, Collection) {
    let runtime = Runtime::new(Options {
        engine,
        slots,
        ..Options::default()
    });
    let mut spec = committed("iter_dump");
    for map in spec.maps.iter_mut().filter(|map| map.name == "lru") {
        // So many that no bucket evicts.
        map.max_entries = 4096;
    }
    let object = runtime.load(&spec).expect("it loads");
    (runtime, object)
}

fn map<'a>(object: &'a Collection, name: &str) -> &'a MapHandle {
    object.map(name).expect("such a map")
}

fn attach(runtime: &Runtime, object: &Collection, program: &str, over: Option<&str>) -> Result<Link, AttachError> {
    let program = object.program(program).expect("such a program");
    match over {
        Some(name) => runtime.attach_map_iter(program, map(object, name)),
        None => runtime.attach_iter(program),
    }
}

/// What came of each of so many reads.
fn read(iter: &mut Iter, size: usize, count: usize) -> Vec<(i32, Vec<u8>)> {
    let read = |_| {
        let mut bytes = vec![0; size];
        match iter.read(&mut bytes) {
            Ok(len) => (0, bytes[..len].to_vec()),
            Err(error) => (error.raw_os_error().expect("an errno"), Vec::new()),
        }
    };
    (0..count).map(read).collect()
}

fn text(link: &Link) -> String {
    let mut text = String::new();
    let mut iter = link.iter().expect("an iterator");
    iter.read_to_string(&mut text).expect("it is read");
    text
}

/// An element of a map with numbers of so many bytes.
fn put(map: &MapHandle, key: u32, value: u64) {
    let key = &key.to_ne_bytes()[..map.def().key_size as usize];
    let value = value.to_ne_bytes().repeat(map.host_value_size().div_ceil(8));
    map.update(key, &value[..map.host_value_size()], UpdateFlags::ANY)
        .expect("it is updated");
}

const ENGINES: [Engine; 2] = [Engine::Compiler, Engine::Interpreter];

#[test]
fn reads_are_those_of_the_kernel() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf/iter_dump.bpf.o");
    let Some(mut kernel) = Oracle::load(&path) else { return };
    let loaded = ENGINES.map(|engine| load(engine, None));
    for key in 0..3u32 {
        let value = 0xfff_ffff_fff0 + u64::from(key);
        assert_eq!(kernel.update("array", &key.to_ne_bytes(), &value.to_ne_bytes()), 0);
        loaded
            .iter()
            .for_each(|(_, object)| put(map(object, "array"), key, value));
    }
    for (program, over, size, count) in [
        ("dump_numbers", "array", 4096, 3),
        ("dump_numbers", "array", 1, 30),
        ("dump_numbers", "array", 7, 20),
        // An empty map has an end, too.
        ("dump_numbers", "numbers", 100, 3),
        ("dump_numbers", "lru", 1, 20),
        ("formats", "array", 100_000, 3),
        ("formats", "array", 50, 40),
        ("describe", "array", 100, 2),
        ("describe", "per_cpu_array", 100, 2),
        ("again", "array", 100, 8),
        ("large", "array", 65_536, 8),
        ("large", "array", 9000, 12),
        ("large", "array", 32_768, 8),
        ("too_large", "array", 65_536, 4),
        ("increase", "array", 1, 2),
        ("dump_numbers", "array", 4096, 3),
        ("increase", "constant", 10, 1),
    ] {
        // Where Linux lets constants be written, this runtime does not.
        let expected = match over {
            "constant" => Err(libc::EACCES),
            _ => kernel.iterate(program, Some(over), size.min(65_536), count),
        };
        for ((runtime, object), engine) in loaded.iter().zip(ENGINES) {
            let what = format!("{program} on {over}, {size} bytes, {engine:?}");
            let link = attach(runtime, object, program, Some(over)).map_err(|error| error.errno());
            let found = link.map(|link| read(&mut link.iter().expect("an iterator"), size.min(65_536), count));
            assert_eq!(found, expected, "{what}");
        }
    }
}

#[test]
fn attaching_is_refused_as_in_the_kernel() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf/iter_dump.bpf.o");
    let Some(mut kernel) = Oracle::load(&path) else { return };
    let (runtime, object) = load(Engine::Compiler, None);
    for (program, over) in [
        ("dump_numbers", "numbers"),
        ("dump_numbers", "lru"),
        ("dump_numbers", "per_cpu"),
        ("dump_numbers", "per_cpu_array"),
        ("dump_numbers", "lru_per_cpu"),
        ("dump_numbers", "constant"),
        ("dump_numbers", "trie"),
        ("dump_numbers", "narrow"),
        ("dump_numbers", "narrow_key"),
        ("increase", "narrow"),
        ("sum", "numbers"),
        ("sleepy", "numbers"),
        ("dump_numbers", "-"),
        ("maps", "-"),
        ("programs", "-"),
        ("links", "-"),
    ] {
        let over = Some(over).filter(|over| *over != "-");
        let there = kernel.iterate(program, over, 1, 0).map(|_| ());
        let here = attach(&runtime, &object, program, over);
        let here = here.map(drop).map_err(|error| error.errno());
        assert_eq!(here, there, "{program} on {over:?}");
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let (runtime, object) = load(Engine::Compiler, None);
    let refusal = |program, over| attach(&runtime, &object, program, over).expect_err("is refused");
    let accesses = |field, found, size| {
        format!("program dump_numbers accesses {found} bytes of the {field}, but in map narrow{size}")
    };
    for (program, over, errno, text) in [
        (
            "dump_numbers",
            Some("narrow"),
            libc::EACCES,
            accesses("value", 8, " it has 4"),
        ),
        (
            "dump_numbers",
            Some("narrow_key"),
            libc::EACCES,
            accesses("key", 4, "_key it has 2"),
        ),
        (
            "dump_numbers",
            Some("trie"),
            libc::EINVAL,
            "map trie is of type lpm_trie, whose elements no iterator walks".to_owned(),
        ),
        (
            "dump_numbers",
            None,
            libc::EBADF,
            "program dump_numbers walks the elements of a map, which has to be given".to_owned(),
        ),
        (
            "sleepy",
            Some("numbers"),
            libc::EINVAL,
            "program sleepy may sleep, which no iterator here allows: use SEC(\"iter/...\")".to_owned(),
        ),
        (
            "increase",
            Some("guarded"),
            libc::EACCES,
            "program increase writes values of map guarded, which has values with a lock, a timer or a pointer in them"
                .to_owned(),
        ),
        (
            "increase",
            Some("constant"),
            libc::EACCES,
            "program increase writes values of map constant, which is for programs to read only".to_owned(),
        ),
        (
            "maps",
            Some("numbers"),
            libc::EINVAL,
            "program maps is of type iter/bpf_map, expected iter/bpf_map_elem".to_owned(),
        ),
    ] {
        let error = refusal(program, over);
        assert_eq!((error.errno(), error.to_string()), (errno, text));
    }
    let (other, _) = load(Engine::Compiler, None);
    let program = object.program("maps").unwrap();
    assert_eq!(other.attach_iter(program).unwrap_err().errno(), libc::EINVAL);
}

/// Every kind of map, in whatever order it has.
#[test]
fn each_element_is_met_once() {
    for engine in ENGINES {
        let (runtime, object) = load(engine, Some(4));
        for name in ["numbers", "lru"] {
            (0..40).for_each(|key| put(map(&object, name), key, u64::from(key) * 3));
            let link = attach(&runtime, &object, "dump_numbers", Some(name)).unwrap();
            let text = text(&link);
            let mut lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.pop(), Some("end after 40"), "{name}");
            let elements: BTreeMap<u32, u64> = lines
                .iter()
                .enumerate()
                .map(|(number, line)| {
                    let rest = line.strip_prefix(&format!("{number}: ")).expect("its number");
                    let (key, value) = rest.split_once(" = ").expect("key and value");
                    (key.parse().unwrap(), value.parse().unwrap())
                })
                .collect();
            assert_eq!(lines.len(), 40);
            assert_eq!(
                elements,
                (0..40).map(|key| (key, u64::from(key) * 3)).collect(),
                "{name}"
            );
        }
        for name in ["per_cpu", "lru_per_cpu"] {
            let values: Vec<u8> = [1u64, 20, 300, 4000]
                .iter()
                .flat_map(|value| value.to_ne_bytes())
                .collect();
            map(&object, name)
                .update(&5u32.to_ne_bytes(), &values, UpdateFlags::ANY)
                .unwrap();
            let link = attach(&runtime, &object, "sum", Some(name)).unwrap();
            assert_eq!(text(&link), "5: 1 20 300 4000\n", "{name}");
        }
        put(map(&object, "per_cpu_array"), 1, 9);
        let link = attach(&runtime, &object, "sum", Some("per_cpu_array")).unwrap();
        assert_eq!(text(&link), "0: 0 0 0 0\n1: 9 9 9 9\n2: 0 0 0 0\n");
    }
}

#[test]
fn a_program_may_delete_what_it_is_shown() {
    for engine in ENGINES {
        let (runtime, object) = load(engine, None);
        let numbers = map(&object, "numbers");
        (0..20).for_each(|key| put(numbers, key, 1));
        let link = attach(&runtime, &object, "delete_odd", Some("numbers")).unwrap();
        assert_eq!(text(&link).lines().filter(|line| line.ends_with(": 0")).count(), 10);
        assert_eq!(numbers.entries().unwrap().len(), 10);
        // Also while the map is traced: it then holds no stripe that it would wait for.
        (0..20).for_each(|key| put(numbers, key, 1));
        let mut changes = numbers.changes(1 << 16).unwrap();
        assert_eq!(text(&link).lines().count(), 10);
        let deleted = std::iter::from_fn(|| changes.next_within(std::time::Duration::ZERO).unwrap());
        assert_eq!(deleted.count(), 10);
    }
}

#[test]
fn writes_into_values_are_traced() {
    for engine in ENGINES {
        let (runtime, object) = load(engine, None);
        let numbers = map(&object, "numbers");
        (0..5).for_each(|key| put(numbers, key, 10));
        let link = attach(&runtime, &object, "increase", Some("numbers")).unwrap();
        let program = object.program("increase").unwrap();
        assert!(!program.is_traced());
        let mut changes = numbers.changes(1 << 16).unwrap();
        assert!(program.is_traced(), "the map is one that it writes");
        assert_eq!(text(&link), "");
        let mut seen = BTreeMap::new();
        while let Some(change) = changes.next_within(std::time::Duration::ZERO).unwrap() {
            *seen.entry(change.key).or_insert(0) += 1;
            assert_eq!(change.value, 11u64.to_ne_bytes());
        }
        assert_eq!(seen.len(), 5);
        assert!(seen.values().all(|count| *count == 1));
        drop(changes);
        assert!(!program.is_traced());
    }
}

#[test]
fn links_and_their_walks() {
    let (runtime, object) = load(Engine::Compiler, None);
    let numbers = map(&object, "numbers");
    put(numbers, 1, 2);
    let link = attach(&runtime, &object, "dump_numbers", Some("numbers")).unwrap();
    let info = link.info().unwrap();
    let expected = LinkTarget::Iter {
        name: "bpf_map_elem".into(),
        map: Some(numbers.id()),
    };
    assert_eq!(
        (info.target, info.program_id),
        (expected, Some(object.program("dump_numbers").unwrap().id()))
    );
    // A walk keeps the program that the link had, and outlives the link.
    let mut before = link.iter().unwrap();
    let other = object.program("formats").unwrap();
    link.update(other, Some(object.program("dump_numbers").unwrap()))
        .unwrap();
    assert_eq!(link.program().as_ref(), Some(other));
    assert!(text(&link).starts_with("[    1|"));
    let wrong = link.update(object.program("maps").unwrap(), None).unwrap_err();
    assert_eq!(wrong.errno(), libc::EINVAL);
    let unexpected = link.update(other, Some(object.program("again").unwrap())).unwrap_err();
    assert_eq!(unexpected.errno(), libc::EPERM);
    let sleepy = link.update(object.program("sleepy").unwrap(), None).unwrap_err();
    assert_eq!(sleepy.errno(), libc::EINVAL);
    link.detach().unwrap();
    let mut text = String::new();
    before.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0: 1 = 2\nend after 1\n");
    // What is accessed is compared when a link is updated, too.
    let narrow = attach(&runtime, &object, "describe", Some("narrow")).unwrap();
    assert_eq!(narrow.update(other, None).unwrap_err().errno(), libc::EACCES);
}

#[test]
fn objects_of_the_runtime() {
    for engine in ENGINES {
        let (runtime, object) = load(engine, None);
        let attached = attach(&runtime, &object, "maps", None).unwrap();
        let listed = text(&attached);
        let expected: Vec<_> = object
            .maps()
            .iter()
            .map(|map| {
                let (def, name) = (map.def(), &map.name()[..map.name().len().min(15)]);
                let sizes = format!("{} -> {}, at most {}", def.key_size, def.value_size, def.max_entries);
                format!("{} {name}: type {}, {sizes}", map.id(), def.kind.number())
            })
            .chain(["end".to_owned()])
            .collect();
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected);

        let programs = text(&attach(&runtime, &object, "programs", None).unwrap());
        let maps = object.program("maps").unwrap();
        assert!(
            programs.contains(&format!("{} maps: type 26, [bpf_map] []\n", maps.id())),
            "{programs}"
        );
        assert_eq!(programs.lines().count(), object.programs().len() + 1);

        let itself = runtime.attach_by_section(object.program("links").unwrap()).unwrap();
        let expected = format!(
            "{}: type 4, program {} maps\n{}: type 4, program {} links\nend\n",
            attached.id(),
            maps.id(),
            itself.id(),
            object.program("links").unwrap().id(),
        );
        assert_eq!(text(&itself), expected);
    }
}

/// Values by their types: those of the running kernel, against which the program is relocated here, too.
#[test]
fn values_are_printed_by_their_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf/iter_typed.bpf.o");
    let (Some(mut kernel), Ok(types)) = (Oracle::load(&path), std::fs::read("/sys/kernel/btf/vmlinux")) else {
        return;
    };
    let btf = hitless::btf::Btf::parse(&types).expect("the kernel's types");
    let target = std::sync::Arc::new(hitless::btf::core::Target::new(std::sync::Arc::new(btf)));
    let options = hitless::LoadOptions::new().target_btf(target);
    let loaded = ENGINES.map(|engine| {
        let runtime = Runtime::new(Options {
            engine,
            ..Options::default()
        });
        let object = runtime.load_with(&committed("iter_typed"), &options).expect("it loads");
        (runtime, object)
    });
    let patterns: [&[u64]; 5] = [
        &[],
        &[0xffff_ffff_f000_0041, 0x4142_4300_4445_4600, 5, 0x61_6263 << 40, 0, 7],
        &[u64::MAX; 128],
        &[0x8080_7f7e_2020_6162, 1, 0, 0xa0a1_ff9f_0102_0304, 2, 0, 3, 0, 0, 9],
        &[0x0102_0304_0506_0708; 20],
    ];
    for pattern in patterns {
        for shift in [0u64, 3] {
            let mut data: Vec<u8> = pattern.iter().flat_map(|word| word.to_ne_bytes()).collect();
            data.resize(128 * 8, 0);
            let spec = committed("iter_typed");
            let bss = &spec.map(".bss").expect("global data");
            let (btf, section) = (spec.btf.as_ref().expect("types"), bss.value_type.expect("its type"));
            let variables = btf.datasec(".bss").expect("global data").1;
            let mut bytes = vec![0; btf.size_of(section).expect("its size") as usize];
            for variable in &variables.vars {
                let name = match btf.get(variable.ty) {
                    Some(hitless::btf::Type::Var(found)) => found.name.as_str(),
                    _ => continue,
                };
                let at = variable.offset as usize;
                match name {
                    "words" => bytes[at..at + data.len()].copy_from_slice(&data),
                    "shift" => bytes[at..at + 8].copy_from_slice(&shift.to_ne_bytes()),
                    _ => {}
                }
            }
            bytes.resize(map(&loaded[0].1, ".bss").def().value_size as usize, 0);
            assert_eq!(kernel.update(".bss", &[0; 4], &bytes), 0);
            for (_, object) in &loaded {
                map(object, ".bss").update(&[0; 4], &bytes, UpdateFlags::ANY).unwrap();
            }
            for program in [
                "numbers",
                "structs",
                "unions",
                "bitfields",
                "large",
                "pointers",
                "refused",
            ] {
                let mut whole = Vec::new();
                let there = kernel
                    .iterate(program, Some("flags"), 65_536, 60)
                    .expect("it is attached");
                there.iter().for_each(|(_, bytes)| whole.extend(bytes));
                let there = readable(&whole);
                for ((runtime, object), engine) in loaded.iter().zip(ENGINES) {
                    let link = attach(runtime, object, program, Some("flags")).unwrap();
                    let mut whole = Vec::new();
                    link.iter().unwrap().read_to_end(&mut whole).unwrap();
                    let here = readable(&whole);
                    let differs = here.iter().zip(&there).find(|(here, there)| here != there);
                    assert_eq!(differs, None, "{program} at {shift} of {pattern:x?}, {engine:?}");
                    assert_eq!(here.len(), there.len());
                }
            }
        }
    }
}

/// Lines, in which hidden addresses differ.
fn readable(text: &[u8]) -> Vec<String> {
    let hide = |line: &[u8]| {
        let mut line = line.escape_ascii().to_string();
        for (at, _) in line.clone().match_indices("0x00000000") {
            let digits = line[at + 10..].bytes().take_while(u8::is_ascii_hexdigit).count();
            if !line[at + 10..at + 10 + digits].bytes().all(|digit| digit == b'0') {
                line.replace_range(at + 10..at + 10 + digits, &"*".repeat(digits));
            }
        }
        line
    };
    text.split(|byte| *byte == b'\n').map(hide).collect()
}

/// Keys that stay are met once, whatever happens to others.
#[test]
fn changes_meanwhile() {
    let (runtime, object) = load(Engine::Compiler, None);
    let numbers = map(&object, "numbers");
    (0..20).for_each(|key| put(numbers, key, 7));
    let link = attach(&runtime, &object, "dump_numbers", Some("numbers")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2u32 {
            let stop = &stop;
            scope.spawn(move || {
                let mut key = 0u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    key = (key + 1) % 15;
                    put(numbers, 20 + 15 * thread + key, 1);
                    put(numbers, key, 7);
                    let _ = numbers.delete(&(20 + 15 * thread + (key + 7) % 15).to_ne_bytes());
                }
            });
        }
        for _ in 0..200 {
            let mut met = BTreeMap::new();
            for line in text(&link).lines().filter(|line| !line.starts_with("end")) {
                let (key, _) = line
                    .split_once(": ")
                    .and_then(|(_, rest)| rest.split_once(" = "))
                    .unwrap();
                *met.entry(key.parse::<u32>().unwrap()).or_insert(0) += 1;
            }
            for key in 0..20 {
                assert_eq!(met.get(&key), Some(&1), "key {key}");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// The link of an iterator gets the program's successor, and that of the map.
#[test]
fn an_upgrade_moves_iterators() {
    let runtime = Runtime::default();
    let (old, new) = (committed("flows_iter"), committed("flows_iter"));
    let object = runtime.load(&old).expect("it loads");
    let hook = runtime.hook::<hitless::Xdp>("xdp");
    let _attached = runtime.attach(&hook, object.program("count_flows").unwrap()).unwrap();
    let link = attach(&runtime, &object, "print_flows", Some("flows")).unwrap();
    map(&object, "flows")
        .update(&[1; 40], &[2; 8], UpdateFlags::ANY)
        .unwrap();
    let before = text(&link);
    let options = hitless::upgrade::Options {
        always_copy: true,
        ..hitless::upgrade::Options::default()
    };
    let upgrade = hitless::upgrade::Upgrade::new(&runtime, &object, &new, options);
    let (moved, _) = upgrade.run(&mut |_| {}).expect("the upgrade succeeds");
    assert_eq!(link.program().as_ref(), moved.program("print_flows"));
    let flows = map(&moved, "flows");
    assert_eq!(
        link.info().map(|info| info.target),
        Some(LinkTarget::Iter {
            name: "bpf_map_elem".into(),
            map: Some(flows.id()),
        })
    );
    assert_eq!(text(&link), before);
    flows.update(&[3; 40], &[4; 8], UpdateFlags::ANY).unwrap();
    assert_eq!(text(&link).lines().count(), before.lines().count() + 1);
}
