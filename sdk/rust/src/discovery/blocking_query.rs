use super::Path;
use crate::Span;

/// How long an answer may take that is due at once.
const AT_ONCE: Span = Span::secs(5);

/// A query that waits for a change: the registry answers it once its index is higher than that of the
/// query, or the wait is over. Consul and Nomad have such queries.
///
/// ```
/// use hotswap_sdk::Span;
/// use hotswap_sdk::discovery::{BlockingQuery, Path};
///
/// let query = BlockingQuery::new(Some("7"), Span::secs(17));
/// let path = query.add_to(Path::new("/v1/service/web"));
/// assert_eq!(path.to_string(), "/v1/service/web?index=7&wait=16000ms");
/// // The header with the index, `x-consul-index` or `x-nomad-index`, gives the next cursor.
/// assert_eq!(query.next_cursor(Some("9")), "9");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockingQuery {
    /// Zero: it is answered at once.
    index: u64,
    patience: Span,
}

impl BlockingQuery {
    /// A query that goes on from `cursor`, and waits for `patience` at most. Without a cursor, or
    /// with one that is no index, it is answered at once.
    #[must_use]
    pub fn new(cursor: Option<&str>, patience: Span) -> Self {
        Self {
            // An index is positive. After 0 a query would not wait, and a loop of them would spin.
            index: cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0),
            patience,
        }
    }

    /// Adds to a query what the registry must know.
    #[must_use]
    pub fn add_to(&self, path: Path) -> Path {
        if !self.waits() {
            return path;
        }
        // The registry adds up to a sixteenth of the wait.
        let wait = self.patience.as_millis() / 17 * 16;
        path.query("index", self.index)
            .query("wait", format!("{wait}ms"))
    }

    /// How long the answer may take, for [`Request::patience`](super::Request::patience).
    #[must_use]
    pub fn patience(&self) -> Span {
        match self.waits() {
            true => Span::millis(self.patience.as_millis() + AT_ONCE.as_millis()),
            false => AT_ONCE,
        }
    }

    /// The cursor after an answer with this index. One that is lower than that of the query belongs to
    /// another history, so the query after it starts over.
    #[must_use]
    pub fn next_cursor(&self, index: Option<&str>) -> String {
        let latest: u64 = index.and_then(|index| index.parse().ok()).unwrap_or(0);
        let next = match latest < self.index {
            true => 0,
            false => latest.max(1),
        };
        next.to_string()
    }

    fn waits(&self) -> bool {
        self.index > 0 && !self.patience.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_waits_only_from_an_index_and_with_patience() {
        let path = |query: BlockingQuery| query.add_to(Path::new("/list")).to_string();
        let minute = Span::mins(1);
        for query in [
            BlockingQuery::new(None, minute),
            BlockingQuery::new(Some("0"), minute),
            BlockingQuery::new(Some("of another backend"), minute),
            BlockingQuery::new(Some("7"), Span::ZERO),
        ] {
            assert_eq!(path(query), "/list");
            assert_eq!(query.patience(), AT_ONCE);
        }
        let query = BlockingQuery::new(Some("7"), minute);
        assert_eq!(path(query), "/list?index=7&wait=56464ms");
        assert_eq!(query.patience(), Span::secs(65));
    }

    #[test]
    fn an_index_that_goes_back_begins_anew_and_none_is_ever_zero_otherwise() {
        let after = |cursor: Option<&str>, index: Option<&str>| {
            BlockingQuery::new(cursor, Span::mins(1)).next_cursor(index)
        };
        assert_eq!(after(None, Some("9")), "9");
        assert_eq!(after(Some("9"), Some("9")), "9");
        assert_eq!(after(Some("9"), Some("3")), "0");
        for none in [None, Some("0"), Some(""), Some("-1"), Some("x")] {
            assert_eq!(after(None, none), "1", "{none:?}");
        }
    }
}
