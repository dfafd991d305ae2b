//! Events as the server has them.

use hotswap_core::Timestamp;

use super::error::Error;
use crate::stored_event::StoredEvent;

/// Reads an event of a deployment: `position date token`, a line feed, and the body.
pub(super) fn read_event(seq: u64, row: &[u8]) -> Result<StoredEvent<'_>, Error> {
    let (head, body) = split(row)?;
    let mut words = head.split(' ');
    Ok(StoredEvent {
        seq,
        position: number(words.next())?,
        at: Timestamp::from_millis(number(words.next())?),
        body,
    })
}

/// Reads an event of an environment: `date environment`, a line feed, and the body.
pub(super) fn read_environment_event(row: &[u8]) -> Result<(Timestamp, &str, &[u8]), Error> {
    let (head, body) = split(row)?;
    let mut words = head.split(' ');
    let at = Timestamp::from_millis(number(words.next())?);
    let environment = words.next();
    let environment = environment.ok_or(Error::Answer("an event has no environment"))?;
    Ok((at, environment, body))
}

fn split(row: &[u8]) -> Result<(&str, &[u8]), Error> {
    let end = row.iter().position(|byte| *byte == b'\n');
    let (head, rest) = end
        .and_then(|end| row.split_at_checked(end))
        .ok_or(Error::Answer("an event has no head"))?;
    let head =
        str::from_utf8(head).map_err(|_| Error::Answer("the head of an event is no text"))?;
    Ok((head, rest.get(1..).unwrap_or_default()))
}

fn number(word: Option<&str>) -> Result<u64, Error> {
    word.and_then(|word| word.parse().ok())
        .ok_or(Error::Answer("the head of an event lacks a number"))
}
