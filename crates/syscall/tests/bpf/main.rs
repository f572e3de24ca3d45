//! `bpf(2)` over hitless, by itself and beside the running kernel. Where there is none to use, tests say that they skip.

mod commands;
mod conformance;
mod descriptors;
mod links;
mod programs;
mod sides;
