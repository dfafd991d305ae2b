//! Tokens in URLs. Browsers cannot set headers on a WebSocket or an event stream, so clients
//! may send the token there as `?access_token=`. URLs end up in logs and traces, so the token
//! is removed before anything else sees the request.

use percent_encoding::percent_decode_str;
use poem::http::header::AUTHORIZATION;
use poem::http::uri::PathAndQuery;
use poem::http::{HeaderMap, HeaderValue, Uri};

/// The name of the parameter in RFC 6750 and in SignalR clients.
const PARAMETER: &str = "access_token";

/// Removes the token from the query of any request. Moves it to the header `Authorization` if
/// the path allows tokens in the query and the request has no such header.
pub(crate) fn take_query_token(uri: &mut Uri, headers: &mut HeaderMap) {
    let Some(query) = uri.query() else { return };
    let is_token = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).eq(PARAMETER.bytes())
    };
    let (tokens, rest): (Vec<_>, Vec<_>) = query.split('&').partition(is_token);
    if tokens.is_empty() {
        return;
    }
    // With two tokens it is unclear which one counts.
    if let [token] = &*tokens
        && allows_query_token(uri.path())
        && !headers.contains_key(AUTHORIZATION)
        && let Some(header) = bearer(token)
    {
        headers.insert(AUTHORIZATION, header);
    }
    *uri = with_query(uri, &rest.join("&"));
}

/// Whether a path is one of those that browsers open without headers: hubs and events.
fn allows_query_token(path: &str) -> bool {
    const EVENTS: &str = "/api/v1/events";
    const DEPLOYMENTS: &str = "/api/v1/deployments/";
    const CLUSTERS: &str = "/api/v1/clusters/";
    let is_below = |path: &str, folder: &str| {
        let rest = path.strip_prefix(folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_of_one = |folder: &str| {
        let (id, rest) = path.strip_prefix(folder)?.split_once('/')?;
        Some(!id.is_empty() && is_below(rest, "events"))
    };
    path.starts_with("/hubs/")
        || is_below(path, EVENTS)
        || [DEPLOYMENTS, CLUSTERS]
            .iter()
            .any(|folder| is_of_one(folder).unwrap_or(false))
}

/// The header `Authorization` for a query parameter with a token.
fn bearer(pair: &str) -> Option<HeaderValue> {
    let (_, token) = pair.split_once('=')?;
    let token = percent_decode_str(token).decode_utf8().ok()?;
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The URI with another query.
fn with_query(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let text = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let mut parts = uri.clone().into_parts();
    // Removing a part of a valid query leaves a valid one. If it did not, the token must not
    // stay: drop the path and query altogether.
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The URI and the header `Authorization` after the token was taken.
    fn take(uri: &str, header: Option<&'static str>) -> (String, Option<String>) {
        let mut uri: Uri = uri.parse().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
        }
        take_query_token(&mut uri, &mut headers);
        let header = headers.get(AUTHORIZATION);
        let header = header.map(|header| header.to_str().unwrap().to_owned());
        (uri.to_string(), header)
    }

    #[test]
    fn the_token_moves_to_the_header_on_hubs_and_events() {
        for path in [
            "/hubs/deployments",
            "/hubs/deployments/negotiate",
            "/hubs/metrics",
            "/api/v1/events",
            "/api/v1/events/socket",
            "/api/v1/deployments/0199e1f3/events",
            "/api/v1/deployments/0199e1f3/events/socket",
            "/api/v1/clusters/qa/events",
        ] {
            let (uri, header) = take(&format!("{path}?access_token=a.b-c_d"), None);
            assert_eq!(uri, path);
            assert_eq!(header.as_deref(), Some("Bearer a.b-c_d"), "{path}");
        }
    }

    #[test]
    fn on_other_paths_the_token_is_removed_and_not_used() {
        for path in [
            "/",
            "/hubs",
            "/hubsy/x",
            "/metrics",
            "/api/v1/nodes",
            "/api/v1/eventsy",
            "/api/v1/deployments",
            "/api/v1/deployments/0199e1f3",
            "/api/v1/deployments/0199e1f3/abort",
            "/api/v1/deployments/0199e1f3/eventsy",
            "/api/v1/deployments//events",
            "/api/v1/clusters/qa",
            "/api/v1/deployments/events",
        ] {
            let (uri, header) = take(&format!("{path}?access_token=secret"), None);
            assert_eq!((uri.as_str(), header), (path, None));
        }
    }

    #[test]
    fn an_existing_header_wins() {
        let (uri, header) = take("/hubs/metrics?access_token=b", Some("Bearer a"));
        assert_eq!(uri, "/hubs/metrics");
        assert_eq!(header.as_deref(), Some("Bearer a"));
        let (uri, header) = take("/hubs/metrics?access_token=b", Some("Basic eDp5"));
        assert_eq!(uri, "/hubs/metrics");
        assert_eq!(header.as_deref(), Some("Basic eDp5"));
    }

    #[test]
    fn the_rest_of_the_query_stays() {
        for (query, left, token) in [
            ("id=7&access_token=t&x=%20y", "?id=7&x=%20y", Some("t")),
            ("access_token=t&id=7", "?id=7", Some("t")),
            ("id=7&access_token=t", "?id=7", Some("t")),
            ("access%5Ftoken=t&id=7", "?id=7", Some("t")),
            ("access_token=a%2Bb%2F%3D", "", Some("a+b/=")),
            ("access_token=a+b", "", Some("a+b")),
            ("access_token=a&access_token=b&id=7", "?id=7", None),
            ("access_token", "", None),
            ("access_token=%0d%0ax", "", None),
            ("access_token=%ff", "", None),
            ("Access_Token=t", "?Access_Token=t", None),
            ("id=7&x", "?id=7&x", None),
            ("", "?", None),
        ] {
            let (uri, header) = take(&format!("/hubs/metrics?{query}"), None);
            assert_eq!(uri, format!("/hubs/metrics{left}"), "{query}");
            let expected = token.map(|token| format!("Bearer {token}"));
            assert_eq!(header, expected, "{query}");
        }
    }

    #[test]
    fn scheme_and_host_stay() {
        let (uri, header) = take("http://engine:5000/hubs/metrics?access_token=t&a=b", None);
        assert_eq!(uri, "http://engine:5000/hubs/metrics?a=b");
        assert_eq!(header.as_deref(), Some("Bearer t"));
    }

    #[test]
    fn the_header_is_marked_sensitive() {
        let mut uri = Uri::from_static("/hubs/metrics?access_token=secret");
        let mut headers = HeaderMap::new();
        take_query_token(&mut uri, &mut headers);
        assert!(!format!("{headers:?} {uri:?}").contains("secret"));
    }
}
