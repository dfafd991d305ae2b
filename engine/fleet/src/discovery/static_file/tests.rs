use std::sync::Arc;

use hotswap_core::SystemClock;
use proptest::prelude::*;

use super::StaticFile;
use crate::discovery::ErrorKind;
use crate::registry::check_node_url;

const LIST: &str = r#"{ "nodes": [{
    "id": "edge-1", "environment": "production", "controlUrl": "http://10.0.0.1:8081",
    "dataUrl": "https://[fd00::1]:8080", "zone": "eu", "labels": { "tier": "edge" }
}, { "id": "edge-2" }] }"#;

/// Bytes of any kind, and characters of JSON, which change what a list means.
fn put() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = prop::collection::vec(any::<u8>(), 0..12);
    let of_json = "[\\[\\]{}\":,0-9a-z/-]{0,12}".prop_map(String::into_bytes);
    prop_oneof![any_bytes, of_json]
}

proptest! {
    #[test]
    fn damaged_lists_are_errors_or_nodes_and_never_panics(
        at in 0..LIST.len(), cut in 0..40_usize, put in put(),
    ) {
        let end = (at + cut).min(LIST.len());
        let damaged = [&LIST.as_bytes()[..at], &put, &LIST.as_bytes()[end..]].concat();
        let file = StaticFile::new("nodes.json", Arc::new(SystemClock));
        match file.parse(&damaged) {
            Ok((instances, invalid)) => {
                for url in instances.iter().flat_map(|it| [&it.control_url, &it.data_url]) {
                    prop_assert!(url.as_ref().is_none_or(|url| check_node_url(url).is_ok()));
                }
                for entry in invalid {
                    prop_assert!(entry.id.chars().count() <= 64 && !entry.reason.is_empty());
                }
            }
            Err(error) => {
                prop_assert_eq!(error.kind, ErrorKind::Protocol);
                prop_assert!(error.message.contains("nodes.json"), "{}", error.message);
            }
        }
    }
}
