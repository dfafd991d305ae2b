use std::collections::BTreeMap;
use std::sync::Arc;

use hotswap_core::{LabelKey, LabelValue, NodeLabels};
use hotswap_fleet::discovery::MergedInstance;
use hotswap_protocol::Registration;
use hotswap_store::NodeRecord;

/// What registries say of an instance, as far as asking it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The source that counts.
    pub(super) source: Arc<str>,
    /// `None` if the registry names no control port.
    pub(super) control_url: Option<String>,
    environment: Option<String>,
    zone: Option<String>,
    labels: BTreeMap<String, String>,
    /// A change of it is a reason to ask at once.
    health: Option<hotswap_core::Health>,
    /// Whether a source lists it now.
    pub(super) is_listed: bool,
}

impl Target {
    pub(super) fn of(merged: MergedInstance) -> Self {
        let instance = merged.instance;
        Self {
            source: merged
                .sources
                .first()
                .map_or_else(|| Arc::from(""), |source| Arc::from(source.as_str())),
            control_url: instance.control_url.clone(),
            environment: instance.environment.as_ref().map(ToString::to_string),
            zone: instance.zone.clone(),
            labels: instance.labels.clone(),
            health: Some(instance.health),
            is_listed: true,
        }
    }

    /// A node that the store knows.
    pub(super) fn of_record(record: &NodeRecord, source: &str) -> Self {
        Self {
            source: source.into(),
            control_url: Some(record.control_url.clone()),
            environment: None,
            zone: None,
            labels: BTreeMap::new(),
            health: None,
            is_listed: true,
        }
    }

    /// The same, once no source lists it any more.
    pub(super) fn unlisted(&self) -> Self {
        Self {
            is_listed: false,
            ..self.clone()
        }
    }

    /// Adds to what a node says of itself what only the registry says. The node's own word counts
    /// first. What cannot be a label stays with the registry.
    pub(super) fn complete(&self, registration: &mut Registration) {
        let own = &mut registration.environment;
        *own = own.take().or_else(|| self.environment.clone());
        let own = &mut registration.zone;
        *own = own.take().or_else(|| self.zone.clone());
        for (key, value) in &self.labels {
            let is_label = key.parse::<LabelKey>().is_ok()
                && value.parse::<LabelValue>().is_ok()
                && key != NodeLabels::ZONE;
            let has_room = registration.labels.len() < NodeLabels::MAX;
            if is_label && has_room && !registration.labels.contains_key(key) {
                registration.labels.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::Health;
    use hotswap_fleet::discovery::Instance;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_node_says_first_what_it_is_and_the_registry_adds_to_that() {
        let instance = Instance {
            id: "edge-1".parse().unwrap(),
            environment: Some("qa".parse().unwrap()),
            zone: Some("eu".to_owned()),
            version: None,
            labels: pairs(&[
                ("tier", "edge"),
                ("rack", "9"),
                ("url", "http://no.label/"),
                ("zone", "moon"),
            ]),
            control_url: None,
            data_url: None,
            health: Health::Passing,
        };
        let target = Target::of(MergedInstance {
            instance: Arc::new(instance),
            sources: vec!["main".to_owned()],
            conflicts: Vec::new(),
        });
        let mut registration = Registration {
            environment: None,
            zone: Some("us".to_owned()),
            labels: pairs(&[("rack", "7")]),
            control_url: String::new(),
            data_url: String::new(),
            highest_fence: 0,
            boot: None,
            instance: None,
            modules: None,
        };
        target.complete(&mut registration);
        assert_eq!(registration.environment.as_deref(), Some("qa"));
        assert_eq!(registration.zone.as_deref(), Some("us"));
        let labels = pairs(&[("rack", "7"), ("tier", "edge")]);
        assert_eq!(registration.labels, labels);
        registration.environment = Some("production".to_owned());
        target.complete(&mut registration);
        assert_eq!(registration.environment.as_deref(), Some("production"));
    }
}
