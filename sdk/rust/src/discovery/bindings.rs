//! Types and functions that `wit-bindgen` generates from the contract.
#![allow(missing_docs, clippy::all)]

wit_bindgen::generate!({
    world: "discovery",
    path: "../../wit/discovery/0.1.0",
    additional_derives: [PartialEq],
    additional_derives_ignore: ["stream-error"],
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "hotswap_sdk::discovery::bindings",
});
