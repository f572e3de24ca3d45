//! What the results of the programs at a hook come to.

use std::ops::ControlFlow;

/// What a hook makes of what its programs return. The type that [`Hook::run`](crate::Hook::run) returns for a context with
/// `#[derive(Ctx)]` and `#[hitless(verdict = ...)]`.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use hitless::Ctx;
/// use hitless::context::Verdict;
///
/// /// Every program has a vote.
/// #[derive(Debug, PartialEq)]
/// struct Votes(u32);
///
/// impl Verdict for Votes {
///     const INITIAL: Votes = Votes(0);
///
///     fn combine(&mut self, result: i32) -> ControlFlow<()> {
///         self.0 += u32::from(result != 0);
///         ControlFlow::Continue(())
///     }
/// }
///
/// #[derive(Ctx)]
/// #[repr(C)]
/// #[hitless(verdict = Votes)]
/// struct Proposal {
///     number: u64,
/// }
///
/// let hook = hitless::Runtime::default().hook::<Proposal>("proposal");
/// assert_eq!(hook.run(&mut Proposal { number: 7 }), Ok(Votes(0)));
/// ```
pub trait Verdict: Sized {
    /// That of a hook without programs.
    const INITIAL: Self;

    /// Adds what one more program returned. Breaks if the programs behind it are not to run.
    fn combine(&mut self, result: i32) -> ControlFlow<()>;
}

/// The first program that does not return 0 decides.
impl Verdict for i32 {
    const INITIAL: i32 = 0;

    fn combine(&mut self, result: i32) -> ControlFlow<()> {
        *self = result;
        if result == 0 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}
