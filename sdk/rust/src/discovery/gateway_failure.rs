use serde::Deserialize;

use super::{Error, Response, error_of_status};

/// What gRPC calls the reasons of failures.
const NOT_FOUND: i64 = 5;
const PERMISSION_DENIED: i64 = 7;
const UNAVAILABLE: i64 = 14;
const UNAUTHENTICATED: i64 = 16;

/// Why a gRPC server refused, as its JSON gateway says it: in a body, or in a line of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GatewayFailure {
    /// The code of gRPC; 0 if there is none. Older gateways call that of a line `grpc_code`.
    #[serde(alias = "grpc_code")]
    pub code: i64,
    message: String,
    /// As older gateways call the message of a body.
    error: String,
}

/// A line of a stream: what it brings, or why the stream has ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GatewayLine<T> {
    result: Option<T>,
    error: Option<GatewayFailure>,
}

impl GatewayFailure {
    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        match self.message.is_empty() {
            true => &self.error,
            false => &self.message,
        }
    }

    /// The error of the contract that its code means; `server` is who said it.
    #[must_use]
    pub fn to_error(&self, server: &str) -> Error {
        let text = format!("{server} answered: {}", self.text());
        match self.code {
            NOT_FOUND => Error::NotFound,
            PERMISSION_DENIED | UNAUTHENTICATED => Error::Denied(text),
            UNAVAILABLE | 0 => Error::Unavailable(text),
            _ => Error::Protocol(text),
        }
    }

    /// An answer, if its status is 2xx.
    ///
    /// # Errors
    /// What `explain` makes of the failure, such as [`Self::to_error`]. [`error_of_status`] where
    /// the body is of something else, such as a proxy.
    pub fn check(
        answer: Response,
        explain: impl FnOnce(&Self) -> Error,
    ) -> Result<Response, Error> {
        let status = answer.status();
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let text = format!("{} answered with status {status}", answer.address());
        Err(match serde_json::from_slice(&answer.bytes()?) {
            Ok(failure) => explain(&failure),
            Err(_) => error_of_status(status, text),
        })
    }
}

impl<T> GatewayLine<T> {
    /// What the line brings; `None` if nothing.
    ///
    /// # Errors
    /// Why the stream has ended.
    pub fn result(self) -> Result<Option<T>, GatewayFailure> {
        match self.error {
            Some(failure) => Err(failure),
            None => Ok(self.result),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::from_str;

    use super::*;

    #[test]
    fn older_and_newer_gateways_are_understood() {
        for text in [
            r#"{"error":"no such lease","message":"no such lease","code":5}"#,
            r#"{"error":"no such lease","code":5}"#,
            r#"{"grpc_code":5,"http_code":404,"message":"no such lease"}"#,
        ] {
            let failure: GatewayFailure = from_str(text).expect(text);
            assert_eq!((failure.code, failure.text()), (5, "no such lease"));
        }
    }

    #[test]
    fn codes_mean_errors_of_the_contract() {
        let of = |code: i64| {
            let failure = GatewayFailure {
                code,
                message: "it says".to_owned(),
                ..GatewayFailure::default()
            };
            failure.to_error("the server")
        };
        let text = || "the server answered: it says".to_owned();
        assert_eq!(of(5), Error::NotFound);
        for (codes, error) in [
            (&[7, 16][..], Error::Denied(text())),
            (&[0, 14][..], Error::Unavailable(text())),
            (&[3, 9, 11, 99, -1][..], Error::Protocol(text())),
        ] {
            for code in codes {
                assert_eq!(of(*code), error, "{code}");
            }
        }
    }

    #[test]
    fn a_line_brings_something_nothing_or_the_end() {
        let line = |text: &str| from_str::<GatewayLine<u8>>(text).expect(text).result();
        assert_eq!(line(r#"{"result":7}"#), Ok(Some(7)));
        assert_eq!(line("{}"), Ok(None));
        let ended = line(r#"{"error":{"grpc_code":14,"message":"gone"}}"#);
        assert_eq!(ended.expect_err("the end").code, UNAVAILABLE);
    }
}
