//! `Context`: the struct is what programs are given, as it is.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Result};

use crate::btf_type::describe;
use crate::input::Input;

pub(crate) fn derive(input: &Input) -> Result<TokenStream> {
    let Input {
        ident,
        generics,
        verdict,
        fields,
        ..
    } = input;
    if let Some(second) = generics.params.iter().nth(1) {
        return Err(Error::new_spanned(second, "a context borrows for one lifetime"));
    }
    let described = describe(input);
    let verdict = verdict.as_ref().map_or_else(|| quote!(i32), |ty| quote!(#ty));
    let borrows = !generics.params.is_empty();
    let (frame, given, any) = if borrows {
        (quote!(#ident<'static>), quote!(#ident<'input>), quote!(#ident<'_>))
    } else {
        (quote!(#ident), quote!(#ident), quote!(#ident))
    };
    let lend = if borrows {
        quote! {
            // SAFETY: the same struct but for a lifetime, which the callee does not outlive.
            run(unsafe { &mut *::core::ptr::from_mut(input).cast() })
        }
    } else {
        quote!(run(input))
    };
    let written: Vec<_> = fields.iter().filter(|field| field.writable).collect();
    let names = written.iter().map(|field| &field.name);
    let params = &generics.params;
    let checks = written.iter().map(|field| {
        let ty = &field.ty;
        quote_spanned!(ty.span()=> ::hitless::private::writable::<#ty>();)
    });
    Ok(quote! {
        #described

        const _: () = {
            #[allow(dead_code, clippy::extra_unused_lifetimes)]
            fn writable<#params>() {
                #(#checks)*
            }
        };

        // SAFETY: the frame is the struct that is described, and holds the borrows of what its pointers name. What is writable may hold
        // any bytes, as just checked.
        unsafe impl ::hitless::context::Context for #frame {
            type Input<'input> = #given;
            type Frame = #frame;
            type Verdict = #verdict;
            const WRITABLE: &'static [&'static str] = &[#(#names),*];

            fn describe(types: &mut ::hitless::btf::Builder) -> ::core::option::Option<::hitless::btf::TypeId> {
                ::core::option::Option::Some(<#frame as ::hitless::BtfType>::describe(types))
            }

            unsafe fn with_frame<R>(input: &mut #any, run: impl ::core::ops::FnOnce(&mut #frame) -> R) -> R {
                #lend
            }

            fn initial() -> #verdict {
                <#verdict as ::hitless::context::Verdict>::INITIAL
            }

            fn combine(verdict: &mut #verdict, result: u64) -> ::core::ops::ControlFlow<()> {
                ::hitless::context::Verdict::combine(verdict, result as i32)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_has_one_lifetime() {
        let input = syn::parse_str("#[repr(C)] struct S<'a, 'b> { a: Bytes<'a>, b: Bytes<'b> }").unwrap();
        let error = derive(&Input::parse(&input).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "a context borrows for one lifetime");
    }
}
