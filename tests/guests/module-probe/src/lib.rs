//! A module that behaves as the request's path says, so that a test can have it do
//! anything a module may do to its node.
//!
//! | path | what it does |
//! |---|---|
//! | `/status/503` | answers with that status |
//! | `/trap` | traps before an answer |
//! | `/trap-late` | traps after half of the answer |
//! | `/silent` | returns without an answer |
//! | `/spin` | never returns |
//! | `/sleep/200` | waits that many milliseconds, then answers |
//! | `/memory/64` | allocates that many MiB, then answers |
//! | `/echo` | answers with the request's body, piece by piece |
//! | `/drip/5` | answers in that many pieces, 20 ms apart |
//!
//! Any other path is answered with 200 and the path.

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
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let what = parts.next().unwrap_or_default();
        let number: u64 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let status = u16::try_from(number).unwrap_or(500);
        match what {
            "status" => respond(answer, status, |_| {}),
            "trap" => panic!("as the path said"),
            "trap-late" => respond(answer, 200, |stream| {
                let _ = stream.write_all(b"half");
                let _ = stream.blocking_flush();
                panic!("as the path said");
            }),
            "silent" => {}
            "spin" => loop {
                black_box(0);
            },
            "sleep" => {
                wait(number);
                respond(answer, 200, |_| {});
            }
            "memory" => {
                let bytes = usize::try_from(number << 20).expect("within 32 bits");
                black_box(vec![1_u8; bytes]);
                respond(answer, 200, |_| {});
            }
            "echo" => respond(answer, 200, |stream| {
                let body = request.consume().expect("a body is taken once");
                let mut input = body.stream().expect("a stream is taken once");
                let mut piece = vec![0; 64 << 10];
                while let Ok(length @ 1..) = Read::read(&mut input, &mut piece) {
                    if stream.write_all(&piece[..length]).is_err() {
                        return;
                    }
                }
            }),
            "drip" => respond(answer, 200, |stream| {
                for piece in 0..number {
                    wait(20);
                    let _ = writeln!(stream, "{piece}");
                    let _ = stream.blocking_flush();
                }
            }),
            _ => respond(answer, 200, |stream| {
                let _ = stream.write_all(path.as_bytes());
            }),
        }
    }
}

fn respond(answer: ResponseOutparam, status: u16, write: impl FnOnce(&mut OutputStream)) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("a body is taken once");
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().expect("a stream is taken once");
    write(&mut stream);
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn wait(millis: u64) {
    subscribe_duration(millis * 1_000_000).block();
}
