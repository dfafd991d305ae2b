//! Which environment a node belongs to.

use std::collections::BTreeMap;

use hotswap_core::{Environment, NodeLabels, ParseError, Selector};

use super::error::Error;

/// The environment that a node names; else the one whose selector matches its labels.
///
/// # Errors
/// [`Error::Invalid`] if it names none and not exactly one matches. No environment is better than
/// the first of several: the node would get the wrong software.
pub(super) fn environment_of(
    named: Option<&str>,
    labels: NodeLabels<'_>,
    selectors: &BTreeMap<Environment, Selector>,
) -> Result<Environment, Error> {
    if let Some(named) = named {
        let parsed = named.parse();
        return parsed.map_err(|error: ParseError| Error::Invalid(format!("environment: {error}")));
    }
    let matching = selectors
        .iter()
        .filter(|(_, selector)| selector.matches(labels));
    let matching: Vec<_> = matching.collect();
    let list = |selectors: &[(&Environment, &Selector)]| {
        let named = selectors
            .iter()
            .map(|(name, selector)| format!("{name} ({selector})"));
        named.collect::<Vec<_>>().join(", ")
    };
    let reason = match &matching[..] {
        [(environment, _)] => return Ok((*environment).clone()),
        [] if selectors.is_empty() => {
            "the node names none, and no environment of the engine has a selector; start the node \
             with --environment, or give the environment a selector (hotswap apply, or the engine's \
             configuration)"
                .to_owned()
        }
        [] => {
            let all: Vec<_> = selectors.iter().collect();
            format!(
                "the node names none, and its labels ({}) match no environment's selector: {}; \
                 start the node with other labels (--label), or with --environment",
                described(labels),
                list(&all)
            )
        }
        several => format!(
            "the node names none, and its labels match the selectors of several: {}; start the \
             node with --environment, or change the selectors (hotswap apply, or the engine's \
             configuration) so that at most one matches",
            list(several)
        ),
    };
    Err(Error::Invalid(format!("environment: {reason}")))
}

fn described(labels: NodeLabels<'_>) -> String {
    let labels: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if labels.is_empty() {
        "none".to_owned()
    } else {
        labels.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment_of_zone(named: Option<&str>, zone: Option<&str>) -> Result<String, String> {
        let selectors = [
            ("edge", "zone in (eu,asia)"),
            ("production", "zone in (eu,us)"),
        ];
        let parse = |(name, selector): (&str, &str)| {
            (name.parse().unwrap(), selector.parse::<Selector>().unwrap())
        };
        let selectors: BTreeMap<Environment, Selector> = selectors.into_iter().map(parse).collect();
        let labels = BTreeMap::new();
        environment_of(named, NodeLabels::new(zone, &labels), &selectors)
            .map(|environment| environment.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_belongs_to_the_environment_that_it_names_or_whose_selector_matches() {
        let found = environment_of_zone(Some("qa"), Some("us"));
        assert_eq!(found.as_deref(), Ok("qa"), "its own word wins");
        let found = environment_of_zone(None, Some("us"));
        assert_eq!(found.as_deref(), Ok("production"));
        let found = environment_of_zone(None, Some("asia"));
        assert_eq!(found.as_deref(), Ok("edge"));
        assert!(environment_of_zone(Some("Q A"), None).is_err());
    }

    #[test]
    fn a_node_that_no_selector_or_several_match_is_refused_with_what_to_do() {
        let both = environment_of_zone(None, Some("eu")).unwrap_err();
        assert!(
            both.contains("edge (zone in (asia,eu)), production (zone in (eu,us))"),
            "{both}"
        );
        assert!(both.contains("--environment"), "{both}");
        let none = environment_of_zone(None, Some("moon")).unwrap_err();
        assert!(
            none.contains("(zone=moon)") && none.contains("--label"),
            "{none}"
        );
        let labels = BTreeMap::new();
        let labels = NodeLabels::new(None, &labels);
        let error = environment_of(None, labels, &BTreeMap::new()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no environment of the engine has a selector")
        );
    }
}
