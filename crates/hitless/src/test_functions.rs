//! The functions that Linux has for trying out programs that are attached to functions (`net/bpf/test_run.c` of 6.18).
//!
//! Running such a program by itself runs no program: it calls these functions, and whatever is attached to them runs. So a
//! program in section `fentry/bpf_fentry_test1` is attached ([`Runtime::attach_by_section`]) before it is tried out. Here their
//! hooks are made when something is attached to them, and their types are among the runtime's own.

use crate::context::{Arguments, Context, Fentry, Fexit, FmodRet};
use crate::hook::{Hook, RunError};
use crate::runtime::{Control, Inner, Runtime};

/// An argument of a call.
#[derive(Clone, Copy)]
enum Argument {
    Number(u64),
    /// The address of eight bytes that are zero.
    Zeros,
    /// The address of the number that the function changes.
    Counter,
}

use Argument::{Counter, Number, Zeros};

/// A function, with what it is called with.
pub(crate) struct TestFunction {
    pub(crate) name: &'static str,
    /// Names and types, as in C.
    pub(crate) params: &'static [(&'static str, &'static str)],
    arguments: &'static [Argument],
    result: i64,
}

const fn function(
    name: &'static str,
    params: &'static [(&'static str, &'static str)],
    arguments: &'static [Argument],
    result: i64,
) -> TestFunction {
    TestFunction {
        name,
        params,
        arguments,
        result,
    }
}

/// Those for programs at the entry and at the return of functions.
const OBSERVED: [TestFunction; 10] = [
    function("bpf_fentry_test1", &[("a", "int")], &[Number(1)], 2),
    function(
        "bpf_fentry_test2",
        &[("a", "int"), ("b", "u64")],
        &[Number(2), Number(3)],
        5,
    ),
    function(
        "bpf_fentry_test3",
        &[("a", "char"), ("b", "int"), ("c", "u64")],
        &[Number(4), Number(5), Number(6)],
        15,
    ),
    function(
        "bpf_fentry_test4",
        &[("a", "void *"), ("b", "char"), ("c", "int"), ("d", "u64")],
        &[Number(7), Number(8), Number(9), Number(10)],
        34,
    ),
    function(
        "bpf_fentry_test5",
        &[
            ("a", "u64"),
            ("b", "void *"),
            ("c", "short int"),
            ("d", "int"),
            ("e", "u64"),
        ],
        &[Number(11), Number(12), Number(13), Number(14), Number(15)],
        65,
    ),
    function(
        "bpf_fentry_test6",
        &[
            ("a", "u64"),
            ("b", "void *"),
            ("c", "short int"),
            ("d", "int"),
            ("e", "void *"),
            ("f", "u64"),
        ],
        &[Number(16), Number(17), Number(18), Number(19), Number(20), Number(21)],
        111,
    ),
    function(
        "bpf_fentry_test7",
        &[("arg", "struct bpf_fentry_test_t *")],
        &[Number(0)],
        0,
    ),
    function(
        "bpf_fentry_test8",
        &[("arg", "struct bpf_fentry_test_t *")],
        &[Zeros],
        0,
    ),
    function("bpf_fentry_test9", &[("a", "u32 *")], &[Zeros], 0),
    function("bpf_fentry_test10", &[("a", "const void *")], &[Number(0)], 0),
];

/// Those for programs that decide a function's result. Each adds one to the number that its second argument points to.
const MODIFIED: [TestFunction; 2] = [
    function(
        "bpf_modify_return_test",
        &[("a", "int"), ("b", "int *")],
        &[Number(1), Counter],
        4,
    ),
    function(
        "bpf_modify_return_test2",
        &[
            ("a", "int"),
            ("b", "int *"),
            ("c", "short int"),
            ("d", "void *"),
            ("e", "char"),
            ("f", "void *"),
            ("g", "int"),
        ],
        &[
            Number(1),
            Counter,
            Number(3),
            Number(4),
            Number(5),
            Number(6),
            Number(7),
        ],
        29,
    ),
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static TestFunction> {
    OBSERVED.iter().chain(&MODIFIED)
}

impl Control {
    /// The hook that a section of a test function's means, made if it is not there yet.
    pub(crate) fn test_hook(&mut self, section: &str, name: &str) -> Option<usize> {
        all().find(|function| function.name == name)?;
        match section {
            Fentry::SECTION => Some(self.hook_index::<Fentry>(name)),
            Fexit::SECTION => Some(self.hook_index::<Fexit>(name)),
            FmodRet::SECTION => Some(self.hook_index::<FmodRet>(name)),
            _ => None,
        }
    }
}

impl Runtime {
    /// Calls the functions for programs at the entry and at the return of functions.
    pub(crate) fn call_observed(&self) -> Result<(), RunError> {
        OBSERVED.iter().try_for_each(|function| self.call(function).map(drop))
    }

    /// Calls the functions for programs that decide results; returns what the kernel does: their sum, and in the upper half how
    /// many of them have run.
    pub(crate) fn call_modified(&self) -> Result<u32, RunError> {
        let (mut sum, mut ran) = (0u16, 0u32);
        for function in &MODIFIED {
            let (result, did) = self.call(function)?;
            sum = sum.wrapping_add(result as u16);
            ran += u32::from(did);
        }
        Ok(ran << 16 | u32::from(sum))
    }

    /// Calls a function, around which the programs run that are attached to it; returns its result, and whether it was run
    /// itself.
    fn call(&self, function: &TestFunction) -> Result<(i64, bool), RunError> {
        let zeros = [0u8; 8];
        let mut counter = 2u32;
        let mut arguments = Arguments::default();
        for (slot, argument) in arguments.iter_mut().zip(function.arguments) {
            *slot = match argument {
                Number(number) => *number,
                Zeros => zeros.as_ptr().expose_provenance() as u64,
                Counter => (&raw mut counter).expose_provenance() as u64,
            };
        }
        let result = function.arguments.len();
        if let Some(hook) = self.inner().test_hook::<Fentry>(function.name) {
            let mut given = arguments;
            hook.run(&mut given)?;
        }
        let decided = match self.inner().test_hook::<FmodRet>(function.name) {
            Some(hook) => {
                let mut given = arguments;
                hook.run(&mut given)?
            }
            None => 0,
        };
        let runs = decided == 0;
        if runs {
            counter += 1;
        }
        let returned = if runs { function.result } else { decided.into() };
        arguments[result] = returned.cast_unsigned();
        if let Some(hook) = self.inner().test_hook::<Fexit>(function.name) {
            hook.run(&mut arguments)?;
        }
        Ok((returned, counter != 2))
    }
}

impl Inner {
    /// The hook of a test function, if something was ever attached there.
    fn test_hook<C: Context>(&self, name: &str) -> Option<Hook<C>> {
        self.control()
            .known_hook::<C>(name)
            .map(|(index, name)| Hook::new(self.slots.clone(), index, name))
    }
}
