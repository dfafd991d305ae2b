use std::io::Read as _;

use flate2::read::GzDecoder;
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

/// Bytes before a message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// The message of a request, and whether it came compressed. None if it cannot be read.
pub(super) fn message(protocol: &str, headers: &HeaderMap, body: Bytes) -> Option<(Bytes, bool)> {
    let is_gzip = |name: &str| headers.get(name).is_some_and(|value| value == "gzip");
    let (message, is_compressed) = match protocol {
        "grpc" => {
            let is_compressed = *body.first()? == 1;
            if is_compressed && !is_gzip("grpc-encoding") {
                return None;
            }
            (body.slice(GRPC_PREFIX.min(body.len())..), is_compressed)
        }
        _ => (body, is_gzip(CONTENT_ENCODING.as_str())),
    };
    if !is_compressed {
        return Some((message, false));
    }
    let mut decompressed = Vec::new();
    let mut decoder = GzDecoder::new(&*message);
    decoder.read_to_end(&mut decompressed).ok()?;
    Some((decompressed.into(), true))
}
