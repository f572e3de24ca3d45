//! Functions of the kernel's that programs call by their names.

use crate::both::Both;

const PACKET: [u8; 64] = [0; 64];

#[test]
fn iterators_of_numbers() {
    let Some(mut both) = Both::load("helpers_kfuncs") else {
        return;
    };
    let edges = [0, 1, 5, 100, 2000, -1, -3, i32::MIN, i32::MAX, 1 << 23, (1 << 23) + 1].map(i32::cast_unsigned);
    for start in edges {
        for end in edges {
            let count = i64::from(end.cast_signed()) - i64::from(start.cast_signed());
            // Not the long ones, which take long.
            if !(1 << 16..=1 << 23).contains(&count) {
                both.agree_tc("numbers", &PACKET, [start, end, 0, 0, 0]);
            }
        }
    }
}

#[test]
fn iterators_of_bits() {
    let Some(mut both) = Both::load("helpers_kfuncs") else {
        return;
    };
    for words in [0, 1, 2, 7, 8, 512] {
        for low in [0, 1, 0x8000_0001, 0x1234_5678, u32::MAX] {
            for high in [0, 0x8000_0000, 0xf0f0] {
                both.agree_tc("bits", &PACKET, [low, high, words, 0, 0]);
            }
        }
    }
}

#[test]
fn regions() {
    let Some(mut both) = Both::load("helpers_kfuncs") else {
        return;
    };
    both.agree_tc("regions", &PACKET, [7, 0, 0, 0, 0]);
}
