use poem::Request;

use crate::problem::{Kind, Problem};

/// Requires a content type that `accepts` accepts. `expected` is the one to name in the
/// problem.
///
/// # Errors
/// A 415.
pub(super) fn require_content_type(
    request: &Request,
    accepts: fn(&str) -> bool,
    expected: &str,
) -> Result<(), Problem> {
    let header = request.content_type().unwrap_or_default();
    let media_type = header.split(';').next().unwrap_or_default().trim();
    if accepts(&media_type.to_ascii_lowercase()) {
        return Ok(());
    }
    let detail = match media_type {
        "" => format!(
            "the request has no content type; send the body with the header Content-Type: {expected}"
        ),
        media_type => {
            let media_type: String = media_type.chars().take(80).collect();
            format!("the content type '{media_type}' is not supported; send {expected}")
        }
    };
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}
