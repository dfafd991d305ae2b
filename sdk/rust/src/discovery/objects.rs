//! Objects of a Kubernetes API server: lists of them, and watches.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::{Context, Endpoints, Error, Method, Path, Response, Waited, error_of_status, follow};
use crate::Span;

/// HTTP's "Gone": the API server no longer has the changes since a version.
const GONE: u16 = 410;

/// Objects of one answer to a list. API servers need much memory for a large one, and a component may
/// not take it.
const PAGE: u32 = 500;

/// Pages of a list. A server that never ends it makes no sense.
const MAX_PAGES: u32 = 2000;

/// How often a list that expires while it is read is begun anew.
const MAX_BEGINNINGS: u32 = 3;

/// Asks for lists of which only the metadata is wanted.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectList<T> {
    /// The objects.
    pub items: Vec<T>,
    /// The version of the list: the cursor from which [`watch_objects`] goes on.
    pub version: String,
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ObjectMetadata {
    /// The name, which is unique among the objects of one kind in a namespace.
    pub name: String,
    /// The labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

/// The objects at `path`, such as `/api/v1/namespaces/default/services`, with a `labelSelector` or
/// without. Asks for them page by page, and begins anew if the server no longer has the next page.
///
/// ```
/// use hotswap_sdk::Span;
/// use hotswap_sdk::discovery::{
///     Context, Endpoints, Error, ListAndWatch, ObjectMetadata, Path, Snapshot, Waited, instance,
///     list_objects, watch_objects,
/// };
/// use serde::Deserialize;
///
/// /// Finds machines by the objects of an operator.
/// struct Machines(Endpoints);
///
/// #[derive(Deserialize)]
/// struct Machine {
///     metadata: ObjectMetadata,
///     spec: Spec,
/// }
///
/// #[derive(Deserialize)]
/// struct Spec {
///     address: String,
/// }
///
/// fn path(service: &str) -> Path {
///     let path = Path::new("/apis/example.com/v1/namespaces/default/machines");
///     path.query("labelSelector", format!("example.com/service={service}"))
/// }
///
/// impl ListAndWatch for Machines {
///     fn list(&mut self, context: &Context, service: &str) -> Result<Snapshot, Error> {
///         let machines = list_objects(context, &mut self.0, &path(service))?;
///         let instances = machines.items.into_iter().map(|machine: Machine| {
///             let mut found = instance(machine.spec.address);
///             found.id = machine.metadata.name;
///             found.metadata = machine.metadata.labels.into_iter().collect();
///             found
///         });
///         Ok(Snapshot { instances: instances.collect(), cursor: machines.version })
///     }
///
///     fn wait(
///         &mut self,
///         context: &Context,
///         service: &str,
///         cursor: &str,
///         patience: Span,
///     ) -> Result<Waited, Error> {
///         watch_objects(context, &mut self.0, &path(service), cursor, patience)
///     }
/// }
/// ```
///
/// # Errors
/// What the API server says, as [`error_of_status`]; [`Error::Protocol`] if its answer is no such
/// list.
pub fn list_objects<T: DeserializeOwned>(
    context: &Context,
    servers: &mut Endpoints,
    path: &Path,
) -> Result<ObjectList<T>, Error> {
    list(context, servers, path, "application/json")
}

/// As [`list_objects`], where only the metadata is wanted. The API server sends nothing else then.
///
/// # Errors
/// As for [`list_objects`].
pub fn list_metadata(
    context: &Context,
    servers: &mut Endpoints,
    path: &Path,
) -> Result<ObjectList<ObjectMetadata>, Error> {
    let list = list(context, servers, path, METADATA_ONLY)?;
    let items = list.items.into_iter();
    Ok(ObjectList {
        items: items.map(|item: Partial| item.metadata).collect(),
        version: list.version,
    })
}

/// Waits until an object at `path` has changed after a version, that of a list or of a watch before.
/// For [`ListAndWatch::wait`](super::ListAndWatch::wait): what the API server no longer has, and a
/// store that was restored, mean to list again.
///
/// # Errors
/// As for [`list_objects`], and that with which the API server ends the watch.
pub fn watch_objects(
    context: &Context,
    servers: &mut Endpoints,
    path: &Path,
    version: &str,
    patience: Span,
) -> Result<Waited, Error> {
    if version.parse::<u64>().is_err() {
        // Of another backend. The API server would answer it with status 500.
        return Ok(Waited::Changed);
    }
    let seconds = patience.as_millis().div_ceil(1000).max(1);
    let path = path
        .clone()
        .query("watch", 1)
        .query("allowWatchBookmarks", true)
        .query("resourceVersion", version)
        .query("timeoutSeconds", seconds)
        .to_string();
    let answer = servers.ask(context, Method::Get, &path, |request| {
        request.streams_for(patience)
    })?;
    if answer.status() == GONE {
        return Ok(Waited::Changed);
    }
    let mut reached = version.to_owned();
    let waited = follow(context, checked(answer)?, patience, |event: Event| {
        let Object {
            metadata,
            code,
            message,
        } = event.object;
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" | "DELETED" => Ok(Some(Waited::Changed)),
            // Its store was restored.
            "BOOKMARK" if is_older(&metadata.resource_version, version) => {
                Ok(Some(Waited::Changed))
            }
            "BOOKMARK" => {
                reached = metadata.resource_version;
                Ok(None)
            }
            "ERROR" if code == GONE => Ok(Some(Waited::Changed)),
            "ERROR" => {
                let text = format!("the API server ended the watch with {code}: {message}");
                Err(error_of_status(code, text))
            }
            _ => Ok(None),
        }
    });
    Ok(match waited? {
        Waited::Closed(_) => Waited::Closed(Some(reached)),
        other => other,
    })
}

/// As the API server sends a list.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct RawList<T> {
    metadata: ListMetadata,
    #[serde(default, deserialize_with = "or_default")]
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListMetadata {
    resource_version: String,
    /// Stands for the next page of a list. Empty on the last one.
    #[serde(rename = "continue", deserialize_with = "or_default")]
    next: String,
}

/// An object of which only the metadata was asked for.
#[derive(Deserialize)]
struct Partial {
    metadata: ObjectMetadata,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

/// An object of which only the version matters, or a [`Status`].
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

/// Why a request failed.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

fn list<T: DeserializeOwned>(
    context: &Context,
    servers: &mut Endpoints,
    path: &Path,
    accept: &str,
) -> Result<ObjectList<T>, Error> {
    for _ in 0..MAX_BEGINNINGS {
        if let Some(list) = list_pages(context, servers, path, accept)? {
            return Ok(list);
        }
    }
    let text = "the list of the API server expired each time before it was read to its end";
    Err(Error::Unavailable(text.to_owned()))
}

/// All pages of a list; `None` if the server no longer has the next one.
fn list_pages<T: DeserializeOwned>(
    context: &Context,
    servers: &mut Endpoints,
    path: &Path,
    accept: &str,
) -> Result<Option<ObjectList<T>>, Error> {
    let path = path.clone().query("limit", PAGE);
    let mut whole: Option<ObjectList<T>> = None;
    let mut next = String::new();
    for _ in 0..MAX_PAGES {
        let page = path.clone().query_if_set("continue", &next).to_string();
        let answer = servers.ask(context, Method::Get, &page, |request| {
            request.header("accept", accept)
        })?;
        if whole.is_some() && answer.status() == GONE {
            return Ok(None);
        }
        let page: RawList<T> = checked(answer)?.json()?;
        // All pages are of one version. Where they are not, changes after the first one are seen by
        // a watch from there.
        let list = whole.get_or_insert_with(|| ObjectList {
            items: Vec::new(),
            version: page.metadata.resource_version,
        });
        list.items.extend(page.items);
        next = page.metadata.next;
        if next.is_empty() {
            return Ok(whole);
        }
    }
    let text = "the list of the API server has no end";
    Err(Error::Protocol(text.to_owned()))
}

/// An answer with status 2xx, or what the API server says instead.
fn checked(answer: Response) -> Result<Response, Error> {
    answer.ok_or(|body| {
        let said: Status = serde_json::from_slice(body).ok()?;
        Some(said.message)
    })
}

/// Whether a version comes before another one. Those of one store rise.
fn is_older(version: &str, than: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    number(version)
        .zip(number(than))
        .is_some_and(|(version, than)| version < than)
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
