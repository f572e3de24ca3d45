//! What becomes of the bytes: each kind of transform, for entries that the bulk copy brings over and for changes that are
//! mirrored, and what is refused.

mod common;

use std::sync::Arc;

use common::{ARRAY, HASH, committed, object};
use hitless::upgrade::{MapAction, Options, Poison, Progress, Refusal, Report, Upgrade, UpgradeError};
use hitless::{Collection, LoadOptions, Map, Runtime, UpdateFlags, Xdp};
use hitless_btf::{Btf, Composite, DeclTag, Int, IntEncoding, Member, Type, TypeId};
use hitless_object::ObjectSpec;

/// A field: name, bytes, signed, old name.
type Field = (&'static str, u32, bool, Option<&'static str>);

const fn field(name: &'static str, size: u32) -> Field {
    (name, size, false, None)
}

const fn signed(name: &'static str, size: u32) -> Field {
    (name, size, true, None)
}

const fn was(name: &'static str, size: u32, old: &'static str) -> Field {
    (name, size, false, Some(old))
}

/// Appends a struct with these fields, laid out as C does; returns its type and size.
fn composite(types: &mut Vec<Type>, name: &str, fields: &[Field]) -> (TypeId, u32) {
    let (mut end, mut align, mut members, mut tags) = (0u32, 1, Vec::new(), Vec::new());
    for (index, (field, size, signed, old)) in fields.iter().enumerate() {
        let encoding = if *signed {
            IntEncoding::Signed
        } else {
            IntEncoding::Unsigned
        };
        types.push(Type::Int(Int {
            size: *size,
            encoding,
            bits: (*size * 8) as u8,
            ..Int::default()
        }));
        let ty = TypeId(types.len() as u32 - 1);
        end = end.next_multiple_of(*size);
        align = align.max(*size);
        members.push(Member {
            name: (*field).into(),
            ty,
            bit_offset: end * 8,
            bitfield_size: 0,
        });
        tags.extend(old.map(|old| (index as u32, format!("was:{old}"))));
        end += size;
    }
    let size = end.next_multiple_of(align);
    types.push(Type::Struct(Composite {
        name: name.into(),
        size,
        members,
    }));
    let id = TypeId(types.len() as u32 - 1);
    for (component, tag) in tags {
        types.push(Type::DeclTag(DeclTag {
            tag: tag.as_str().into(),
            ty: id,
            component: Some(component),
            attribute: false,
        }));
    }
    (id, size)
}

/// The commands object with these fields in its map's key and value. Its program would not verify with other sizes, so
/// it passes every packet.
fn typed(map_type: u32, key: &[Field], value: &[Field], max_entries: u32) -> ObjectSpec {
    let mut spec = object(map_type, max_entries);
    let mut types = vec![Type::Void];
    let (key_type, key_size) = composite(&mut types, "key", key);
    let (value_type, value_size) = composite(&mut types, "value", value);
    let map = &mut spec.maps[0];
    (map.key_type, map.key_size) = (Some(key_type), key_size);
    (map.value_type, map.value_size) = (Some(value_type), value_size);
    spec.btf = Some(Btf::new(types).expect("valid BTF"));
    spec.programs[0].insns = hitless_isa::asm::assemble("r0 = 2\nexit").expect("the program assembles");
    spec
}

const KEY: &[Field] = &[field("id", 4)];

struct Running {
    runtime: Runtime,
    object: Collection,
    _link: hitless::Link,
}

impl Running {
    fn new(spec: &ObjectSpec) -> Running {
        let runtime = Runtime::default();
        let object = runtime.load(spec).expect("the object loads");
        let link = runtime
            .attach(&runtime.hook::<Xdp>("xdp"), &object.programs()[0])
            .expect("it attaches");
        Running {
            runtime,
            object,
            _link: link,
        }
    }

    fn map(&self) -> &Arc<Map> {
        &self.object.maps()[0]
    }

    fn upgrade(
        &self,
        new: &ObjectSpec,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Collection, Report), UpgradeError> {
        Upgrade::new(&self.runtime, &self.object, new, Options::default()).run(progress)
    }
}

/// Upgrades a map that holds `old` under key 1, writes it under key 2 while the copy is on, and expects `new` under both.
#[track_caller]
fn becomes(map_type: u32, old: (&[Field], &[u8]), new: (&[Field], &[u8])) {
    let running = Running::new(&typed(map_type, KEY, old.0, 4));
    let map = Arc::clone(running.map());
    map.update(&1u32.to_ne_bytes(), old.1, UpdateFlags::ANY).unwrap();
    let mut mirrored = false;
    let mut write = |progress: Progress<'_>| {
        if matches!(progress, Progress::Cutover { .. }) {
            // On another thread: this one is the copier's.
            let map = &map;
            std::thread::scope(|scope| {
                scope.spawn(move || map.update(&2u32.to_ne_bytes(), old.1, UpdateFlags::ANY).unwrap());
            });
            mirrored = true;
        }
    };
    let (object, report) = running
        .upgrade(&typed(map_type, KEY, new.0, 4), &mut write)
        .expect("the upgrade succeeds");
    assert!(mirrored);
    assert_eq!(report.maps[0].mirrored_updates, u64::from(map_type == HASH));
    for key in [1u32, 2] {
        let value = object.maps()[0].lookup(&key.to_ne_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(new.1), "key {key}");
    }
}

#[test]
fn fields_are_moved() {
    let (old, new) = ([field("a", 4), field("b", 4)], [field("b", 4), field("a", 4)]);
    for map_type in [HASH, ARRAY] {
        becomes(
            map_type,
            (&old, &[1, 2, 3, 4, 5, 6, 7, 8]),
            (&new, &[5, 6, 7, 8, 1, 2, 3, 4]),
        );
    }
}

#[test]
fn unsigned_fields_are_widened_by_zeros() {
    becomes(
        HASH,
        (&[field("a", 2)], &[0xfe, 0xff]),
        (&[field("a", 4)], &[0xfe, 0xff, 0, 0]),
    );
}

#[test]
fn signed_fields_are_widened_by_their_sign() {
    becomes(
        HASH,
        (&[signed("a", 2)], &[0xfe, 0xff]),
        (&[signed("a", 4)], &[0xfe, 0xff, 0xff, 0xff]),
    );
}

#[test]
fn new_fields_are_zero() {
    becomes(
        HASH,
        (&[field("a", 2)], &[1, 2]),
        (&[field("a", 2), field("b", 2)], &[1, 2, 0, 0]),
    );
}

#[test]
fn renamed_fields_are_found_by_their_tag() {
    let (old, new) = (
        [field("a", 4), field("bytes", 2)],
        [was("octets", 8, "bytes"), field("a", 4)],
    );
    becomes(
        HASH,
        (&old, &[1, 2, 3, 4, 5, 6, 0, 0]),
        (&new, &[5, 6, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]),
    );
}

/// Global data: variables that the old object has keep their values, new ones begin with what the new object says.
#[test]
fn new_variables_keep_their_initial_values() {
    let data = |fields: &[Field], content: &[u8]| {
        let mut spec = typed(ARRAY, KEY, fields, 1);
        spec.maps[0].data = Some(content.to_vec());
        spec
    };
    let running = Running::new(&data(&[field("a", 4)], &[1, 0, 0, 0]));
    let key = 0u32.to_ne_bytes();
    assert_eq!(running.map().lookup(&key).unwrap().unwrap(), [1, 0, 0, 0]);
    running.map().update(&key, &[9, 0, 0, 0], UpdateFlags::ANY).unwrap();
    let new = data(&[field("b", 4), field("a", 4)], &[5, 0, 0, 0, 1, 0, 0, 0]);
    let (object, report) = running.upgrade(&new, &mut |_| {}).unwrap();
    assert_eq!(report.maps[0].plan.action, MapAction::CopyAtCutover);
    assert_eq!(
        object.maps()[0].lookup(&key).unwrap().unwrap(),
        [5, 0, 0, 0, 9, 0, 0, 0]
    );
}

/// A field that only got another name: the map is made anew, so that the next upgrade goes by the new names.
#[test]
fn renames_are_not_forgotten() {
    let swapped = [was("bytes", 4, "hits"), was("hits", 4, "bytes")];
    let running = Running::new(&typed(HASH, KEY, &[field("hits", 4), field("bytes", 4)], 4));
    let key = 1u32.to_ne_bytes();
    running
        .map()
        .update(&key, &[1, 0, 0, 0, 64, 0, 0, 0], UpdateFlags::ANY)
        .unwrap();
    let second = typed(HASH, KEY, &swapped, 4);
    let (object, report) = running.upgrade(&second, &mut |_| {}).unwrap();
    assert_eq!(report.maps[0].plan.reason, "value fields renamed");
    let running = Running { object, ..running };
    assert_eq!(running.map().lookup(&key).unwrap().unwrap(), [1, 0, 0, 0, 64, 0, 0, 0]);
    let third = typed(HASH, KEY, &[field("bytes", 8), field("hits", 8)], 4);
    let (object, _) = running.upgrade(&third, &mut |_| {}).unwrap();
    let value = object.maps()[0].lookup(&key).unwrap().unwrap();
    assert_eq!((value[0], value[8]), (1, 64), "bytes was hits, hits was bytes");
}

#[test]
fn keys_are_transformed_too() {
    let old_key = [field("port", 2), field("host", 4)];
    let new_key = [field("host", 4), field("port", 4)];
    let value = [field("n", 8)];
    let running = Running::new(&typed(HASH, &old_key, &value, 4));
    running
        .map()
        .update(&[1, 2, 0, 0, 3, 4, 5, 6], &[9; 8], UpdateFlags::ANY)
        .unwrap();
    let (object, report) = running.upgrade(&typed(HASH, &new_key, &value, 4), &mut |_| {}).unwrap();
    assert_eq!(report.maps[0].plan.action, MapAction::TraceAndCopy);
    assert_eq!(
        object.maps()[0].entries().unwrap(),
        [(vec![3, 4, 5, 6, 1, 2, 0, 0], vec![9; 8])]
    );
}

#[track_caller]
fn is_refused(old: &ObjectSpec, new: &ObjectSpec, text: &str) {
    let running = Running::new(old);
    let error = running.upgrade(new, &mut |_| {}).expect_err("the upgrade is refused");
    assert_eq!(error.to_string(), text);
    running
        .map()
        .update(
            &vec![0; running.map().def().key_size as usize],
            &vec![0; running.map().def().value_size as usize],
            UpdateFlags::ANY,
        )
        .unwrap();
}

#[test]
fn what_would_lose_information_is_refused() {
    let value = |fields: &[Field]| typed(HASH, KEY, fields, 4);
    let a8 = value(&[field("a", 8)]);
    let lossy = "upgrade refused: map state: field a of the value would lose information: ";
    is_refused(
        &a8,
        &value(&[field("a", 4)]),
        &format!("{lossy}narrowed from 64 to 32 bits"),
    );
    is_refused(
        &a8,
        &value(&[field("b", 8)]),
        &format!("{lossy}dropped; if it has another name now, tag the new field was:a"),
    );
    is_refused(
        &a8,
        &typed(HASH, KEY, &[field("a", 8)], 3),
        "upgrade refused: map state: max_entries is 3, expected at least 4, which the running map can hold",
    );
    is_refused(
        &a8,
        &typed(ARRAY, KEY, &[field("a", 8)], 4),
        "upgrade refused: map state: its type is array, expected hash as it runs: the type of a map cannot change",
    );
    let mut untyped = value(&[field("a", 4)]);
    untyped.btf = None;
    (untyped.maps[0].key_type, untyped.maps[0].value_type) = (None, None);
    is_refused(
        &a8,
        &untyped,
        "upgrade refused: map state: value size is 4, expected 8, and without BTF for both there is no way from one to the \
         other",
    );
    let mut renamed = value(&[field("a", 8)]);
    renamed.maps[0].name = "other".into();
    is_refused(
        &a8,
        &renamed,
        "upgrade refused: map state: the new object has no map of this name, so its content would be lost; maps cannot be renamed",
    );
}

/// Every reason is named, not only the first.
#[test]
fn all_refusals_are_named() {
    let old = typed(HASH, KEY, &[field("a", 8), field("b", 8)], 4);
    let new = typed(HASH, KEY, &[field("a", 4)], 2);
    let error = Running::new(&old).upgrade(&new, &mut |_| {}).unwrap_err();
    let UpgradeError::Refused(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.refusals.len(), 3, "{error}");
}

/// Padding of a key is not carried over; two keys that differ only there would become one.
#[test]
fn a_key_with_garbage_in_its_padding_poisons_the_upgrade() {
    let old_key = [field("port", 2), field("host", 4)];
    let new_key = [field("host", 4), field("port", 2)];
    let value = [field("n", 8)];
    let running = Running::new(&typed(HASH, &old_key, &value, 4));
    running
        .map()
        .update(&[1, 2, 0, 0, 3, 4, 5, 6], &[9; 8], UpdateFlags::ANY)
        .unwrap();
    running
        .map()
        .update(&[1, 2, 0xee, 0, 3, 4, 5, 6], &[8; 8], UpdateFlags::ANY)
        .unwrap();
    let error = running
        .upgrade(&typed(HASH, &new_key, &value, 4), &mut |_| {})
        .unwrap_err();
    assert!(
        matches!(
            error,
            UpgradeError::Poisoned {
                reason: Poison::Padding,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(running.map().entries().unwrap().len(), 2);
}

/// A program that stays while the map moves would go on writing the old one.
#[test]
fn an_outside_writer_is_refused_by_name() {
    let spec = object(HASH, 4);
    let running = Running::new(&spec);
    let shared = LoadOptions::new().replace_map("state", running.map());
    let outside = running.runtime.load_with(&spec, &shared).unwrap();
    let bigger = object(HASH, 8);
    let error = running.upgrade(&bigger, &mut |_| {}).unwrap_err();
    let id = outside.programs()[0].id();
    let expected =
        format!("upgrade refused: map state: program commands (id {id}) is not part of the upgrade and may write it");
    assert_eq!(error.to_string(), expected);
    drop(outside);
    running
        .upgrade(&bigger, &mut |_| {})
        .expect("the upgrade succeeds once the other program is gone");
}

/// Programs and tracers that come while the map is copied would go on writing the old one, too.
#[test]
fn writers_that_come_during_the_copy_are_refused_at_the_cutover() {
    let running = Running::new(&object(HASH, 4));
    let (spec, bigger) = (object(HASH, 4), object(HASH, 8));
    let mut late = None;
    let mut load = |progress: Progress<'_>| {
        if matches!(progress, Progress::Cutover { .. }) && late.is_none() {
            let shared = LoadOptions::new().replace_map("state", running.map());
            late = Some(running.runtime.load_with(&spec, &shared).unwrap());
        }
    };
    let error = running.upgrade(&bigger, &mut load).unwrap_err();
    let UpgradeError::Refused(error) = error else {
        panic!("{error}")
    };
    assert!(matches!(error.refusals[..], [Refusal::OutsideWriter { .. }]), "{error}");
    drop(late);
    let old = Arc::clone(running.map());
    running
        .upgrade(&bigger, &mut |_| {})
        .expect("the upgrade succeeds without it");
    let late = running
        .runtime
        .load_with(&spec, &LoadOptions::new().replace_map("state", &old))
        .unwrap();
    let error = running
        .runtime
        .attach(&running.runtime.hook::<Xdp>("xdp"), &late.programs()[0])
        .unwrap_err();
    assert_eq!(error.errno(), 116, "{error}");
}

/// A tracer of the old object that writes a map which moves is not upgraded with it.
#[test]
fn a_tracer_of_a_moving_map_is_refused_by_name() {
    let spec = committed("trace_mirror");
    let runtime = Runtime::default();
    let old = runtime.load(&spec).unwrap();
    let _link = runtime
        .attach(&runtime.hook::<Xdp>("xdp"), old.program("writer").unwrap())
        .unwrap();
    let tracer = runtime
        .trace_map(old.map("source").unwrap(), old.program("on_update").unwrap())
        .unwrap();
    let mut bigger = spec.clone();
    let mirror = bigger.maps.iter_mut().find(|map| map.name == "mirror").unwrap();
    mirror.max_entries *= 2;
    let upgrade = |options| Upgrade::new(&runtime, &old, &bigger, options).run(&mut |_| {});
    let error = upgrade(Options::default()).unwrap_err();
    let expected = format!(
        "upgrade refused: map mirror: link {} of tracer on_update would stay behind with the old map: detach it first",
        tracer.id()
    );
    assert_eq!(error.to_string(), expected);
    tracer.detach().unwrap();
    upgrade(Options::default()).expect("the upgrade succeeds once it is detached");
}

/// A successor must run at the same kind of hook, whatever its name.
#[test]
fn a_successor_of_another_type_is_refused() {
    let old = typed(HASH, KEY, &[field("a", 4)], 4);
    let mut new = old.clone();
    new.programs[0].section = "map_trace/state/UPDATE_ELEM".into();
    new.programs[0].insns = hitless_isa::asm::assemble("r0 = 0\nexit").unwrap();
    is_refused(
        &old,
        &new,
        "upgrade refused: program commands: the new object has no program of this name and type for hook xdp",
    );
}

/// The old object is freed as soon as its holder lets go of it, and a refused new one at once.
#[test]
fn nothing_is_left_behind() {
    let old = typed(HASH, KEY, &[field("a", 4)], 4);
    let Running { runtime, object, _link } = Running::new(&old);
    let (map, program) = (Arc::downgrade(&object.maps()[0]), Arc::downgrade(&object.programs()[0]));
    let new = typed(HASH, KEY, &[field("a", 8)], 4);
    let (upgraded, _) = Upgrade::new(&runtime, &object, &new, Options::default())
        .run(&mut |_| {})
        .unwrap();
    assert!(map.upgrade().is_some());
    drop(object);
    assert!(
        map.upgrade().is_none() && program.upgrade().is_none(),
        "the old object is still held"
    );
    let map = Arc::downgrade(&upgraded.maps()[0]);
    drop((upgraded, _link, runtime));
    assert!(map.upgrade().is_none(), "the new object outlives its runtime");
}
