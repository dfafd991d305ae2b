//! Labels of nodes: keys and values that operators choose, with the rules of Kubernetes.

use std::collections::BTreeMap;

use crate::ParseError;
use crate::name::names;

/// Whether `text` is a name as label keys and values have it: 1 to 63 letters, digits, `-`, `_`
/// and `.`, beginning and ending with a letter or digit.
fn is_name(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && is_edge(text.as_bytes().first())
        && is_edge(text.as_bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether `text` is a DNS subdomain of RFC 1123: `example.org`.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(crate::name::is_label)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

const KEY_RULE: &str = "use 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, after a DNS name and '/' if you like: zone, example.org/rack";
const VALUE_RULE: &str = "use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, or nothing";

names! {
    /// The key of a label: `zone`, `example.org/rack`. The rules are those of Kubernetes.
    LabelKey, "label key", is_key, KEY_RULE;
    /// The value of a label: `eu-west-1`. May be empty. The rules are those of Kubernetes.
    LabelValue, "label value", is_value, VALUE_RULE;
}

/// The labels of a node as selectors see them: those of its operator, and its zone, which is the
/// label `zone`.
#[derive(Debug, Clone, Copy)]
pub struct NodeLabels<'a> {
    zone: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
}

impl<'a> NodeLabels<'a> {
    /// The key by which selectors see the zone of a node.
    pub const ZONE: &'static str = "zone";

    /// The most labels of one node.
    pub const MAX: usize = 64;

    /// The labels of a node in this zone.
    pub fn new(zone: Option<&'a str>, labels: &'a BTreeMap<String, String>) -> Self {
        Self { zone, labels }
    }

    /// The value of a label. `None` if the node does not have it.
    pub fn get(self, key: &str) -> Option<&'a str> {
        let label = self.labels.get(key).map(String::as_str);
        label.or_else(|| self.zone.filter(|_| key == Self::ZONE))
    }

    /// All labels, each once. Sorted by key, except for the zone, which comes last if no label says
    /// it.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let is_said = self.labels.contains_key(Self::ZONE);
        let zone = self
            .zone
            .filter(|_| !is_said)
            .map(|zone| (Self::ZONE, zone));
        let labels = self.labels.iter();
        labels
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .chain(zone)
    }

    /// Checks keys, values and their number.
    ///
    /// # Errors
    /// What is wrong with the first label that is not valid, and what to do.
    pub fn check(self) -> Result<(), LabelError> {
        let count = self.labels.len();
        if count > Self::MAX {
            return Err(LabelError::TooMany(count));
        }
        for (key, value) in self.labels {
            key.parse::<LabelKey>()?;
            value.parse::<LabelValue>()?;
        }
        match (self.zone, self.labels.get(Self::ZONE)) {
            (Some(zone), Some(label)) if zone != label => Err(LabelError::TwoZones {
                zone: zone.to_owned(),
                label: label.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// Why the labels of a node are not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A key or a value is not valid.
    #[error(transparent)]
    Invalid(#[from] ParseError),
    /// There are more than [`NodeLabels::MAX`].
    #[error("there are {0}; give at most {max}", max = NodeLabels::MAX)]
    TooMany(usize),
    /// The label `zone` contradicts the zone.
    #[error("the label zone is '{label}', and the zone is '{zone}'; give one of them")]
    TwoZones {
        /// The zone.
        zone: String,
        /// The label.
        label: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_follow_the_rules_of_kubernetes() {
        let long = "a".repeat(63);
        let prefix = format!("{}.{}", "a".repeat(63), "b".repeat(63));
        for key in ["zone", "a", "A_b.c-9", "example.org/rack", &long] {
            assert!(key.parse::<LabelKey>().is_ok(), "{key}");
        }
        assert!(format!("{prefix}/x").parse::<LabelKey>().is_ok());
        for key in [
            "",
            "-a",
            "a-",
            "a b",
            "a/",
            "/a",
            "a/b/c",
            "Example.org/a",
            "ä",
        ] {
            let error = key.parse::<LabelKey>().unwrap_err().to_string();
            assert!(error.contains("example.org/rack"), "{error}");
        }
        assert!(format!("{long}a").parse::<LabelKey>().is_err());
        for value in ["", "eu-west-1", "1.2.3", &long] {
            assert!(value.parse::<LabelValue>().is_ok(), "{value}");
        }
        for value in ["rack 7", "a/b", "_a", &format!("{long}a")] {
            assert!(value.parse::<LabelValue>().is_err(), "{value}");
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn the_zone_of_a_node_is_its_label_zone() {
        let own = labels(&[("tier", "edge")]);
        let node = NodeLabels::new(Some("eu"), &own);
        assert_eq!(node.get("zone"), Some("eu"));
        assert_eq!(node.get("tier"), Some("edge"));
        assert_eq!(node.get("gpu"), None);
        let all: Vec<_> = node.iter().collect();
        assert_eq!(all, [("tier", "edge"), ("zone", "eu")]);
        let said = labels(&[("zone", "eu")]);
        assert_eq!(NodeLabels::new(Some("eu"), &said).iter().count(), 1);
        assert_eq!(NodeLabels::new(Some("eu"), &said).check(), Ok(()));
        let error = NodeLabels::new(Some("us"), &said).check().unwrap_err();
        assert!(error.to_string().contains("give one of them"), "{error}");
    }

    #[test]
    fn a_node_has_at_most_64_labels() {
        let many = |count: usize| -> BTreeMap<String, String> {
            (0..count)
                .map(|number| (format!("k{number}"), String::new()))
                .collect()
        };
        assert_eq!(NodeLabels::new(None, &many(64)).check(), Ok(()));
        let error = NodeLabels::new(None, &many(65)).check().unwrap_err();
        assert_eq!(error.to_string(), "there are 65; give at most 64");
        let bad = labels(&[("tier", "the edge")]);
        assert!(NodeLabels::new(None, &bad).check().is_err());
    }
}
