//! What a client and the server agree on before they connect.

use serde::{Deserialize, Serialize};

/// The newest version of the negotiation that is spoken here.
const NEWEST: i64 = 1;

/// What the client says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    pub negotiate_version: Option<String>,
    pub use_stateful_reconnect: Option<String>,
}

/// How a client may connect.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offer<'a> {
    negotiate_version: i64,
    connection_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_token: Option<&'a str>,
    available_transports: [Transport; 3],
    // A client that did not ask for it fails on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    use_stateful_reconnect: bool,
}

/// Why it may not: told with status 200, as the reference server does.
#[derive(Debug, Serialize)]
pub(crate) struct Declined {
    pub error: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Transport {
    transport: &'static str,
    transfer_formats: &'static [&'static str],
}

impl<'a> Offer<'a> {
    /// In version 0 the id is all there is to connect with; since then it is public and the
    /// token is not.
    pub fn new(version: i64, connection_id: String, token: &'a str, stateful: bool) -> Self {
        let of = |transport, transfer_formats| Transport {
            transport,
            transfer_formats,
        };
        Self {
            negotiate_version: version,
            connection_id,
            connection_token: (version > 0).then_some(token),
            available_transports: [
                of("WebSockets", &["Text", "Binary"]),
                of("ServerSentEvents", &["Text"]),
                of("LongPolling", &["Text", "Binary"]),
            ],
            use_stateful_reconnect: stateful,
        }
    }
}

/// The version that is spoken with a client that asks for this one.
pub(crate) fn version(asked: Option<&str>) -> Result<i64, String> {
    let Some(asked) = asked else { return Ok(0) };
    match asked.parse::<i64>() {
        Ok(version) if version >= 0 => Ok(version.min(NEWEST)),
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
    fn versions() {
        assert_eq!(version(None), Ok(0));
        assert_eq!(version(Some("0")), Ok(0));
        assert_eq!(version(Some("1")), Ok(1));
        assert_eq!(version(Some("7")), Ok(1));
        assert!(version(Some("-1")).unwrap_err().contains("version '-1'"));
        assert!(version(Some("one")).unwrap_err().contains("non-integer"));
    }

    #[test]
    fn the_token_is_told_where_it_is_not_the_id() {
        let told = |version, stateful| {
            let offer = Offer::new(version, "id".to_owned(), "secret", stateful);
            serde_json::to_value(offer).unwrap()
        };
        let old = told(0, false);
        assert_eq!(old["connectionId"], "id");
        assert!(old.get("connectionToken").is_none());
        assert!(old.get("useStatefulReconnect").is_none());
        let new = told(1, true);
        assert_eq!(new["connectionToken"], "secret");
        assert_eq!(new["useStatefulReconnect"], true);
        let names: Vec<_> = new["availableTransports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["transport"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["WebSockets", "ServerSentEvents", "LongPolling"]);
    }
}
