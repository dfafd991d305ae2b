//! Version 2 of the sample module. It answers `GET /world` with `hello from v2: /world`.

use std::io::Write as _;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(response_out, Ok(response));

        let mut stream = body.write().expect("the stream is taken once");
        // Written in one piece, because each piece may wait for the client. An error means that
        // the client has disconnected, so it can be ignored.
        let _ = stream.write_all(format!("hello from v2: {path}\n").as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
