use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::common::v1::{self as common, InstrumentationScope};
use opentelemetry_proto::tonic::resource::v1 as message;
use opentelemetry_sdk::Resource;
use percent_encoding::percent_decode_str;

/// What this process is.
pub struct Service {
    /// `hotswap-engine` or `hotswap-node`.
    pub name: &'static str,
    /// Tells it from others of its name: the node's id, the engine's name. `None` where it has
    /// none; then a random one is made.
    pub instance: Option<String>,
}

/// What all spans of this process say of it. `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`
/// win.
pub(super) fn resource(service: &Service, variable: impl Fn(&str) -> Option<String>) -> Resource {
    let given = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let given: Vec<(&str, &str)> = given
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let has_name = variable("OTEL_SERVICE_NAME").is_some();
    let instance = service.instance.clone();
    let instance = instance.unwrap_or_else(|| format!("{:016x}", random_id()));
    let own = [
        KeyValue::new("service.name", service.name),
        KeyValue::new("service.namespace", "hotswap"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    let own = own.into_iter().filter(|attribute| {
        let key = attribute.key.as_str();
        let is_given = given.iter().any(|(given, _)| *given == key);
        !(is_given || has_name && key == "service.name")
    });
    // The builder reads the variables itself, but leaves the values percent-encoded.
    let decoded = given
        .iter()
        .filter(|(key, _)| !(has_name && *key == "service.name"))
        .filter_map(|(key, value)| {
            let value = percent_decode_str(value).decode_utf8().ok()?;
            Some(KeyValue::new((*key).to_owned(), value.into_owned()))
        });
    let builder = Resource::builder().with_attributes(own);
    builder.with_attributes(decoded).build()
}

/// The same, as requests to a collector have it.
pub(super) fn message(resource: &Resource) -> message::Resource {
    let attributes = resource.iter().map(|(key, value)| common::KeyValue {
        key: key.to_string(),
        value: Some(value.clone().into()),
        ..common::KeyValue::default()
    });
    message::Resource {
        attributes: attributes.collect(),
        ..message::Resource::default()
    }
}

/// What has made the spans and metrics.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "hotswap".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A number that no other process has.
fn random_id() -> u64 {
    let mut bytes = [0; 8];
    // Without one, the process id still tells processes of a machine apart.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_names_itself_unless_it_is_named() {
        let service = Service {
            name: "hotswap-node",
            instance: Some("n1".to_owned()),
        };
        let resource = super::resource(&service, |_| None);
        let value = |key: &'static str| {
            let key = opentelemetry::Key::from_static_str(key);
            resource.get(&key).map(|value| value.to_string())
        };
        assert_eq!(value("service.name").as_deref(), Some("hotswap-node"));
        assert_eq!(value("service.instance.id").as_deref(), Some("n1"));
        let named = super::resource(&service, |name| {
            let attributes = "service.instance.id=x, team = a%2Cb%3D1 ,broken=%ff";
            (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| attributes.to_owned())
        });
        let value = |key: &'static str| {
            let key = opentelemetry::Key::from_static_str(key);
            named.get(&key).map(|value| value.to_string())
        };
        assert_eq!(value("service.instance.id").as_deref(), Some("x"));
        assert_eq!(value("team").as_deref(), Some("a,b=1"));
        assert_eq!(value("broken"), None);
    }
}
