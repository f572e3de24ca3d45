//! Every operation on every pair of small sets, against what the best result would be.

use hitless_isa::{AluOp, Cond, Width};

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
    // sides of zero are both ends of the unsigned range, of which unsigned division and shifts know little.
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
                    score.add(&result, &best, &|| format!("{width:?} {op:?} {a:?} {b:?}"));
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
