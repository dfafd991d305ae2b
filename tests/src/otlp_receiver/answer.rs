use std::convert::Infallible;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

pub(super) type Body = BoxBody<Bytes, Infallible>;

/// `UNAVAILABLE` of gRPC.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// A success, with this message.
pub(super) fn success(protocol: &str, message: Vec<u8>) -> Response<Body> {
    if protocol != "grpc" {
        let frames = vec![Frame::data(message.into())];
        return response(StatusCode::OK, "application/x-protobuf", frames);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend(message);
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let frames = vec![Frame::data(bytes.into()), Frame::trailers(trailers)];
    response(StatusCode::OK, "application/grpc", frames)
}

/// Says that the collector takes nothing now.
pub(super) fn unavailable(protocol: &str) -> Response<Body> {
    if protocol != "grpc" {
        return failure(StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut response = response(StatusCode::OK, "application/grpc", Vec::new());
    response.headers_mut().insert("grpc-status", UNAVAILABLE);
    response
}

/// A failure of HTTP.
pub(super) fn failure(status: StatusCode) -> Response<Body> {
    response(status, "text/plain", Vec::new())
}

fn response(
    status: StatusCode,
    media_type: &'static str,
    frames: Vec<Frame<Bytes>>,
) -> Response<Body> {
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    let body = StreamBody::new(stream::iter(frames));
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
