use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hotswap_core::{Environment, NodeId};

use super::Discovery;
use super::instance::Instance;
use super::state::Condition;

/// The sources of an engine, in the order in which they count. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sources {
    sources: Arc<[Arc<dyn Discovery>]>,
}

/// An instance that one source or several have found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedInstance {
    /// Where it is and how, as the first source says that answers and names its control URL. All
    /// else as the first source says it that says something of that.
    pub instance: Arc<Instance>,
    /// The names of the sources that have found it: first the one that says where it is, then the
    /// others in their order.
    pub sources: Vec<String>,
    /// Where another source says something else.
    pub conflicts: Vec<Conflict>,
}

/// Two sources that say different things of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The field, as the API spells it; `labels.tier` for a label.
    pub field: String,
    /// The source that is not believed.
    pub source: String,
    /// What it says.
    pub says: String,
}

impl Sources {
    /// Several sources. Where two say different things of one instance, the first counts. Where an
    /// instance is, a source whose registry fails does not count while another one answers: the
    /// instance may have moved meanwhile.
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
        let mut said: BTreeMap<NodeId, Vec<Said<'_>>> = BTreeMap::new();
        for source in self.iter() {
            let is_stale = source.state().condition == Condition::Stale;
            for instance in found(source.as_ref()) {
                said.entry(instance.id.clone()).or_default().push(Said {
                    source: source.name(),
                    is_stale,
                    instance,
                });
            }
        }
        said.into_values().filter_map(merge).collect()
    }
}

/// What one source says of an instance.
struct Said<'a> {
    source: &'a str,
    is_stale: bool,
    instance: Arc<Instance>,
}

/// Merges what sources say of one instance, in their order. `None` if none says anything.
fn merge(said: Vec<Said<'_>>) -> Option<MergedInstance> {
    let leads = |said: &Said<'_>| !said.is_stale && said.instance.control_url.is_some();
    let lead = said.iter().position(leads).unwrap_or(0);
    let mut instance = Arc::clone(&said.get(lead)?.instance);
    let mut sources = vec![said[lead].source.to_owned()];
    let mut conflicts = Vec::new();
    if said.len() > 1 {
        complete(Arc::make_mut(&mut instance), &said);
        let mine = fields(&instance);
        for (index, other) in said.iter().enumerate() {
            if index != lead {
                sources.push(other.source.to_owned());
            }
            // A source that says nothing contradicts nobody.
            for (field, says) in fields(&other.instance) {
                if mine.get(&field).is_some_and(|mine| *mine != says) {
                    conflicts.push(Conflict {
                        field,
                        source: other.source.to_owned(),
                        says,
                    });
                }
            }
        }
    }
    Some(MergedInstance {
        instance,
        sources,
        conflicts,
    })
}

/// Says what an instance is as the first source does that says something of that, whether its
/// registry fails or not: a failure must not move a node to another environment.
fn complete(instance: &mut Instance, said: &[Said<'_>]) {
    instance.environment = first(said, |it| it.environment.clone());
    instance.zone = first(said, |it| it.zone.clone());
    instance.version = first(said, |it| it.version.clone());
    let labels = said.iter().rev().flat_map(|it| it.instance.labels.clone());
    instance.labels = labels.collect();
}

fn first<T>(said: &[Said<'_>], of: impl Fn(&Instance) -> Option<T>) -> Option<T> {
    said.iter().find_map(|it| of(&it.instance))
}

/// What a source says of an instance, by the fields of the API. Sources may differ on its health.
fn fields(instance: &Instance) -> BTreeMap<String, String> {
    let environment = instance.environment.as_ref().map(ToString::to_string);
    let fields = [
        ("environment", environment),
        ("zone", instance.zone.clone()),
        ("version", instance.version.clone()),
        ("controlUrl", instance.control_url.clone()),
        ("dataUrl", instance.data_url.clone()),
    ];
    let fields = fields
        .into_iter()
        .filter_map(|(field, says)| Some((field.to_owned(), says?)));
    let labels = instance.labels.iter();
    let labels = labels.map(|(key, value)| (format!("labels.{key}"), value.clone()));
    fields.chain(labels).collect()
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|source| source.name());
        f.debug_list().entries(names).finish()
    }
}
