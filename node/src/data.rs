use bytes::Bytes;
use http::{StatusCode, Uri};
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::body::Body;
use crate::modules::Modules;
use crate::problem::{problem, response};

/// Has the version whose turn it is answer a request.
///
/// The request's host says which module that is, by its first label; where no module is
/// called so, its path does, by its first segment, which the module does not see.
pub(crate) async fn answer(modules: Modules, mut request: Request<Incoming>) -> Response<Body> {
    let version = {
        let table = modules.table();
        let Some(target) = table.find(request.uri(), request.headers()) else {
            return explain(
                StatusCode::NOT_FOUND,
                "no-such-module",
                "No such module",
                "this node has no module by the first label of the host or the first segment \
                 of the path"
                    .to_owned(),
            );
        };
        let Some(version) = target.route.pick() else {
            return explain(
                StatusCode::SERVICE_UNAVAILABLE,
                "module-inactive",
                "The module has no active version",
                format!("no version of {} is active on this node", target.module),
            );
        };
        if let Some(path) = target.path {
            // The rest of the URI, where HTTP/2 has one, stays as it is.
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        version.clone()
    };
    if request.uri().host().is_none() && !request.headers().contains_key(http::header::HOST) {
        return explain(
            StatusCode::BAD_REQUEST,
            "no-host",
            "The request has no host",
            "send a Host header".to_owned(),
        );
    }
    version.answer(request).await
}

fn explain(status: StatusCode, kind: &str, title: &str, detail: String) -> Response<Body> {
    response(&problem(status, kind, title, detail)).map(|body: Bytes| Body::own(body))
}
