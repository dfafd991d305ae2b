//! The header `x-request-id`.

use hotswap_core::new_uuid;
use poem::Request;
use poem::http::header::HeaderName;
use poem::http::{HeaderMap, HeaderValue};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// In bytes. A longer id is replaced by a new one.
const MAX_LENGTH: usize = 128;

/// The id that the client sent, or a new one. Only ids that cannot harm a log are taken.
pub(super) fn of(request: &Request) -> String {
    let sent = request.header(REQUEST_ID).filter(|id| {
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(is_harmless)
    });
    sent.map_or_else(|| new_uuid().to_string(), str::to_owned)
}

/// Sets the id in the headers of a response.
pub(super) fn set(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_harmless_id_is_taken() {
        let id_for = |sent: &str| {
            let request = Request::builder().header("x-request-id", sent).finish();
            of(&request)
        };
        assert_eq!(id_for("abc-1.2_3:4"), "abc-1.2_3:4");
        for harmful in ["", "a b", "a\tb", "<script>", &"x".repeat(129)] {
            let id = id_for(harmful);
            assert_eq!(
                id.parse::<uuid::Uuid>().map(|id| id.get_version_num()),
                Ok(7),
                "{harmful}"
            );
        }
    }
}
