//! Version 3 of the sample module, which has a fault: a tenth of its requests, at
//! random, is answered with status 500. A canary finds it out and rolls it back.

use std::io::Write as _;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::random::random::get_random_u64;

struct Hello;

wasip2::http::proxy::export!(Hello);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let fails = get_random_u64().is_multiple_of(10);
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        if fails {
            response.set_status_code(500).expect("500 is a status");
        }
        let body = response.body().expect("a body is taken once");
        ResponseOutparam::set(answer, Ok(response));

        let mut stream = body.write().expect("a stream is taken once");
        let text = if fails {
            format!("v3 failed: {path}\n")
        } else {
            format!("hello from v3: {path}\n")
        };
        // In one piece: each piece may wait for the client. Fails only when the client
        // has gone, who misses nothing then.
        let _ = stream.write_all(text.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
