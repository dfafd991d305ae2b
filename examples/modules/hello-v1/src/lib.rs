//! Version 1 of the sample module: `GET /world` is answered `hello from v1: /world`.

use std::io::Write as _;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a body is taken once");
        ResponseOutparam::set(answer, Ok(response));

        let mut stream = body.write().expect("a stream is taken once");
        // In one piece: each piece may wait for the client. Fails only when the client
        // has gone, who misses nothing then.
        let _ = stream.write_all(format!("hello from v1: {path}\n").as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
