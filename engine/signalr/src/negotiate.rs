//! Negotiation: how a client may connect.

use serde::{Deserialize, Serialize};

/// The newest negotiate version that the server supports.
const MAX_VERSION: i64 = 1;

/// The query string of `POST {hub}/negotiate`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NegotiateQuery {
    pub negotiate_version: Option<String>,
    pub use_stateful_reconnect: Option<String>,
}

/// The transports, and the ids to connect with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NegotiateResponse<'a> {
    negotiate_version: i64,
    connection_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_token: Option<&'a str>,
    available_transports: [AvailableTransport; 3],
    // Clients that did not ask for it fail on this field.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    use_stateful_reconnect: bool,
}

/// Why the client cannot connect. Sent with status 200, as by the reference server.
#[derive(Debug, Serialize)]
pub(crate) struct NegotiateError {
    pub error: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AvailableTransport {
    transport: &'static str,
    transfer_formats: &'static [&'static str],
}

impl<'a> NegotiateResponse<'a> {
    /// In version 0, clients connect with the connection id. Since version 1 the connection
    /// id is public, and clients connect with the secret connection token.
    pub fn new(
        version: i64,
        connection_id: String,
        connection_token: &'a str,
        use_stateful_reconnect: bool,
    ) -> Self {
        let available = |transport, transfer_formats| AvailableTransport {
            transport,
            transfer_formats,
        };
        Self {
            negotiate_version: version,
            connection_id,
            connection_token: (version > 0).then_some(connection_token),
            available_transports: [
                available("WebSockets", &["Text", "Binary"]),
                available("ServerSentEvents", &["Text"]),
                available("LongPolling", &["Text", "Binary"]),
            ],
            use_stateful_reconnect,
        }
    }
}

/// The version to use with a client that requests this one.
///
/// # Errors
/// The text for the client, where the requested version is invalid.
pub(crate) fn negotiate_version(requested: Option<&str>) -> Result<i64, String> {
    let Some(requested) = requested else {
        return Ok(0);
    };
    match requested.parse::<i64>() {
        Ok(version) if version >= 0 => Ok(version.min(MAX_VERSION)),
        Ok(version) => Err(format!(
            "The client requested version '{version}', but the server does not support this version."
        )),
        Err(_) => Err("The client requested a non-integer protocol version.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_highest_that_both_sides_support() {
        assert_eq!(negotiate_version(None), Ok(0));
        assert_eq!(negotiate_version(Some("0")), Ok(0));
        assert_eq!(negotiate_version(Some("1")), Ok(1));
        assert_eq!(negotiate_version(Some("7")), Ok(1));
        let error = |requested| negotiate_version(Some(requested)).unwrap_err();
        assert!(error("-1").contains("version '-1'"));
        assert!(error("one").contains("non-integer"));
    }

    #[test]
    fn the_connection_token_is_present_since_version_1() {
        let response = |version, stateful| {
            let response = NegotiateResponse::new(version, "id".to_owned(), "secret", stateful);
            serde_json::to_value(response).unwrap()
        };
        let version_0 = response(0, false);
        assert_eq!(version_0["connectionId"], "id");
        assert!(version_0.get("connectionToken").is_none());
        assert!(version_0.get("useStatefulReconnect").is_none());
        let version_1 = response(1, true);
        assert_eq!(version_1["connectionToken"], "secret");
        assert_eq!(version_1["useStatefulReconnect"], true);
        let transports: Vec<_> = version_1["availableTransports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|transport| transport["transport"].as_str().unwrap())
            .collect();
        assert_eq!(
            transports,
            ["WebSockets", "ServerSentEvents", "LongPolling"]
        );
    }
}
