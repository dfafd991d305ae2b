use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use crate::counters::Counters;
use crate::record::Record;
use crate::version::Version;

/// Who answers which request. A whole new table takes the place of the old one with
/// each change; a request goes by the one it found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    routes: HashMap<String, Arc<Route>>,
}

/// What a node has of one module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// As it is on disk.
    pub(crate) record: Arc<Record>,
    /// The versions of the slots; absent where a slot is empty, or its version could not
    /// be loaded (yet).
    pub(crate) active: Option<Arc<Version>>,
    pub(crate) staged: Option<Arc<Version>>,
    pub(crate) previous: Option<Arc<Version>>,
    /// Of each version that was loaded since the start.
    pub(crate) counters: Vec<Arc<Counters>>,
    turn: Arc<AtomicU64>,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The module.
    pub(crate) module: &'a str,
    /// What there is of it.
    pub(crate) route: &'a Route,
    /// The path as the module sees it, where that is another.
    pub(crate) path: Option<PathAndQuery>,
}

impl Table {
    /// The table with one route new or changed.
    pub(crate) fn with(&self, module: &str, route: Arc<Route>) -> Self {
        let mut table = self.clone();
        table.routes.insert(module.to_owned(), route);
        table
    }

    /// A module's route.
    pub(crate) fn get(&self, module: &str) -> Option<&Arc<Route>> {
        self.routes.get(module)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Route>)> {
        self.routes
            .iter()
            .map(|(module, route)| (module.as_str(), route))
    }

    /// The module that the host's first label names, else the one that the path's first
    /// segment names, which the module then does not see.
    pub(crate) fn find(&self, uri: &Uri, headers: &HeaderMap) -> Option<Target<'_>> {
        if let Some((module, route)) = label(uri, headers).and_then(|label| self.entry(label)) {
            return Some(Target {
                module,
                route,
                path: None,
            });
        }
        let path = uri.path();
        let name = path.strip_prefix('/')?.split('/').next()?;
        let (module, route) = self.entry(name)?;
        let rest = &path[1 + name.len()..];
        Some(Target {
            module,
            route,
            path: Some(join(rest, uri.query())?),
        })
    }

    fn entry(&self, name: &str) -> Option<(&str, &Route)> {
        let (name, route) = self.routes.get_key_value(name)?;
        Some((name, route))
    }
}

/// The first label of the host that a request is for; none where that is an address.
fn label<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = match uri.host() {
        Some(host) => host,
        None => headers.get(HOST)?.to_str().ok()?,
    };
    let host = host.split(':').next()?;
    let numeric = host.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if numeric && host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    host.split('.').next()
}

fn join(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let path = if path.is_empty() { "/" } else { path };
    let mut joined = String::with_capacity(path.len() + 1 + query.map_or(0, str::len));
    joined.push_str(path);
    if let Some(query) = query {
        joined.push('?');
        joined.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(joined)).ok()
}

impl Route {
    /// The same by another record. Versions are as before.
    pub(crate) fn with(&self, record: Record) -> Self {
        Self {
            record: Arc::new(record),
            ..self.clone()
        }
    }

    /// The version whose turn it is: `staged` for its share of any hundred requests that
    /// follow each other, exactly, and spread evenly.
    pub(crate) fn pick(&self) -> Option<&Arc<Version>> {
        let percent = self.record.slots.percent;
        if percent > 0
            && let Some(staged) = &self.staged
            && is_turn(self.turn.fetch_add(1, Relaxed), percent)
        {
            return Some(staged);
        }
        self.active.as_ref()
    }

    /// Whether each slot that should hold a version has it loaded.
    pub(crate) fn is_whole(&self) -> bool {
        let slots = &self.record.slots;
        slots.active.is_some() == self.active.is_some()
            && slots.staged.is_some() == self.staged.is_some()
            && slots.previous.is_some() == self.previous.is_some()
    }

    /// The versions that are loaded.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &Arc<Version>> {
        [&self.active, &self.staged, &self.previous]
            .into_iter()
            .flatten()
    }
}

/// Multiplying by 37 visits each rest of a hundred once, in steps near the golden ratio.
fn is_turn(turn: u64, percent: u8) -> bool {
    turn.wrapping_mul(37) % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_near_the_percentage() {
        for percent in 0..=100 {
            for window in [10, 25, 50, 100] {
                for start in 0..200_u64 {
                    let hits = (start..start + window)
                        .filter(|&turn| is_turn(turn, percent))
                        .count();
                    let exact = f64::from(percent) * window as f64 / 100.0;
                    let off = (hits as f64 - exact).abs();
                    let slack = if window == 100 { 0.0 } else { 2.0 };
                    assert!(off <= slack, "{percent} % of {window} from {start}: {hits}");
                }
            }
        }
    }

    fn find(host: Option<&str>, uri: &str) -> Option<(String, String)> {
        let table = Table::default()
            .with("shop", Arc::default())
            .with("127", Arc::default())
            .with("cart", Arc::default());
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        let uri: Uri = uri.parse().unwrap();
        let target = table.find(&uri, &headers)?;
        let path = target.path.or_else(|| uri.path_and_query().cloned());
        Some((target.module.to_owned(), path.unwrap().to_string()))
    }

    #[test]
    fn modules_are_found_by_host_then_by_path() {
        let is = |module: &str, path: &str| Some((module.to_owned(), path.to_owned()));
        assert_eq!(find(Some("shop"), "/cart/x"), is("shop", "/cart/x"));
        assert_eq!(find(Some("shop.example:80"), "/?q=1"), is("shop", "/?q=1"));
        assert_eq!(find(None, "http://shop.example/x"), is("shop", "/x"));
        assert_eq!(
            find(Some("www.example"), "/cart/x?q=1"),
            is("cart", "/x?q=1")
        );
        assert_eq!(find(Some("127.0.0.1:80"), "/cart"), is("cart", "/"));
        assert_eq!(find(Some("[::1]:80"), "/cart/"), is("cart", "/"));
        assert_eq!(find(None, "/127?q"), is("127", "/?q"));
        assert_eq!(find(Some("other"), "/other/x"), None);
        assert_eq!(find(None, "/"), None);
    }
}
