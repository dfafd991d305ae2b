//! Extractors: what an operation takes of a request. Taking one also checks it, and
//! describes it in the OpenAPI document.

mod authorization;
mod content_type;
mod header;
mod json;
mod parameter;
mod wasm;

pub(crate) use authorization::{Admin, NodeToken, Operator, Viewer, identify};
pub(crate) use header::require_one_ascii_header;
pub(crate) use json::{JsonBody, OptionalJsonBody};
pub(crate) use parameter::Parsed;
pub(crate) use wasm::WasmBody;

use crate::problem::{Kind, Problem};

/// The problem of a body with more than `limit` bytes.
fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than the limit of {limit} bytes");
    Problem::new(Kind::PayloadTooLarge, detail)
}
