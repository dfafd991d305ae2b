use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hotswap_core::{Environment, NodeId};

use super::Discovery;
use super::instance::Instance;

/// The sources of an engine, in the order in which they count. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sources {
    sources: Arc<[Arc<dyn Discovery>]>,
}

/// An instance that one source or several have found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedInstance {
    /// As the first source says it.
    pub instance: Arc<Instance>,
    /// The names of the sources that have found it, in their order.
    pub sources: Vec<String>,
    /// Where another source says something else.
    pub conflicts: Vec<Conflict>,
}

/// Two sources that say different things of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The field, as the API spells it.
    pub field: &'static str,
    /// The source that is not believed.
    pub source: String,
    /// What it says.
    pub says: String,
}

impl Sources {
    /// Several sources. Where two say different things of one instance, the first counts.
    pub fn new(sources: Vec<Arc<dyn Discovery>>) -> Self {
        Self {
            sources: sources.into(),
        }
    }

    /// These sources after another one, which counts first.
    pub fn after(self, first: Arc<dyn Discovery>) -> Self {
        let sources = std::iter::once(first).chain(self.iter().cloned());
        Self {
            sources: sources.collect(),
        }
    }

    /// The sources.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Discovery>> {
        self.sources.iter()
    }

    /// The source with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Discovery>> {
        self.sources.iter().find(|source| source.name() == name)
    }

    /// All instances, merged by their ids and sorted by them.
    pub fn instances(&self) -> Vec<MergedInstance> {
        self.merge(|source| source.instances())
    }

    /// The instances of an environment, merged by their ids and sorted by them. One that sources
    /// place in different environments is in that of the first one.
    pub fn instances_of(&self, environment: &Environment) -> Vec<MergedInstance> {
        let mut merged = self.instances();
        merged.retain(|merged| merged.instance.environment.as_ref() == Some(environment));
        merged
    }

    fn merge(&self, found: impl Fn(&dyn Discovery) -> Vec<Arc<Instance>>) -> Vec<MergedInstance> {
        let mut merged: BTreeMap<NodeId, MergedInstance> = BTreeMap::new();
        for source in self.iter() {
            let name = source.name();
            for instance in found(source.as_ref()) {
                match merged.get_mut(&instance.id) {
                    Some(first) => first.add(name, &instance),
                    None => {
                        let id = instance.id.clone();
                        let instance = MergedInstance {
                            instance,
                            sources: vec![name.to_owned()],
                            conflicts: Vec::new(),
                        };
                        merged.insert(id, instance);
                    }
                }
            }
        }
        merged.into_values().collect()
    }
}

impl MergedInstance {
    fn add(&mut self, source: &str, other: &Instance) {
        self.sources.push(source.to_owned());
        let text =
            |environment: &Option<Environment>| environment.as_ref().map(|it| it.to_string());
        let own = &self.instance;
        for (field, own, other) in [
            (
                "environment",
                text(&own.environment),
                text(&other.environment),
            ),
            (
                "controlUrl",
                own.control_url.clone(),
                other.control_url.clone(),
            ),
            ("dataUrl", own.data_url.clone(), other.data_url.clone()),
        ] {
            // A source that says nothing contradicts nobody.
            if let (Some(own), Some(says)) = (own, other)
                && own != says
            {
                self.conflicts.push(Conflict {
                    field,
                    source: source.to_owned(),
                    says,
                });
            }
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|source| source.name());
        f.debug_list().entries(names).finish()
    }
}
