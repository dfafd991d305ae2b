use hotswap_core::{NodeId, Timestamp};
use hotswap_protocol::Registration;
use hotswap_store::NodeRecord;
use reqwest::Url;

use super::Error;

/// In bytes; what nodes say of themselves is kept for good and shown in lists.
const MOST_URL: usize = 512;
const MOST_ZONE: usize = 128;
const MOST_LABELS: usize = 64;
const MOST_KEY: usize = 128;
const MOST_VALUE: usize = 256;
const MOST_REASON: usize = 512;

/// The record of a registration, and where the node takes orders.
pub(super) fn record(
    id: NodeId,
    registration: Registration,
    now: Timestamp,
) -> Result<(NodeRecord, Url), Error> {
    let environment =
        registration
            .environment
            .parse()
            .map_err(|error: hotswap_core::ParseError| {
                Error::Invalid(format!("environment: {error}"))
            })?;
    let control = control_url(&registration.control_url)?;
    url("dataUrl", &registration.data_url, &["http", "https"])?;
    if let Some(zone) = &registration.zone {
        short("zone", zone, MOST_ZONE)?;
    }
    if registration.labels.len() > MOST_LABELS {
        let many = registration.labels.len();
        return Err(Error::Invalid(format!(
            "labels: there are {many}; give at most {MOST_LABELS}"
        )));
    }
    for (key, value) in &registration.labels {
        short("labels: a key", key, MOST_KEY)?;
        short("labels: a value", value, MOST_VALUE)?;
        if key.is_empty() {
            return Err(Error::Invalid("labels: a key is empty; name it".to_owned()));
        }
    }
    let record = NodeRecord {
        id,
        environment,
        zone: registration.zone,
        labels: registration.labels,
        control_url: registration.control_url,
        data_url: registration.data_url,
        registered_at: now,
    };
    Ok((record, control))
}

/// Orders go over plain HTTP: the client is built without TLS.
pub(super) fn control_url(text: &str) -> Result<Url, Error> {
    url("controlUrl", text, &["http"])
}

/// The start of what a node says of its health.
pub(super) fn reason(mut text: String) -> String {
    if text.len() > MOST_REASON {
        text.truncate(text.floor_char_boundary(MOST_REASON));
        text.push('…');
    }
    text
}

fn url(field: &str, text: &str, schemes: &[&str]) -> Result<Url, Error> {
    short(field, text, MOST_URL)?;
    let schemes_told = schemes.join(" or ");
    // The text is not repeated: it might hold a password.
    let invalid = |why: &str| {
        Error::Invalid(format!(
            "{field}: {why}; write it as {schemes_told}://host:port"
        ))
    };
    let url = Url::parse(text).map_err(|error| invalid(&format!("it is no URL, {error}")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(invalid(&format!(
            "the scheme '{}' cannot be used",
            url.scheme()
        )));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it holds a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it has a query or a fragment"));
    }
    Ok(url)
}

fn short(what: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.len() <= most {
        return Ok(());
    }
    let long = text.len();
    Err(Error::Invalid(format!(
        "{what} is {long} bytes long; give at most {most}"
    )))
}
