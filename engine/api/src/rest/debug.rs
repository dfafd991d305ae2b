//! `/api/v1/debug`.

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::tag::Tag;
use crate::context::Context;
use crate::extract::Admin;
use crate::problem::{AUTH, Failure};
use crate::view;

/// Operations for reports of faults.
pub(super) struct Debug;

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Health")]
impl Debug {
    /// Get what a report of a fault needs
    ///
    /// Returns the configuration of the engine that answers, without secrets, and the end of its
    /// log. `hotswap debug bundle` writes it to a file, with what the other operations return.
    #[oai(path = "/debug", method = "get", operation_id = "getDebugReport")]
    async fn get(
        &self,
        _admin: Admin,
        context: Data<&Context>,
    ) -> Result<Json<view::DebugReport>, Failure<{ AUTH }>> {
        Ok(Json(view::DebugReport::from(&context.diagnostics)))
    }
}
