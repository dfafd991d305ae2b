use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::{RejectedRequests, ResponseBody, SharedRoutingTable};
use crate::problem::{problem, problem_response};

/// Handles a request to the data port: routes it to a version of a module, which responds.
///
/// The first label of the host names the module. If no module has that name, the first
/// segment of the path does, and the module does not see that segment.
///
/// Rejects what is not a request for a module, and counts it in `rejected`: no version is to be
/// blamed for it.
pub(crate) async fn handle(
    routing_table: SharedRoutingTable,
    rejected: &RejectedRequests,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    if let Err(response) = check_valid(&request) {
        rejected.count_malformed();
        return *response;
    }
    let version = {
        let table = routing_table.load();
        let Some(matched) = table.match_request(request.uri(), request.headers()) else {
            rejected.count_unroutable();
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
            rejected.count_unroutable();
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
    version.handle(request).await
}

/// Checks what HTTP asks of every request, before a module sees it.
fn check_valid(request: &Request<Incoming>) -> Result<(), Box<Response<ResponseBody>>> {
    if *request.method() == Method::CONNECT {
        return Err(Box::new(reject(
            StatusCode::METHOD_NOT_ALLOWED,
            "no-tunnel",
            "The node opens no tunnels",
            "it is no proxy: send another method".to_owned(),
        )));
    }
    check_host(request.uri(), request.headers()).map_err(|(name, title, detail)| {
        Box::new(reject(
            StatusCode::BAD_REQUEST,
            name,
            title,
            detail.to_owned(),
        ))
    })
}

/// Checks that a request names one host, which a module can read.
///
/// # Errors
/// Name, title and detail of the problem.
fn check_host(
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), (&'static str, &'static str, &'static str)> {
    if uri.authority().is_some() {
        return Ok(());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return Err(("no-host", "The request has no host", "send a Host header"));
    };
    let is_valid = host.is_empty() || Authority::try_from(host.as_bytes()).is_ok();
    if !is_valid || hosts.next().is_some() {
        return Err((
            "invalid-host",
            "The host of the request is not valid",
            "send one Host header with a name or an address, in ASCII, and a port if need be",
        ));
    }
    Ok(())
}

fn reject(status: StatusCode, name: &str, title: &str, detail: String) -> Response<ResponseBody> {
    problem_response(&problem(status, name, title, detail))
        .map(|body: Bytes| ResponseBody::from_bytes(body))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_names_one_valid_host() {
        let check = |uri: &str, hosts: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
            }
            check_host(&uri.parse().unwrap(), &headers).map_err(|(name, ..)| name)
        };
        for host in ["shop", "shop.example:80", "127.0.0.1:80", "[::1]:80", ""] {
            assert_eq!(check("/", &[host.as_bytes()]), Ok(()), "{host}");
        }
        assert_eq!(check("http://shop/", &[b"\xff"]), Ok(()), "the URI wins");
        assert_eq!(check("/", &[]), Err("no-host"));
        for host in [&b"\xff"[..], b"a b", b"a/b", b"a:b:c"] {
            assert_eq!(check("/", &[host]), Err("invalid-host"), "{host:?}");
        }
        assert_eq!(check("/", &[b"a", b"b"]), Err("invalid-host"));
    }
}
