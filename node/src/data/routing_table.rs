use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use super::Route;

/// Maps requests to modules. Immutable: each change publishes a new table, and a request
/// uses the table that it found to its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoutingTable {
    routes: HashMap<String, Arc<Route>>,
}

/// The current routing table of a node.
pub(crate) type SharedRoutingTable = Arc<ArcSwap<RoutingTable>>;

/// The module that a request is for.
#[derive(Debug)]
pub(crate) struct RouteMatch<'a> {
    pub(crate) module: &'a str,
    pub(crate) route: &'a Route,
    /// Path and query that the module sees. `None` if they are those of the request.
    pub(crate) path: Option<PathAndQuery>,
}

impl RoutingTable {
    /// Returns the table with one route added or replaced.
    pub(crate) fn with_route(&self, module: &str, route: Arc<Route>) -> Self {
        let mut table = self.clone();
        table.routes.insert(module.to_owned(), route);
        table
    }

    /// The route of a module.
    pub(crate) fn get(&self, module: &str) -> Option<&Arc<Route>> {
        self.routes.get(module)
    }

    /// All modules and their routes, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Route>)> {
        self.routes
            .iter()
            .map(|(module, route)| (module.as_str(), route))
    }

    /// Finds the module named by the first label of the host. If there is none, finds the
    /// module named by the first segment of the path; the module does not see that segment.
    pub(crate) fn match_request(&self, uri: &Uri, headers: &HeaderMap) -> Option<RouteMatch<'_>> {
        if let Some((module, route)) =
            first_host_label(uri, headers).and_then(|label| self.get_entry(label))
        {
            return Some(RouteMatch {
                module,
                route,
                path: None,
            });
        }
        let path = uri.path();
        let name = path.strip_prefix('/')?.split('/').next()?;
        let (module, route) = self.get_entry(name)?;
        let rest = &path[1 + name.len()..];
        Some(RouteMatch {
            module,
            route,
            path: Some(join_path_and_query(rest, uri.query())?),
        })
    }

    fn get_entry(&self, name: &str) -> Option<(&str, &Route)> {
        let (name, route) = self.routes.get_key_value(name)?;
        Some((name, route))
    }
}

/// The first label of the host that a request is for. `None` if the host is an IPv4
/// address.
fn first_host_label<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = match uri.host() {
        Some(host) => host,
        None => headers.get(HOST)?.to_str().ok()?,
    };
    let host = host.split(':').next()?;
    // Cheaper than parsing every host as an address.
    let may_be_address = host.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if may_be_address && host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    host.split('.').next()
}

fn join_path_and_query(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let path = if path.is_empty() { "/" } else { path };
    let mut joined = String::with_capacity(path.len() + 1 + query.map_or(0, str::len));
    joined.push_str(path);
    if let Some(query) = query {
        joined.push('?');
        joined.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(joined)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn match_request(host: Option<&str>, uri: &str) -> Option<(String, String)> {
        let table = RoutingTable::default()
            .with_route("shop", Arc::default())
            .with_route("127", Arc::default())
            .with_route("cart", Arc::default());
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        let uri: Uri = uri.parse().unwrap();
        let matched = table.match_request(&uri, &headers)?;
        let path = matched.path.or_else(|| uri.path_and_query().cloned());
        Some((matched.module.to_owned(), path.unwrap().to_string()))
    }

    #[test]
    fn modules_are_found_by_host_then_by_path() {
        let matched = |module: &str, path: &str| Some((module.to_owned(), path.to_owned()));
        assert_eq!(
            match_request(Some("shop"), "/cart/x"),
            matched("shop", "/cart/x")
        );
        assert_eq!(
            match_request(Some("shop.example:80"), "/?q=1"),
            matched("shop", "/?q=1")
        );
        assert_eq!(
            match_request(None, "http://shop.example/x"),
            matched("shop", "/x")
        );
        assert_eq!(
            match_request(Some("www.example"), "/cart/x?q=1"),
            matched("cart", "/x?q=1")
        );
        assert_eq!(
            match_request(Some("127.0.0.1:80"), "/cart"),
            matched("cart", "/")
        );
        assert_eq!(
            match_request(Some("[::1]:80"), "/cart/"),
            matched("cart", "/")
        );
        assert_eq!(match_request(None, "/127?q"), matched("127", "/?q"));
        assert_eq!(match_request(Some("other"), "/other/x"), None);
        assert_eq!(match_request(None, "/"), None);
    }
}
