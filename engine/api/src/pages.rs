//! What people look at with a browser; not part of the API.

use std::sync::LazyLock;

use poem_openapi::payload::{Html, PlainText};
use poem_openapi::{ApiResponse, OpenApi};

use crate::openapi::{openapi, swagger};

/// Swagger UI is one page with its scripts and styles in it; it calls this server alone.
const SWAGGER_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi);
static SWAGGER: LazyLock<String> = LazyLock::new(swagger);

/// Pages.
pub(crate) struct Pages;

#[derive(ApiResponse)]
enum Redirect {
    /// Elsewhere.
    #[oai(status = 307)]
    To(#[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Document {
    /// The document.
    #[oai(status = 200, content_type = "application/json")]
    Json(PlainText<String>),
}

#[derive(ApiResponse)]
enum Page {
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
    async fn root(&self) -> Redirect {
        Redirect::To("/swagger".to_owned())
    }

    #[oai(path = "/openapi.json", method = "get", hidden)]
    async fn document(&self) -> Document {
        Document::Json(PlainText(DOCUMENT.clone()))
    }

    #[oai(path = "/swagger", method = "get", hidden)]
    async fn swagger(&self) -> Page {
        Page::Html(Html(SWAGGER.clone()), SWAGGER_POLICY.to_owned())
    }
}
