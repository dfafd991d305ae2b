use bytes::Bytes;
use http::{StatusCode, Uri};
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{ResponseBody, SharedRoutingTable};
use crate::problem::{problem, problem_response};

/// Handles a request to the data port: routes it to a version of a module, which responds.
///
/// The first label of the host names the module. If no module has that name, the first
/// segment of the path does, and the module does not see that segment.
pub(crate) async fn handle(
    routing_table: SharedRoutingTable,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let version = {
        let table = routing_table.load();
        let Some(matched) = table.match_request(request.uri(), request.headers()) else {
            return reject(
                StatusCode::NOT_FOUND,
                "no-such-module",
                "No such module",
                "neither the first label of the host nor the first segment of the path names \
                 a module of this node"
                    .to_owned(),
            );
        };
        let Some(version) = matched.route.choose_version() else {
            return reject(
                StatusCode::SERVICE_UNAVAILABLE,
                "module-inactive",
                "The module has no active version",
                format!("no version of {} is active on this node", matched.module),
            );
        };
        if let Some(path) = matched.path {
            // Only the path changes: HTTP/2 requests also have a scheme and an authority.
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        version.clone()
    };
    if request.uri().host().is_none() && !request.headers().contains_key(http::header::HOST) {
        return reject(
            StatusCode::BAD_REQUEST,
            "no-host",
            "The request has no host",
            "send a Host header".to_owned(),
        );
    }
    version.handle(request).await
}

fn reject(status: StatusCode, name: &str, title: &str, detail: String) -> Response<ResponseBody> {
    problem_response(&problem(status, name, title, detail))
        .map(|body: Bytes| ResponseBody::from_bytes(body))
}
