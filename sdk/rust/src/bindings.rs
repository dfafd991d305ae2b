//! Types and functions that `wit-bindgen` generates from the contract. Authors use the types
//! in the crate root instead: these are easier to use and change less.
#![allow(missing_docs, clippy::all)]

wit_bindgen::generate!({
    world: "strategy",
    path: "../../wit/strategy/0.1.0",
    additional_derives: [PartialEq],
    pub_export_macro: true,
    default_bindings_module: "hotswap_sdk::bindings",
});
