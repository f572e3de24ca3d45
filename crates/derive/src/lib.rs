//! Derives of [hitless](https://docs.rs/hitless): what Rust structs are to BPF programs.
//!
//! Use them through `hitless`, which exports each beside its trait and documents it there. What they make names everything by
//! its path from `::hitless`, so nothing else has to be in scope.
//!
//! `input.rs` reads a struct and refuses what C cannot have; each derive has a file of its own.
#![forbid(unsafe_code)]

mod btf_type;
mod ctx;
mod input;
mod value;

use proc_macro::TokenStream;

/// Derives [`hitless::BtfType`](https://docs.rs/hitless/latest/hitless/trait.BtfType.html) for a `#[repr(C)]` struct: what it
/// is to BPF programs.
#[proc_macro_derive(BtfType, attributes(hitless))]
pub fn btf_type(input: TokenStream) -> TokenStream {
    derive(input, btf_type::derive)
}

/// Derives [`hitless::Value`](https://docs.rs/hitless/latest/hitless/trait.Value.html) for a `#[repr(C)]` struct without
/// padding, a key or value of maps: `BtfType`, and `Pod` and `Zeroable` of bytemuck.
#[proc_macro_derive(Value, attributes(hitless))]
pub fn value(input: TokenStream) -> TokenStream {
    derive(input, value::derive)
}

/// Derives [`hitless::context::Context`](https://docs.rs/hitless/latest/hitless/context/trait.Context.html), and `BtfType`,
/// for a `#[repr(C)]` struct: what a hook passes to programs.
#[proc_macro_derive(Ctx, attributes(hitless))]
pub fn ctx(input: TokenStream) -> TokenStream {
    derive(input, ctx::derive)
}

fn derive(input: TokenStream, make: fn(&input::Input) -> syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    let parsed = syn::parse(input).and_then(|input| input::Input::parse(&input));
    let made = parsed.and_then(|input| make(&input));
    made.unwrap_or_else(|error| error.to_compile_error()).into()
}
