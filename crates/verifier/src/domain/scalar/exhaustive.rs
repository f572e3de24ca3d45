//! Every operation on every pair of small sets, against what the best result would be.

use hitless_isa::{AluOp, Cond, EndOp, Width};

use super::alu::concrete;
use super::branch::holds;
use super::*;

/// The sets: all intervals of these numbers, read as signed.
const LEAST: i64 = -8;
const GREATEST: i64 = 7;

fn intervals() -> Vec<(i64, i64)> {
    let from = |min| (min..=GREATEST).map(move |max| (min, max));
    (LEAST..=GREATEST).flat_map(from).collect()
}

fn scalar((min, max): (i64, i64)) -> Scalar {
    Scalar {
        s64: Interval { min, max },
        ..Scalar::TOP
    }
    .tighten()
    .expect("not empty")
}

/// What is certainly known of numbers: their least and greatest, in both orders and both widths, and their bits.
fn best(numbers: &[u64]) -> Option<Scalar> {
    fn hull<T: Ord + Copy>(numbers: &[u64], view: impl Fn(u64) -> T) -> Option<Interval<T>> {
        let views = || numbers.iter().map(|x| view(*x));
        Some(Interval {
            min: views().min()?,
            max: views().max()?,
        })
    }
    let bits = numbers.iter().map(|x| Tnum::constant(*x)).reduce(Tnum::join)?;
    Some(Scalar {
        bits,
        u64: hull(numbers, |x| x)?,
        s64: hull(numbers, |x| x as i64)?,
        u32: hull(numbers, |x| x as u32)?,
        s32: hull(numbers, |x| x as i32)?,
    })
}

/// How often a result was as good as can be, in the view that decides whether memory can be accessed.
#[derive(Default)]
struct Score {
    best: usize,
    all: usize,
}

impl Score {
    fn add(&mut self, result: &Scalar, best: &Scalar, what: &dyn Fn() -> String) {
        assert!(best.leq(result), "{}: {result:?} lacks some of {best:?}", what());
        self.all += 1;
        self.best += usize::from(result.s64 == best.s64);
    }

    fn percent(&self) -> usize {
        100 * self.best / self.all
    }
}

#[test]
fn arithmetic_on_small_sets() {
    // Per cent of the results that are the best possible in 64 and 32 bits, not to be undercut. Sets with numbers on both
    // sides of zero are both ends of the unsigned range, of which unsigned division and shifts know little. Of shifts by too
    // much nothing is known, so only those by a count that is certain to do are judged.
    let expected = [
        (AluOp::Add, 100, 100),
        (AluOp::Sub, 100, 100),
        (AluOp::Mul, 100, 70),
        (AluOp::Div, 55, 93),
        (AluOp::SDiv, 64, 79),
        (AluOp::Or, 52, 95),
        (AluOp::And, 52, 95),
        (AluOp::Lsh, 33, 59),
        (AluOp::Rsh, 40, 79),
        (AluOp::Mod, 37, 87),
        (AluOp::SMod, 82, 90),
        (AluOp::Xor, 69, 71),
        (AluOp::Arsh, 79, 89),
    ];
    let mut report = String::new();
    let mut worse = false;
    for (op, wide, narrow) in expected {
        for (width, least) in [(Width::W64, wide), (Width::W32, narrow)] {
            let mut score = Score::default();
            for a in intervals() {
                for b in intervals() {
                    let pairs = (a.0..=a.1).flat_map(|x| (b.0..=b.1).map(move |y| (x, y)));
                    let results: Vec<u64> = pairs.map(|(x, y)| concrete(width, op, x as u64, y as u64)).collect();
                    let best = best(&results).expect("some result");
                    let result = arithmetic(width, op, &scalar(a), &scalar(b));
                    let what = || format!("{width:?} {op:?} {a:?} {b:?}");
                    if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) && b.0 < 0 {
                        assert!(best.leq(&result), "{}: {result:?} lacks some of {best:?}", what());
                    } else {
                        score.add(&result, &best, &what);
                    }
                }
            }
            worse |= score.percent() < least;
            report += &format!(
                "{op:?} {width:?}: {} % of {} are the best, expected {least}\n",
                score.percent(),
                score.all
            );
        }
    }
    println!("{report}");
    assert!(!worse, "{report}");
}

/// The set of what `operation` makes of each number of a set has every result of `concrete`.
fn unary(what: &str, operation: impl Fn(&Scalar) -> Scalar, concrete: impl Fn(u64) -> u64) {
    for a in intervals() {
        let results: Vec<u64> = (a.0..=a.1).map(|x| concrete(x as u64)).collect();
        let (best, result) = (best(&results).expect("some result"), operation(&scalar(a)));
        assert!(best.leq(&result), "{what} {a:?}: {result:?} lacks some of {best:?}");
    }
}

#[test]
fn one_operand() {
    unary("-", |a| negate(Width::W64, a), u64::wrapping_neg);
    let narrow = |x: u64| u64::from((x as u32).wrapping_neg());
    unary("- of 32 bits", |a| negate(Width::W32, a), narrow);
    for bits in [8, 16, 32] {
        let extended = |x: u64| ((x << (64 - bits)) as i64 >> (64 - bits)) as u64;
        unary("sign extension", |a| sign_extend(a, bits), extended);
    }
    for bits in [8, 16, 32, 64] {
        unary("truncation", |a| a.truncated(bits), |x| x & (u64::MAX >> (64 - bits)));
    }
    for bits in [16, 32, 64] {
        let low = |x: u64| x & (u64::MAX >> (64 - bits));
        let swapped = |x: u64| low(x).swap_bytes() >> (64 - bits);
        unary("to little endian", |a| byte_order(EndOp::ToLe, bits, a), low);
        unary("to big endian", |a| byte_order(EndOp::ToBe, bits, a), swapped);
        unary("swapped bytes", |a| byte_order(EndOp::Swap, bits, a), swapped);
    }
}

#[test]
fn sets_as_sets() {
    assert_eq!(Scalar::signed(1, 0), None);
    for a in intervals() {
        let numbers: Vec<u64> = (a.0..=a.1).map(|x| x as u64).collect();
        let best = best(&numbers).expect("some number");
        let signed = Scalar::signed(a.0, a.1).expect("some number");
        assert!(best.leq(&signed) && signed.s64 == best.s64, "{a:?}: {signed:?}");
        for b in intervals() {
            let (left, right) = (scalar(a), scalar(b));
            let subset = b.0 <= a.0 && a.1 <= b.1;
            assert!(!left.leq(&right) || subset, "{a:?} in {b:?}");
            let common = (a.0.max(b.0), a.1.min(b.1));
            match left.meet(&right) {
                None => assert!(common.0 > common.1, "{a:?} and {b:?} have something in common"),
                Some(met) => assert!((common.0..=common.1).all(|x| met.contains(x as u64)), "{a:?} and {b:?}"),
            }
        }
    }
}

const CONDS: [Cond; 11] = [
    Cond::Eq,
    Cond::Ne,
    Cond::Gt,
    Cond::Ge,
    Cond::Lt,
    Cond::Le,
    Cond::Sgt,
    Cond::Sge,
    Cond::Slt,
    Cond::Sle,
    Cond::Set,
];

#[test]
fn comparisons_of_small_sets() {
    let mut report = String::new();
    let mut worse = false;
    for cond in CONDS {
        for width in [Width::W64, Width::W32] {
            let (mut score, mut undecided) = (Score::default(), 0);
            for a in intervals() {
                for b in intervals() {
                    let pairs = || (a.0..=a.1).flat_map(move |x| (b.0..=b.1).map(move |y| (x as u64, y as u64)));
                    let (left, right): (Vec<u64>, Vec<u64>) =
                        pairs().filter(|(x, y)| holds(width, cond, *x, *y)).unzip();
                    let what = || format!("{width:?} {cond:?} {a:?} {b:?}");
                    // The other outcome loses nothing either.
                    let others = pairs().filter(|(x, y)| !holds(width, cond, *x, *y));
                    let refuted = assume(width, cond, false, &scalar(a), &scalar(b));
                    for (x, y) in others {
                        let kept = refuted.is_some_and(|(left, right)| left.contains(x) && right.contains(y));
                        assert!(kept, "not {}: {x} and {y} are lost", what());
                    }
                    match (
                        assume(width, cond, true, &scalar(a), &scalar(b)),
                        best(&left),
                        best(&right),
                    ) {
                        (None, left, _) => assert_eq!(left, None, "{}", what()),
                        (Some((left, right)), Some(best_left), Some(best_right)) => {
                            score.add(&left, &best_left, &what);
                            score.add(&right, &best_right, &what);
                        }
                        _ => undecided += 1,
                    }
                }
            }
            let least = if cond == Cond::Set { 83 } else { 100 };
            worse |= score.percent() < least || undecided > 0;
            report += &format!(
                "{cond:?} {width:?}: {} % of {}, {undecided} not decided\n",
                score.percent(),
                score.all
            );
        }
    }
    println!("{report}");
    assert!(!worse, "{report}");
}
