//! A module whose behaviour the path of the request selects. Tests use it to do everything that
//! a module can do to its node.
//!
//! | path | behaviour |
//! |---|---|
//! | `/status/503` | responds with this status |
//! | `/trap` | traps before it responds |
//! | `/trap-late` | traps after half of the response |
//! | `/silent` | returns without a response |
//! | `/spin` | never returns |
//! | `/sleep/200` | waits this many milliseconds, then responds |
//! | `/memory/64` | allocates this many MiB, then responds |
//! | `/echo` | responds with the body of the request, piece by piece |
//! | `/count` | reads the whole body of the request, then responds with its length |
//! | `/flood/8` | responds with this many MiB, as fast as the client reads |
//! | `/metrics/5` | responds with the metrics `served`, and `rows` with this value |
//! | `/header/traceparent` | responds with this header of the request |
//! | `/drip/5` | responds in this many pieces, 20 ms apart |
//!
//! It responds to any other path with status 200 and the path.

use std::hint::black_box;
use std::io::{Read, Write as _};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::OutputStream;

struct Probe;

wasip2::http::proxy::export!(Probe);

impl wasip2::exports::http::incoming_handler::Guest for Probe {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let behaviour = parts.next().unwrap_or_default();
        let number: u64 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let status = u16::try_from(number).unwrap_or(500);
        match behaviour {
            "status" => respond(response_out, status, |_| {}),
            "trap" => panic!("as the path requests"),
            "trap-late" => respond(response_out, 200, |stream| {
                let _ = stream.write_all(b"half");
                let _ = stream.blocking_flush();
                panic!("as the path requests");
            }),
            "silent" => {}
            "spin" => loop {
                black_box(0);
            },
            "sleep" => {
                wait(number);
                respond(response_out, 200, |_| {});
            }
            "memory" => {
                let bytes = usize::try_from(number << 20).expect("within 32 bits");
                black_box(vec![1_u8; bytes]);
                respond(response_out, 200, |_| {});
            }
            "echo" => respond(response_out, 200, |stream| {
                let body = request.consume().expect("the body is taken once");
                let mut input = body.stream().expect("the stream is taken once");
                let mut piece = vec![0; 64 << 10];
                while let Ok(length @ 1..) = Read::read(&mut input, &mut piece) {
                    if stream.write_all(&piece[..length]).is_err() {
                        return;
                    }
                }
            }),
            "count" => {
                let length = read_all(&request);
                respond(response_out, 200, |stream| {
                    let _ = write!(stream, "{length}");
                });
            }
            "header" => {
                let name = path.trim_start_matches("/header/").to_owned();
                let value = request.headers().get(&name).into_iter().next();
                respond(response_out, 200, |stream| {
                    let _ = stream.write_all(&value.unwrap_or_default());
                });
            }
            "flood" => respond(response_out, 200, |stream| {
                let piece = vec![b'x'; 64 << 10];
                for _ in 0..number * 16 {
                    if stream.write_all(&piece).is_err() {
                        return;
                    }
                }
            }),
            "metrics" => {
                let metrics = format!("served, rows={number}");
                let fields = [("hotswap-metrics".to_owned(), metrics.into_bytes())];
                let fields = Fields::from_list(&fields).expect("valid headers");
                respond_with(response_out, fields, 200, |_| {});
            }
            "drip" => respond(response_out, 200, |stream| {
                for piece in 0..number {
                    wait(20);
                    let _ = writeln!(stream, "{piece}");
                    let _ = stream.blocking_flush();
                }
            }),
            _ => respond(response_out, 200, |stream| {
                let _ = stream.write_all(path.as_bytes());
            }),
        }
    }
}

fn respond(response_out: ResponseOutparam, status: u16, write: impl FnOnce(&mut OutputStream)) {
    respond_with(response_out, Fields::new(), status, write);
}

fn respond_with(
    response_out: ResponseOutparam,
    headers: Fields,
    status: u16,
    write: impl FnOnce(&mut OutputStream),
) {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));
    let mut stream = body.write().expect("the stream is taken once");
    write(&mut stream);
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// The length of a body. A body that breaks off is a trap, as in a module that is not careful.
fn read_all(request: &IncomingRequest) -> usize {
    let body = request.consume().expect("the body is taken once");
    let mut input = body.stream().expect("the stream is taken once");
    let mut piece = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        match Read::read(&mut input, &mut piece) {
            Ok(0) => return length,
            Ok(more) => length += more,
            Err(error) => panic!("the body broke off: {error}"),
        }
    }
}

fn wait(millis: u64) {
    subscribe_duration(millis * 1_000_000).block();
}
