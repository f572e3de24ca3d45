//! The abstract domains: what is known of a value, each in its own file and tested alone.
//!
//! A domain element stands for a set of concrete values. Every operation is *sound*: the result of the concrete
//! operation on members of its arguments is a member of its result. Operations that can find a set empty return `None`
//! (bottom); there is no other representation of the empty set.

pub(crate) mod interval;
pub(crate) mod iterator;
pub(crate) mod object;
pub(crate) mod pointer;
pub(crate) mod scalar;
pub(crate) mod stack;
pub(crate) mod tnum;
pub(crate) mod value;
