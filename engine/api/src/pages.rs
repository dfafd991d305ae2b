//! Pages for people with a browser. They are not in the OpenAPI document.

use std::sync::LazyLock;

use poem_openapi::payload::{Html, PlainText};
use poem_openapi::{ApiResponse, OpenApi};

use crate::openapi::{openapi, swagger_ui};

/// Swagger UI is one page with inline scripts and styles, and calls only this server.
const SWAGGER_UI_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static OPENAPI: LazyLock<String> = LazyLock::new(openapi);
static SWAGGER_UI: LazyLock<String> = LazyLock::new(swagger_ui);

/// The pages.
pub(crate) struct Pages;

#[derive(ApiResponse)]
enum RedirectResponse {
    /// The page is at another path.
    #[oai(status = 307)]
    Redirect(#[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum OpenapiResponse {
    /// The OpenAPI document.
    #[oai(status = 200, content_type = "application/json")]
    Json(PlainText<String>),
}

#[derive(ApiResponse)]
enum PageResponse {
    /// The page.
    #[oai(status = 200)]
    Html(
        Html<String>,
        #[oai(header = "Content-Security-Policy")] String,
    ),
}

#[OpenApi]
impl Pages {
    #[oai(path = "/", method = "get", hidden)]
    async fn root(&self) -> RedirectResponse {
        RedirectResponse::Redirect("/swagger".to_owned())
    }

    #[oai(path = "/openapi.json", method = "get", hidden)]
    async fn openapi(&self) -> OpenapiResponse {
        OpenapiResponse::Json(PlainText(OPENAPI.clone()))
    }

    #[oai(path = "/swagger", method = "get", hidden)]
    async fn swagger_ui(&self) -> PageResponse {
        PageResponse::Html(Html(SWAGGER_UI.clone()), SWAGGER_UI_POLICY.to_owned())
    }
}
