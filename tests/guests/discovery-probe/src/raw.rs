//! Requests that the SDK does not send, as a hostile component would write them.

use hotswap_sdk::discovery::bindings::wasi::http::outgoing_handler::handle;
use hotswap_sdk::discovery::bindings::wasi::http::types::{
    ErrorCode, Fields, Method, OutgoingRequest, Scheme,
};

/// Sends `METHOD SCHEME AUTHORITY PATH`, and says what the engine has answered: a status, or the
/// name of its error.
pub fn send(request: &str) -> String {
    let mut words = request.split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let (method, scheme) = (Method::Other(word()), Scheme::Other(word()));
    let (authority, path) = (word(), word());
    let request = OutgoingRequest::new(Fields::new());
    let is_set = request
        .set_method(&method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(&authority)))
        .and_then(|()| request.set_path_with_query(Some(&path)));
    if is_set.is_err() {
        return "no request".to_owned();
    }
    let answer = match handle(request, None) {
        Ok(answer) => answer,
        Err(code) => return describe(&code),
    };
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(answer))) => answer.status().to_string(),
        Some(Ok(Err(code))) => describe(&code),
        Some(Err(())) | None => "no answer".to_owned(),
    }
}

fn describe(code: &ErrorCode) -> String {
    match code {
        ErrorCode::HttpRequestDenied => "denied".to_owned(),
        ErrorCode::HttpProtocolError => "no such protocol".to_owned(),
        other => format!("{other:?}"),
    }
}
