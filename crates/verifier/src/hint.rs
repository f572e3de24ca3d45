//! What to do about a refusal.

/// Words of messages, and what those who get them can do.
const HINTS: &[(&str, &str)] = &[
    (
        "map_value_or_null",
        "compare the result of the lookup with NULL, and use it only if it is not",
    ),
    (
        "invalid access to packet",
        "compare the address behind the last byte with data_end first, and use the pointer that was compared",
    ),
    ("R0 !read_ok", "set the result on every path to the exit"),
    (
        "!read_ok",
        "set the variable on every path; calls of helpers forget r1 to r5",
    ),
    (
        "min value is negative",
        "make the number unsigned, or compare it with zero first",
    ),
    (
        "unbounded memory access",
        "compare the index with its limit first, or mask it",
    ),
    (
        "register with unbounded min value",
        "compare the index with its limit first, or mask it",
    ),
    (
        "max value is outside",
        "compare the index with its limit first, or mask it",
    ),
    (
        "invalid access to map value",
        "keep the offset and the size of the access inside the value; compare or mask the index first",
    ),
    (
        "infinite loop detected",
        "change something in each turn that the condition of the loop depends on",
    ),
    (
        "BPF program is too large",
        "give loops fewer turns, or fewer branches inside",
    ),
    (
        "jumps is too complex",
        "give loops fewer branches, or divide the program into subprograms",
    ),
    (
        "combined stack size",
        "keep large variables in a per-CPU array with one element, or make fewer calls inside calls",
    ),
    (
        "Unreleased reference",
        "release what was acquired on every path: submit or discard the record of a ring buffer",
    ),
    (
        "write into map forbidden",
        "write to another map; this one is read-only for programs",
    ),
    (
        "pointer arithmetic",
        "compute with the offset as a number, and add it to the pointer in the end",
    ),
    ("misaligned", "copy the bytes with memcpy, or align the field"),
    (
        "while holding a lock",
        "call before the lock is taken, or after it is released",
    ),
    (
        "invalid mem access 'scalar'",
        "a number is no address; keep the pointer, and add numbers to it",
    ),
    (
        "should have been in",
        "return one of the values that programs of this type may return",
    ),
    (
        "GPL-restricted",
        "give the object a GPL-compatible license in SEC(\"license\")",
    ),
];

/// What to do about a refusal with this message.
pub(crate) fn hint(message: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .find(|(words, _)| message.contains(words))
        .map(|(_, hint)| *hint)
}
