//! The layouts of the example objects against each other: what an upgrade from one to the next would do to its maps.

mod common;

use common::{example, parse};
use hitless_btf::layout::{Fate, FieldChange, LayoutDiff, compare};
use hitless_object::ObjectSpec;

fn diffs(old: &str, new: &str, map: &str) -> (Option<LayoutDiff>, LayoutDiff) {
    let (old, new) = (parse(&example(old)), parse(&example(new)));
    let types = |object: &ObjectSpec| {
        let map = object.map(map).unwrap();
        (map.key_type, map.value_type.unwrap())
    };
    let (a, b) = (old.btf.as_ref().unwrap(), new.btf.as_ref().unwrap());
    let ((old_key, old_value), (new_key, new_value)) = (types(&old), types(&new));
    let key = old_key
        .zip(new_key)
        .map(|(old, new)| compare((a, old), (b, new)).unwrap());
    (key, compare((a, old_value), (b, new_value)).unwrap())
}

fn texts(diff: &LayoutDiff) -> Vec<String> {
    diff.fields.iter().map(FieldChange::to_string).collect()
}

#[test]
fn flows_v1_to_v2() {
    let (key, value) = diffs("flows_v1", "flows_v2", "flows");
    let key = key.unwrap();
    assert_eq!(texts(&key).len(), 6);
    assert!(key.injective() && key.fields.iter().all(|field| field.fate == Fate::Moved));
    assert_eq!(key.transform.unread(), []);
    let expected = [
        "last_seen: new, zero",
        "octets (was bytes): widened from 32 to 64 bits",
        "packets: widened from 32 to 64 bits",
    ];
    assert_eq!(texts(&value), expected);
    assert_eq!(value.lossy().count(), 0);

    let mut old_key = [0u8; 40];
    old_key[0..16].fill(1); // saddr
    old_key[16..32].fill(2); // daddr
    old_key[32..34].fill(3); // sport
    old_key[34..36].fill(4); // dport
    old_key[36] = 6; // proto
    let mut new_key = [0xff; 40];
    key.transform.apply(&old_key, &mut new_key);
    let mut expected = vec![6, 0, 0, 0, 4, 4, 3, 3];
    expected.extend([2; 16]);
    expected.extend([1; 16]);
    assert_eq!(new_key, expected[..]);

    let mut new_value = [0xff; 24];
    value.transform.apply(&[1, 0, 0, 0x80, 2, 0, 0, 0], &mut new_value);
    let words: Vec<u64> = new_value
        .chunks(8)
        .map(|b| u64::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(words, [0, 2, 0x8000_0001], "last_seen, octets, packets");
}

#[test]
fn globals_of_flows() {
    let (_, bss) = diffs("flows_v1", "flows_v2", ".bss");
    let new = bss
        .fields
        .iter()
        .filter(|f| f.fate == Fate::ZeroFilled)
        .map(|f| f.path.as_str());
    assert_eq!(new.collect::<Vec<_>>(), ["new_flows"]);
    assert_eq!((bss.lossy().count(), bss.transform.new_size()), (0, 32));
}

#[test]
fn locks_start_anew_elsewhere() {
    let (_, value) = diffs("flows_lock_v1", "flows_lock_v2", "flows");
    let lock = value.fields.iter().find(|f| f.path == "lock").unwrap();
    assert_eq!(lock.fate, Fate::Reinitialised);
    assert_eq!(
        [&lock.old, &lock.new].map(|place| place.as_ref().unwrap().offset),
        [0, 16]
    );
    let mut new = [0xff; 32];
    value.transform.apply(&[1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0], &mut new);
    let words: Vec<u64> = new
        .chunks(8)
        .map(|b| u64::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(words, [0, 9, 0, 5], "last_seen, octets, lock and pad, packets");
}

#[test]
fn narrowing_is_named() {
    let (key, value) = diffs("flows_v1", "flows_narrow", "flows");
    assert!(key.unwrap().is_identity());
    let lossy: Vec<_> = value.lossy().map(FieldChange::to_string).collect();
    assert_eq!(lossy, ["packets: narrowed from 32 to 16 bits"]);
    assert!(!value.injective());
}

#[test]
fn same_object() {
    let (key, value) = diffs("flows_v2", "flows_v2", "flows");
    assert!(key.unwrap().is_identity() && value.is_identity());
}
