//! Helpers that read text, and checksums.

use crate::both::Both;

/// What programs read: four numbers, then text.
fn input(words: &[u64], text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    for (to, word) in bytes.chunks_mut(8).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(text);
    bytes
}

/// Numbers without a pattern, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

#[test]
fn numbers() {
    let Some(mut both) = Both::load("helpers_text") else {
        return;
    };
    let mut random = Random(1);
    let parts = [
        " ",
        "\t",
        "\n",
        "-",
        "+",
        "0",
        "0x",
        "0X",
        "1",
        "7",
        "8",
        "9",
        "a",
        "F",
        "g",
        "z",
        "\0",
        "\u{a0}",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "00000000000000000000000000000000000000",
    ];
    for turn in 0..600 {
        let flags = [0, 8, 10, 16, 2, 17, 1 << 33, 0, 10, 16][turn % 10];
        let mut text = String::new();
        for _ in 0..=random.below(5) {
            text += random.pick(&parts);
        }
        both.agree("numbers", &input(&[flags], text.as_bytes()));
    }
}

#[test]
fn comparison() {
    let Some(mut both) = Both::load("helpers_text") else {
        return;
    };
    for text in [
        "constant",
        "constan",
        "constants",
        "constanT",
        "constant\0more",
        "\0",
        "a",
        "z",
        "\u{ff}",
        "conz",
    ] {
        both.agree("compare", &input(&[], text.as_bytes()));
    }
}

#[test]
fn checksums() {
    let Some(mut both) = Both::load("helpers_text") else {
        return;
    };
    let mut random = Random(7);
    for turn in 0..400 {
        let text: Vec<u8> = (0..480)
            .map(|_| random.below(256) as u8 * (turn % 3 > 0) as u8)
            .collect();
        let mut size = || (random.below(60) * 4 + (random.below(16) == 0) as usize) as u64;
        let (from, to) = (size(), size());
        let seed = [0, 0xffff, 0xffff_ffff, random.below(1 << 31) as u64][turn % 4];
        both.agree("checksum", &input(&[from, to, seed], &text));
    }
}

#[test]
fn memory_that_is_there_or_not() {
    let Some(mut both) = Both::load("helpers_text") else {
        return;
    };
    for text in [
        &b"short\0rest"[..],
        b"0123456789012345678901234567890123456789012345678901234567890123456789",
        b"",
    ] {
        let result = both.run("probe", &input(&[1, 2, 3, 4], text));
        let (here, there) = result;
        let expected = there.answers();
        assert_eq!(expected[0], 0);
        // In a process there is one address space.
        for here in here {
            assert_eq!(here.answers(), expected);
            assert_eq!(
                here.bytes("bytes").escape_ascii().to_string(),
                there.bytes("bytes").escape_ascii().to_string()
            );
        }
    }
}
