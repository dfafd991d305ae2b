use std::fmt;

use super::encode;

/// The path of a request, with a query. What is put in is encoded.
///
/// ```
/// use hotswap_sdk::discovery::Path;
///
/// let path = Path::new("/v1/services").segment("a/b").query("zone", "eu 1").query_if_set("dc", "");
/// assert_eq!(path.to_string(), "/v1/services/a%2Fb?zone=eu%201");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// A path that begins with this, which is sent as it is.
    #[must_use]
    pub fn new(beginning: &str) -> Self {
        Self {
            text: beginning.to_owned(),
            has_query: beginning.contains('?'),
        }
    }

    /// Adds a slash and this. All segments come before the query.
    #[must_use]
    pub fn segment(mut self, text: &str) -> Self {
        self.text.push('/');
        self.text.push_str(&encode(text));
        self
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        let value = encode(&value.to_string());
        self.text.push_str(&format!("{}={value}", encode(name)));
        self
    }

    /// Adds a parameter to the query, unless its value is empty, as that of a setting may be.
    #[must_use]
    pub fn query_if_set(self, name: &str, value: &str) -> Self {
        match value.is_empty() {
            true => self,
            false => self.query(name, value),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn parameters_are_added_to_a_query_that_is_there() {
        let path = Path::new("/watch?follow=1").query("from", 7);
        assert_eq!(path.to_string(), "/watch?follow=1&from=7");
        let path = Path::new("/list").query("a&b", "c=d");
        assert_eq!(path.to_string(), "/list?a%26b=c%3Dd");
    }
}
