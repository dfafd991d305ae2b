//! Cursors and links of paged lists.

use hotswap_core::{DeploymentId, Environment, ModuleName, Status};
use hotswap_store::Query;

use crate::problem::Problem;
use crate::rest::cursor::invalid_cursor;

/// A cursor that continues a list after this deployment. Its first letter is the version of
/// its format, so that a later release can add others.
pub(super) fn cursor_after(id: DeploymentId) -> String {
    format!("a{}", id.to_string().replace('-', ""))
}

/// The last deployment of the previous page.
pub(super) fn parse_cursor(cursor: &str) -> Result<DeploymentId, Problem> {
    let id = cursor.strip_prefix('a').and_then(|id| id.parse().ok());
    id.ok_or_else(invalid_cursor)
}

/// The header `Link` for the next page. Needs no escaping: no value has characters that a URL
/// would have to escape.
pub(super) fn next_link(query: &Query, cursor: &str) -> String {
    let mut url = format!("/api/v1/deployments?limit={}", query.limit);
    let filters = [
        (
            "environment",
            query.environment.as_ref().map(Environment::as_str),
        ),
        ("module", query.module.as_ref().map(ModuleName::as_str)),
        ("status", query.status.map(Status::as_str)),
        ("cursor", Some(cursor)),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            url.push_str(&format!("&{name}={value}"));
        }
    }
    format!("<{url}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cursor_can_be_parsed() {
        let id = DeploymentId::generate();
        assert_eq!(parse_cursor(&cursor_after(id)).unwrap(), id);
        for invalid in ["", "a", "b0199e1f35b5c7d5e9d526f1f3a3e8a10", "0199", "aé"] {
            assert!(parse_cursor(invalid).is_err(), "{invalid}");
        }
    }
}
