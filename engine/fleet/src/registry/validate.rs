//! Validates what nodes report of themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hotswap_core::{Environment, NodeId, NodeLabels, Selector, Timestamp};
use hotswap_protocol::Registration;
use hotswap_store::NodeRecord;
use reqwest::Url;

use super::error::Error;
use super::membership::environment_of;

// Lengths are in bytes. What nodes report is stored for good and shown in lists.
const MAX_URL: usize = 512;
const MAX_ZONE: usize = 128;
const MAX_REASON: usize = 512;
const MAX_KEY: usize = 128;

/// Validates a registration. Returns its record and the URL of the node's control API. A node
/// that names no environment belongs to the one among `selectors` that matches its labels.
pub(super) fn validate_registration(
    id: NodeId,
    registration: Registration,
    selectors: &BTreeMap<Environment, Selector>,
    now: Timestamp,
) -> Result<(NodeRecord, Url), Error> {
    let control_url = parse_control_url(&registration.control_url)?;
    parse_url("dataUrl", &registration.data_url, &["http", "https"])?;
    for (field, key) in [
        ("boot", &registration.boot),
        ("instance", &registration.instance),
    ] {
        let key = key.as_deref().unwrap_or_default();
        check_length(field, key, MAX_KEY)?;
        // It is sent back in a header.
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Invalid(format!(
                "{field}: it is not visible ASCII; send a random text such as a UUID"
            )));
        }
    }
    if let Some(zone) = &registration.zone {
        check_length("zone", zone, MAX_ZONE)?;
    }
    let labels = NodeLabels::new(registration.zone.as_deref(), &registration.labels);
    labels
        .check()
        .map_err(|error| Error::Invalid(format!("labels: {error}")))?;
    let environment = environment_of(registration.environment.as_deref(), labels, selectors)?;
    let record = NodeRecord {
        id,
        environment,
        zone: registration.zone,
        labels: registration.labels,
        control_url: registration.control_url,
        data_url: registration.data_url,
        registered_at: now,
        instance: registration.instance,
    };
    Ok((record, control_url))
}

/// Parses the URL of a node's control API.
pub(super) fn parse_control_url(text: &str) -> Result<Url, Error> {
    parse_url("controlUrl", text, &["http", "https"])
}

/// Checks a URL of a node that a registry or a file names.
///
/// # Errors
/// One sentence about what is wrong. It does not repeat the URL.
pub(crate) fn check_node_url(text: &str) -> Result<(), String> {
    match parse_url("url", text, &["http", "https"]) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string().replacen("url: ", "", 1)),
    }
}

/// Checks that a node on another machine does not register an address of this one: the engine
/// would send its orders, and the node token, to whatever listens here. `peer` is the address
/// that the registration comes from.
///
/// # Errors
/// [`Error::Invalid`], with what to change.
pub(super) fn check_peer(registration: &Registration, peer: IpAddr) -> Result<(), Error> {
    let url = parse_control_url(&registration.control_url)?;
    let is_local = url.host_str() == Some("localhost")
        || host_ip(&url).is_some_and(|ip| ip.to_canonical().is_loopback());
    if is_local && !peer.to_canonical().is_loopback() {
        return Err(Error::Invalid(format!(
            "controlUrl: {} leads from the engine to the engine's own machine, and the node is at \
             {peer}; start the node with --control and --data on an address that the engine can \
             reach, or with --advertise",
            registration.control_url
        )));
    }
    Ok(())
}

fn host_ip(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// Truncates the reason that a node gives for its health.
pub(crate) fn truncate_reason(mut text: String) -> String {
    if text.len() > MAX_REASON {
        text.truncate(text.floor_char_boundary(MAX_REASON));
        text.push('…');
    }
    text
}

fn parse_url(field: &str, text: &str, schemes: &[&str]) -> Result<Url, Error> {
    check_length(field, text, MAX_URL)?;
    let allowed = schemes.join(" or ");
    // The error does not contain the text: it might hold a password.
    let invalid = |reason: &str| {
        Error::Invalid(format!(
            "{field}: {reason}; write it as {allowed}://host:port"
        ))
    };
    let url = Url::parse(text).map_err(|error| invalid(&format!("it is not a URL ({error})")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(invalid(&format!(
            "the scheme '{}' is not supported",
            url.scheme()
        )));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("it has no host"));
    }
    if host_ip(&url).is_some_and(|ip| ip.is_unspecified()) {
        return Err(Error::Invalid(format!(
            "{field}: all addresses of a machine are none to reach it by; start the node with \
             --advertise and the host name or address by which the engine reaches it"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it has a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it has a query or a fragment"));
    }
    Ok(url)
}

fn check_length(what: &str, text: &str, max: usize) -> Result<(), Error> {
    let length = text.len();
    if length <= max {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{what} is {length} bytes long; give at most {max}"
    )))
}
