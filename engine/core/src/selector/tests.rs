use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Selector {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let labels: BTreeMap<_, _> = labels.iter().map(own).collect();
    parse(selector).matches(NodeLabels::new(None, &labels))
}

#[test]
fn conditions_mean_what_they_mean_in_kubernetes() {
    let eu = [("zone", "eu"), ("tier", "edge")];
    for (selector, expected) in [
        ("zone=eu", true),
        ("zone==eu", true),
        ("zone=us", false),
        ("zone!=us", true),
        ("zone!=eu", false),
        ("zone in (us,eu)", true),
        ("zone in (us)", false),
        ("zone notin (us,asia)", true),
        ("zone notin (eu)", false),
        ("zone", true),
        ("!zone", false),
        ("gpu", false),
        ("!gpu", true),
        ("zone=eu,tier=edge", true),
        ("zone=eu,tier!=edge", false),
        // A node without the label has none of the values.
        ("gpu=yes", false),
        ("gpu=", false),
        ("gpu!=yes", true),
        ("gpu in (yes)", false),
        ("gpu notin (yes,no)", true),
    ] {
        assert_eq!(matches(selector, &eu), expected, "{selector}");
    }
    assert!(matches("gpu=", &[("gpu", "")]), "a label may be empty");
}

#[test]
fn the_zone_can_be_selected() {
    let labels = BTreeMap::new();
    let node = NodeLabels::new(Some("eu"), &labels);
    assert!(parse("zone=eu").matches(node));
    assert!(!parse("zone!=eu").matches(node));
}

#[test]
fn a_selector_is_written_in_one_form() {
    for (text, canonical) in [
        (" zone == eu ", "zone=eu"),
        ("tier!=edge,zone=eu", "tier!=edge,zone=eu"),
        ("zone=eu,tier!=edge,zone=eu", "tier!=edge,zone=eu"),
        ("zone in (us,eu,us)", "zone in (eu,us)"),
        ("zone in(eu)", "zone=eu"),
        ("zone notin ( eu )", "zone!=eu"),
        ("gpu , ! spot", "gpu,!spot"),
        ("a=,b", "a=,b"),
        ("a in (,x)", "a in (,x)"),
        ("a in (x,)", "a in (,x)"),
        ("a in ()", "a="),
        ("in in (in)", "in=in"),
        ("notin", "notin"),
        ("example.org/rack=7", "example.org/rack=7"),
    ] {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
        assert_eq!(parse(text), parse(canonical));
    }
}

#[test]
fn an_error_says_where_and_what_to_write() {
    let error = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
    for (text, start) in [
        (
            "zone=eu,,tier",
            "at character 9 of the selector: the key of a label must stand here, not ','",
        ),
        (
            "zone=eu,",
            "at character 9 of the selector: the key of a label must stand here, not the end",
        ),
        (
            "zone eu",
            "at character 6 of the selector: =, !=, in, notin or a comma must stand here, not 'eu'",
        ),
        (
            "zone=eu us",
            "at character 9 of the selector: a comma must stand here, or nothing, not 'us'",
        ),
        (
            "zone in eu",
            "at character 9 of the selector: values in parentheses must stand here, not 'eu'",
        ),
        (
            "zone in (eu",
            "at character 12 of the selector: a comma or ')' must stand here, not the end",
        ),
        (
            "zone=(eu)",
            "at character 6 of the selector: a comma must stand here, or nothing, not '('",
        ),
        (
            "!",
            "at character 2 of the selector: the key of a label must stand here, not the end",
        ),
        (
            "zöne=eu",
            "at character 1 of the selector: 'zöne' is not a valid label key",
        ),
        ("ä=1,b", "at character 1 of the selector: 'ä' is not"),
        (
            "zone=a/b",
            "at character 6 of the selector: 'a/b' is not a valid label value",
        ),
    ] {
        let found = error(text);
        assert!(found.starts_with(start), "{text}: {found}");
    }
    assert!(error("zone eu").contains("zone in (eu,us)"));
    assert!(error(" ").contains("leave it out"));
    let long = format!("a={},", "x".repeat(60)).repeat(30);
    assert!(error(&long).contains("1024 are allowed"));
}

#[test]
fn the_one_form_is_no_longer_than_allowed_either() {
    // Each gets a space when it is written again.
    let texts = (0..120).map(|number| format!("k{number} in(a,b)"));
    let text = texts.collect::<Vec<_>>().join(",");
    let fitting = &text[..text[..1015].rfind("),").unwrap() + 1];
    assert!(fitting.len() <= Selector::MAX_BYTES);
    let error = fitting.parse::<Selector>().unwrap_err();
    assert!(matches!(error, SelectorError::TooLong(_)), "{error}");
}

#[test]
fn a_selector_is_text_in_json() {
    let selector: Selector = serde_json::from_str("\"zone in (us, eu)\"").unwrap();
    let json = serde_json::to_string(&selector).unwrap();
    assert_eq!(json, "\"zone in (eu,us)\"");
    assert!(serde_json::from_str::<Selector>("\"\"").is_err());
}

fn key() -> impl Strategy<Value = LabelKey> {
    let keys = prop_oneof![
        "[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,8}[a-zA-Z0-9])?",
        "[a-z0-9]{1,5}(\\.[a-z0-9]{1,5})?/[a-zA-Z0-9]{1,5}",
        Just("in".to_owned()),
        Just("notin".to_owned()),
    ];
    keys.prop_map(|text| text.parse().expect("a valid key"))
}

fn values() -> impl Strategy<Value = BTreeSet<LabelValue>> {
    let value = prop_oneof![
        "([a-zA-Z0-9]([-_.a-zA-Z0-9]{0,8}[a-zA-Z0-9])?)?",
        Just("in".to_owned()),
    ];
    let value = value.prop_map(|text| text.parse().expect("a valid value"));
    prop::collection::btree_set(value, 1..4)
}

fn selector() -> impl Strategy<Value = Selector> {
    let operator = prop_oneof![
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
    ];
    let requirement = (key(), operator).prop_map(|(key, operator)| Requirement { key, operator });
    prop::collection::vec(requirement, 1..6).prop_map(Selector::new)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(selector in selector()) {
        let text = selector.to_string();
        prop_assert_eq!(text.parse::<Selector>(), Ok(selector), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[a-z=!,() ä]{0,40}") {
        if let Ok(selector) = text.parse::<Selector>() {
            let written = selector.to_string();
            prop_assert_eq!(written.parse::<Selector>(), Ok(selector));
        }
    }
}
