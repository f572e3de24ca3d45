//! The same calls on maps, written down and random: results, errno, and what is written.

use proptest::prelude::*;

use crate::sides::{Attr, Side};

const BTF_LOAD: u32 = 18;
/// Where it says how long its log is.
const LOG_TRUE_SIZE: std::ops::Range<usize> = 28..32;

/// How many buffers there are, and how large each is.
const BUFFERS: usize = 4;
const BUFFER: usize = 512;

/// What a field of the attributes is set to.
#[derive(Clone, Debug)]
pub enum Value {
    U32(u32),
    U64(u64),
    /// The descriptor that so many opening calls before this one have opened.
    Fd(usize),
    /// The address of a buffer.
    Buffer(usize),
}

/// A call: its command, and what of its attributes is not zero.
#[derive(Clone, Debug)]
pub struct Call {
    pub command: u32,
    pub fields: Vec<(usize, Value)>,
    pub size: u32,
}

/// What came of a call: its result, the attributes behind it (but for addresses and descriptors), the buffers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub result: i64,
    pub attr: Vec<u8>,
    pub buffers: Vec<Vec<u8>>,
}

/// A side, what it has opened, and the memory that calls there point to.
pub struct Session {
    side: Side,
    opened: Vec<i64>,
    buffers: Vec<Vec<u8>>,
}

const ENOENT: i64 = -(libc::ENOENT as i64);
const EFAULT: i64 = -(libc::EFAULT as i64);

/// Commands that return a descriptor.
const OPENING: [u32; 6] = [0, 5, 13, 14, 18, 19];

impl Session {
    pub fn new(side: Side) -> Session {
        let buffers = (0..BUFFERS).map(|n| vec![n as u8; BUFFER]).collect();
        Session {
            side,
            opened: Vec::new(),
            buffers,
        }
    }

    pub fn fill(&mut self, buffer: usize, bytes: &[u8]) {
        self.buffers[buffer][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn buffer(&self, number: usize) -> &[u8] {
        &self.buffers[number]
    }

    /// The descriptor that so many opening calls before have opened.
    pub fn fd(&self, number: usize) -> i64 {
        self.opened[number]
    }

    pub fn address(&self, buffer: usize) -> u64 {
        self.buffers[buffer].as_ptr() as u64
    }

    pub fn name(&self) -> &'static str {
        self.side.name()
    }

    pub fn call(&mut self, call: &Call) -> Outcome {
        let mut attr = Attr::new();
        let mut hidden = Vec::new();
        for (at, value) in &call.fields {
            attr = match value {
                Value::U32(value) => attr.u32(*at, *value),
                Value::U64(value) => attr.u64(*at, *value),
                Value::Fd(number) => {
                    hidden.push((*at, 4));
                    let fd = self.opened.get(*number).map_or(u32::MAX, |fd| *fd as u32);
                    attr.u32(*at, fd)
                }
                Value::Buffer(number) => {
                    hidden.push((*at, 8));
                    attr.u64(*at, self.buffers[*number].as_mut_ptr() as u64)
                }
            };
        }
        let mut result = self.side.call(call.command, &mut attr, call.size);
        if result >= 0 && OPENING.contains(&call.command) {
            self.opened.push(result);
            result = 0;
        }
        for (at, len) in hidden {
            attr.0[at..at + len].fill(0);
        }
        Outcome {
            result,
            attr: attr.0.to_vec(),
            buffers: self.buffers.clone(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for fd in self.opened.drain(..) {
            Side::close(fd);
        }
    }
}

/// Both sides; `None`, having said why, where there is no kernel to compare with.
pub fn sessions() -> Option<(Session, Session)> {
    Some((Session::new(Side::hitless()), Session::new(Side::linux()?)))
}

fn create(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> Call {
    let numbers = [kind, key, value, entries, flags];
    let fields = (0..).zip(numbers).map(|(n, number)| (4 * n, Value::U32(number)));
    Call {
        command: 0,
        fields: fields.collect(),
        size: 72,
    }
}

/// A map of each type with elements, small enough to be filled.
fn maps() -> Vec<Call> {
    vec![
        create(1, 4, 12, 4, 0),
        create(2, 4, 5, 4, 0),
        // Linux keeps what is between the values of two CPUs.
        create(5, 4, 16, 4, 0),
        create(6, 4, 16, 4, 0),
        create(9, 4, 8, 1024, 0),
        create(11, 8, 8, 4, 1),
        create(22, 0, 8, 4, 0),
        create(23, 0, 5, 4, 0),
        create(30, 0, 8, 4096, 0),
        create(27, 0, 0, 4096, 0),
        create(3, 4, 4, 4, 0),
        create(4, 4, 4, 4, 0),
    ]
}

/// The order of a hash, and where a batch of it goes on, is nobody's business; nor which element an LRU map lets go of.
fn is_ordered(call: &Call) -> bool {
    !matches!(call.command, 4 | 24 | 25)
}

/// An element's address or key: one of the buffers, nothing, or nowhere.
fn address() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0..BUFFERS).prop_map(Value::Buffer),
        1 => Just(Value::U64(0)),
        1 => Just(Value::U64(1 << 46)),
    ]
}

fn flags() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0u64), 3 => 0..5u64, 1 => Just(32u64), 1 => Just(1 << 40)]
}

fn element_call() -> impl Strategy<Value = Call> {
    let command = prop_oneof![Just(1u32), Just(2), Just(2), Just(3), Just(4), Just(21), Just(22)];
    let size = prop_oneof![6 => Just(32u32), 1 => Just(24u32), 1 => Just(152u32)];
    let fd = prop_oneof![12 => Just(0usize), 1 => Just(9usize)];
    (command, fd, address(), address(), flags(), size).prop_map(|(command, fd, key, value, flags, size)| {
        let mut fields = vec![(0, Value::Fd(fd))];
        if command != 22 {
            fields.push((8, key));
        }
        if !matches!(command, 3 | 22) {
            fields.push((16, value));
        }
        if matches!(command, 1 | 2 | 21) {
            fields.push((24, Value::U64(flags)));
        }
        Call { command, fields, size }
    })
}

fn batch_call() -> impl Strategy<Value = Call> {
    (24..28u32, address(), address(), 0..6u32, flags(), flags()).prop_map(
        |(command, keys, values, count, elem, flags)| {
            let fields = vec![
                (8, Value::Buffer(3)),
                (16, keys),
                (24, values),
                (32, Value::U32(count)),
                (36, Value::Fd(0)),
                (40, Value::U64(elem)),
                (48, Value::U64(if matches!(command, 26 | 27) { 0 } else { flags })),
            ];
            Call {
                command,
                fields,
                size: 56,
            }
        },
    )
}

/// Linux gives the elements of a hash bucket by bucket, and fails if there is no room for a whole one: there is, here.
fn suited(call: &Call, map: &Call) -> Call {
    let is_hash = matches!(map.fields[0], (0, Value::U32(1 | 5 | 6 | 9)));
    let mut call = call.clone();
    for (at, value) in &mut call.fields {
        if let (32, Value::U32(count @ 1..), true) = (*at, &mut *value, is_hash && call.command < 26) {
            *count = 16;
        }
    }
    call
}

/// Bytes anywhere in the attributes of commands that make or change nothing but maps.
fn garbage_call() -> impl Strategy<Value = Call> {
    let command = prop_oneof![
        Just(0u32),
        Just(1),
        Just(2),
        Just(3),
        Just(4),
        Just(14),
        Just(15),
        Just(18),
        Just(21),
        Just(24),
        Just(26)
    ];
    let small = prop_oneof![Just(0u32), 1..64u32, Just(4096u32)];
    let fields = prop::collection::vec((0..38usize, small), 0..5);
    let size = prop_oneof![0..152u32, Just(152u32)];
    (command, fields, size).prop_map(|(command, fields, size)| Call {
        command,
        fields: fields
            .into_iter()
            .map(|(word, value)| (4 * word, Value::U32(value)))
            .collect(),
        size,
    })
}

fn compare(ours: &mut Session, linux: &mut Session, call: &Call) -> Result<(), TestCaseError> {
    let (mut found, mut expected) = (ours.call(call), linux.call(call));
    if call.command == BTF_LOAD {
        // Each says what is wrong in words of its own.
        for answer in [&mut found, &mut expected] {
            answer.attr[LOG_TRUE_SIZE].fill(0);
        }
    }
    let is_end = |result: i64| call.command == 4 && matches!(result, 0 | ENOENT | EFAULT);
    if is_end(found.result) && is_end(expected.result) {
        // Which key is the last is nobody's business.
        ours.buffers.clone_from(&linux.buffers);
        return Ok(());
    }
    prop_assert_eq!(found.result, expected.result, "{:?}: hitless left, Linux right", call);
    if is_ordered(call) {
        prop_assert_eq!(&found.attr, &expected.attr, "{:?}: hitless left, Linux right", call);
        prop_assert_eq!(
            &found.buffers,
            &expected.buffers,
            "{:?}: hitless left, Linux right",
            call
        );
    } else {
        // What was written may differ in order: go on with the same.
        ours.buffers.clone_from(&linux.buffers);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_on_elements(calls in prop::collection::vec(element_call(), 1..40)) {
        for map in maps() {
            let Some((mut ours, mut linux)) = sessions() else { return Ok(()) };
            compare(&mut ours, &mut linux, &map)?;
            for call in &calls {
                compare(&mut ours, &mut linux, call)?;
            }
        }
    }

    #[test]
    fn random_batches(calls in prop::collection::vec(batch_call(), 1..12)) {
        for map in maps() {
            let Some((mut ours, mut linux)) = sessions() else { return Ok(()) };
            compare(&mut ours, &mut linux, &map)?;
            for call in &calls {
                compare(&mut ours, &mut linux, &suited(call, &map))?;
            }
        }
    }

    #[test]
    fn garbage(calls in prop::collection::vec(garbage_call(), 1..60)) {
        let Some((mut ours, mut linux)) = sessions() else { return Ok(()) };
        for call in &calls {
            compare(&mut ours, &mut linux, call)?;
        }
    }
}

/// Attributes of creation, one by one: names, flags, types of keys and values.
#[test]
fn creation() {
    let Some((mut ours, mut linux)) = sessions() else {
        return;
    };
    let mut differ = Vec::new();
    let mut check = |call: &Call| {
        let (found, expected) = (ours.call(call).result, linux.call(call).result);
        if found != expected {
            differ.push(format!("{call:?}: {found}, Linux {expected}"));
        }
    };
    for base in maps() {
        let with = |more: &[(usize, Value)], size| Call {
            fields: base.fields.iter().cloned().chain(more.iter().cloned()).collect(),
            size,
            ..base
        };
        for (at, value) in [
            (24, 1),
            (44, 1),
            (48, 1),
            (52, 1),
            (56, 1),
            (60, 1),
            (64, 1),
            (72, 1),
            (76, 1),
        ] {
            check(&with(&[(at, Value::U32(value))], 152));
        }
        for bit in 0..20 {
            let flags = 1 << bit;
            check(&with(&[(16, Value::U32(flags))], 152));
            check(&with(&[(16, Value::U32(flags)), (24, Value::U32(7))], 152));
        }
        check(&with(&[(16, Value::U32(0x18))], 152));
        for name in [*b"abc\0", *b"a b\0", *b"a.b_", *b"\xffab\0", *b"a\0?\0"] {
            check(&with(&[(28, Value::U32(u32::from_ne_bytes(name)))], 152));
            // Without an end.
            let whole = Value::U64(u64::from_ne_bytes([name[0]; 8]));
            check(&with(&[(28, whole.clone()), (36, whole)], 152));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Maps of maps: what is put in, and how that fails.
#[test]
fn maps_of_maps() {
    let Some((mut ours, mut linux)) = sessions() else {
        return;
    };
    for (buffer, bytes) in [(0, 0u32), (1, 7)] {
        ours.fill(buffer, &bytes.to_ne_bytes());
        linux.fill(buffer, &bytes.to_ne_bytes());
    }
    let inner = |call: Call| Call {
        fields: call.fields.into_iter().chain([(20, Value::Fd(0))]).collect(),
        ..call
    };
    let mut calls = vec![create(2, 4, 8, 2, 0), create(2, 4, 16, 2, 0)];
    calls.extend([12, 13].map(|kind| inner(create(kind, 4, 4, 4, 0))));
    calls.push(create(12, 4, 4, 4, 0));
    calls.push(inner(create(12, 4, 8, 4, 0)));
    let mut differ = Vec::new();
    for call in &calls {
        let (found, expected) = (ours.call(call).result, linux.call(call).result);
        if found != expected {
            differ.push(format!("{call:?}: {found}, Linux {expected}"));
        }
    }
    for outer in [2, 3] {
        for key in [0, 1] {
            for inner in [0, 1, 2, 9] {
                let fd = |session: &Session| session.opened.get(inner).map_or(u32::MAX, |fd| *fd as u32);
                let (of_ours, of_linux) = (fd(&ours), fd(&linux));
                ours.fill(2, &of_ours.to_ne_bytes());
                linux.fill(2, &of_linux.to_ne_bytes());
                for flags in [0, 1, 2, 3, 4, 5] {
                    let fields = vec![
                        (0, Value::Fd(outer)),
                        (8, Value::Buffer(key)),
                        (16, Value::Buffer(2)),
                        (24, Value::U64(flags)),
                    ];
                    let call = Call {
                        command: 2,
                        fields,
                        size: 32,
                    };
                    let (found, expected) = (ours.call(&call).result, linux.call(&call).result);
                    if found != expected {
                        differ.push(format!(
                            "map {outer}, inner {inner}: {call:?}: {found}, Linux {expected}"
                        ));
                    }
                }
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
