//! Commands on programs.

mod bind;
mod debug;
mod errno;
mod insns;
mod kind;
mod load;
mod record;
mod test_run;

pub(crate) use bind::bind_map;
pub(crate) use load::load;
use record::Record;
pub(crate) use record::Records;
pub(crate) use test_run::test_run;
