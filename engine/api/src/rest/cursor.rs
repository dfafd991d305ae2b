//! Cursors of paged lists.

use hotswap_store::PastPlace;

use crate::problem::{FieldError, Kind, Problem};

/// A cursor that continues a list of events before the event at this position. Its first letter
/// is the version of its format, as in the cursors of deployments.
pub(super) fn cursor_before(position: u64) -> String {
    format!("p{position}")
}

/// The position of the last event of the previous page.
pub(super) fn parse_position(cursor: &str) -> Result<u64, Problem> {
    let position = cursor.strip_prefix('p').and_then(|text| text.parse().ok());
    position.ok_or_else(invalid_cursor)
}

/// A cursor that continues the history of a module before this place.
pub(super) fn cursor_before_place(place: PastPlace) -> String {
    format!("h{}-{}", place.number, place.position)
}

/// The place behind the last entry of the previous page.
pub(super) fn parse_place(cursor: &str) -> Result<PastPlace, Problem> {
    let place = cursor.strip_prefix('h').and_then(|text| {
        let (number, position) = text.split_once('-')?;
        Some(PastPlace {
            number: number.parse().ok()?,
            position: position.parse().ok()?,
        })
    });
    place.ok_or_else(invalid_cursor)
}

/// The problem of a cursor that no response had.
pub(super) fn invalid_cursor() -> Problem {
    let reason = "a cursor is the nextCursor of an earlier response";
    Problem::new(
        Kind::BadRequest,
        format!("the parameter 'cursor' is invalid: {reason}"),
    )
    .with_errors(vec![FieldError::in_parameter("cursor", reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cursor_can_be_parsed() {
        for position in [0, 1, u64::MAX] {
            assert_eq!(parse_position(&cursor_before(position)).unwrap(), position);
        }
        for invalid in ["", "p", "7", "p-1", "p18446744073709551616", "a7", "pé"] {
            assert!(parse_position(invalid).is_err(), "{invalid}");
            assert!(parse_place(invalid).is_err(), "{invalid}");
        }
        for (number, position) in [(0, 0), (7, u64::MAX)] {
            let place = PastPlace { number, position };
            assert_eq!(parse_place(&cursor_before_place(place)).unwrap(), place);
        }
    }
}
