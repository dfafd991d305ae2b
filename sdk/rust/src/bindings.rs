//! What `wit-bindgen` makes of the contract. Not for authors: the types of the
//! crate's root say the same more pleasantly, and change less.
#![allow(missing_docs, clippy::all)]

wit_bindgen::generate!({
    world: "strategy",
    path: "../../wit/strategy/0.1.0",
    additional_derives: [PartialEq],
    pub_export_macro: true,
    default_bindings_module: "hotswap_sdk::bindings",
});
