//! Checks of request bodies that serde does not do. Each adds to a list of errors, so that a
//! response names everything that is wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use hotswap_core::Requester;

use crate::auth::Identity;
use crate::problem::{FieldError, Kind, Problem};

// These limits, in bytes and entries, keep the header of a journal small. It is read whenever
// the deployment is.
const MAX_TEXT: usize = 4096;
const MAX_METADATA_ENTRIES: usize = 64;
const MAX_METADATA_ENTRY: usize = 1024;
/// In bytes; the limit of RFC 5321.
const MAX_EMAIL: usize = 254;

/// The requester of a deployment: the address from the body and the subject of the token.
pub(super) fn requester(identity: &Identity, email: String) -> Requester {
    Requester {
        email,
        subject: identity.subject.clone(),
    }
}

/// Fails if there are errors.
pub(super) fn require_none(errors: Vec<FieldError>) -> Result<(), Problem> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid_body(errors))
    }
}

/// The problem of a body with these errors.
pub(super) fn invalid_body(errors: Vec<FieldError>) -> Problem {
    let detail = match &*errors {
        [error] => {
            let pointer = error.pointer.as_deref().unwrap_or_default();
            format!("{pointer}: {}", error.detail)
        }
        errors => format!(
            "{} parts of the body are invalid; see `errors`",
            errors.len()
        ),
    };
    Problem::new(Kind::InvalidRequest, detail).with_errors(errors)
}

pub(super) fn parse<T: FromStr<Err: Display>>(
    pointer: &str,
    text: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    parse_with(str::parse, pointer, text, errors)
}

pub(super) fn parse_with<T, E: Display>(
    parse: impl FnOnce(&str) -> Result<T, E>,
    pointer: &str,
    text: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    parse(text)
        .map_err(|error| errors.push(FieldError::in_body(pointer, error)))
        .ok()
}

pub(super) fn parse_optional<T: FromStr<Err: Display>>(
    pointer: &str,
    text: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    text.and_then(|text| parse(pointer, text, errors))
}

/// Checks that an address is one line with an `@` in it, which keeps the journal readable. It
/// may still be an address that receives no mail.
pub(super) fn check_email(pointer: &str, email: &str, errors: &mut Vec<FieldError>) {
    let (name, host) = email.split_once('@').unwrap_or_default();
    let is_one_word = email.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if name.is_empty() || host.is_empty() || !is_one_word || email.len() > MAX_EMAIL {
        errors.push(FieldError::in_body(
            pointer,
            format!(
                "must be an email address such as ada@example.org, of at most {MAX_EMAIL} bytes"
            ),
        ));
    }
}

pub(super) fn check_text(pointer: &str, text: Option<&str>, errors: &mut Vec<FieldError>) {
    if text.is_some_and(|text| text.len() > MAX_TEXT) {
        let detail = format!("must have at most {MAX_TEXT} bytes");
        errors.push(FieldError::in_body(pointer, detail));
    }
}

pub(super) fn check_metadata(metadata: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    if metadata.len() > MAX_METADATA_ENTRIES {
        let detail = format!("must have at most {MAX_METADATA_ENTRIES} entries");
        errors.push(FieldError::in_body("/metadata", detail));
        return;
    }
    for (name, value) in metadata {
        if name.is_empty() || name.len() + value.len() > MAX_METADATA_ENTRY {
            let detail = format!(
                "must have a name, and at most {MAX_METADATA_ENTRY} bytes in name and value"
            );
            let name: String = name.chars().take(80).collect();
            let name = name.replace('~', "~0").replace('/', "~1");
            errors.push(FieldError::in_body(format!("/metadata/{name}"), detail));
        }
    }
}
