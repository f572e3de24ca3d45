//! The errors that helpers return, as the kernel numbers them.

/// The number of an error, as `errno.h` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Errno(i32);

impl Errno {
    pub(super) const fn new(number: i32) -> Errno {
        Errno(number)
    }
}

pub(super) const E2BIG: Errno = Errno(libc::E2BIG);
pub(super) const EACCES: Errno = Errno(libc::EACCES);
pub(super) const EAGAIN: Errno = Errno(libc::EAGAIN);
pub(super) const EALREADY: Errno = Errno(libc::EALREADY);
pub(super) const EBUSY: Errno = Errno(libc::EBUSY);
pub(super) const EDEADLK: Errno = Errno(libc::EDEADLK);
pub(super) const EFAULT: Errno = Errno(libc::EFAULT);
pub(super) const EINVAL: Errno = Errno(libc::EINVAL);
pub(super) const ENOENT: Errno = Errno(libc::ENOENT);
pub(super) const ENOMEM: Errno = Errno(libc::ENOMEM);
pub(super) const ENOSPC: Errno = Errno(libc::ENOSPC);
pub(super) const EPERM: Errno = Errno(libc::EPERM);
pub(super) const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);
pub(super) const EOVERFLOW: Errno = Errno(libc::EOVERFLOW);
pub(super) const ERANGE: Errno = Errno(libc::ERANGE);

/// What a helper returns: a number that is not negative, or an error's.
pub(super) fn returned(result: Result<u64, Errno>) -> u64 {
    result.unwrap_or_else(|Errno(number)| (-i64::from(number)).cast_unsigned())
}
