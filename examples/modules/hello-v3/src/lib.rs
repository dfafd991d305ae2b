//! Version 3 of the sample module, which has a bug: it answers a random tenth of its requests
//! with status 500. A canary deployment detects this and rolls back.

use std::io::Write as _;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::random::random::get_random_u64;

struct Hello;

wasip2::http::proxy::export!(Hello);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let fails = get_random_u64().is_multiple_of(10);
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        if fails {
            response.set_status_code(500).expect("500 is a status");
        }
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(response_out, Ok(response));

        let mut stream = body.write().expect("the stream is taken once");
        let text = if fails {
            format!("v3 failed: {path}\n")
        } else {
            format!("hello from v3: {path}\n")
        };
        // Written in one piece, because each piece may wait for the client. An error means that
        // the client has disconnected, so it can be ignored.
        let _ = stream.write_all(text.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
