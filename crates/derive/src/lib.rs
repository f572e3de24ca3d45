//! Derives of [hitless](https://docs.rs/hitless): what Rust structs are to BPF programs.
//!
//! Use them through `hitless`, which exports each beside its trait and documents it there. What they make names everything by
//! its path from `::hitless`, so nothing else has to be in scope.
//!
//! [`input`] reads a struct and refuses what C cannot have; each derive has a file of its own.
#![forbid(unsafe_code)]

mod btf_type;
mod input;
mod value;

use proc_macro::TokenStream;

/// Derives `hitless::BtfType` for a `#[repr(C)]` struct: what it is to BPF programs.
#[proc_macro_derive(BtfType, attributes(btf))]
pub fn btf_type(input: TokenStream) -> TokenStream {
    derive(input, btf_type::derive)
}

/// Derives `hitless::Value` for a `#[repr(C)]` struct without padding: a key or value of maps. It is
/// `hitless::BtfType`, and `Pod` and `Zeroable` of bytemuck.
#[proc_macro_derive(Value, attributes(btf))]
pub fn value(input: TokenStream) -> TokenStream {
    derive(input, value::derive)
}

fn derive(input: TokenStream, make: fn(&input::Input) -> syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    let parsed = syn::parse(input).and_then(|input| input::Input::parse(&input));
    let made = parsed.and_then(|input| make(&input));
    made.unwrap_or_else(|error| error.to_compile_error()).into()
}
