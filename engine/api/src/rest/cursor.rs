//! Cursors of paged lists.

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
        }
    }
}
