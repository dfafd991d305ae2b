use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::common::v1::{self as common, InstrumentationScope};
use opentelemetry_proto::tonic::resource::v1 as message;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use percent_encoding::percent_decode_str;

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// What this process is.
pub struct Service {
    /// `hotswap-engine` or `hotswap-node`.
    pub name: &'static str,
    /// Tells it from others of its name: the node's id, the engine's name. `None` where it has
    /// none; then a random one is made.
    pub instance: Option<String>,
}

/// What all spans and metrics of this process say of it. `OTEL_RESOURCE_ATTRIBUTES` and
/// `OTEL_SERVICE_NAME` win. If an attribute of the former cannot be read, none of them counts, as the
/// specification asks, and the log says so.
pub(super) fn resource(service: &Service, variable: impl Fn(&str) -> Option<String>) -> Resource {
    let text = variable(ATTRIBUTES).unwrap_or_default();
    let given = attributes(&text).unwrap_or_else(|reason| {
        tracing::warn!(
            reason,
            "the value of OTEL_RESOURCE_ATTRIBUTES cannot be read and has no effect"
        );
        Vec::new()
    });
    let instance = service.instance.clone();
    let instance = instance.unwrap_or_else(|| format!("{:016x}", random_id()));
    let own = [
        KeyValue::new("service.name", service.name),
        KeyValue::new("service.namespace", "hotswap"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    let name = variable("OTEL_SERVICE_NAME");
    let name = name.map(|name| KeyValue::new("service.name", name));
    // Of a key that comes twice, the last one counts. The builder's own reading of the variables
    // would leave values percent-encoded, and keep what cannot be read.
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(own)
        .with_attributes(given)
        .with_attributes(name)
        .build()
}

/// Reads `key=value,…`, both percent-encoded.
///
/// # Errors
/// Says what is wrong with the first pair that cannot be read, by its place: a value may be a secret.
fn attributes(text: &str) -> Result<Vec<KeyValue>, String> {
    let pairs = text.split(',').enumerate();
    let pairs = pairs.filter(|(_, pair)| !pair.trim().is_empty());
    let read = pairs.map(|(index, pair)| {
        let place = index + 1;
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("pair {place} has no '='"))?;
        let decode = |text: &str| {
            decode(text.trim()).ok_or_else(|| {
                format!("pair {place} is not percent-encoded UTF-8: write '%' as %25")
            })
        };
        match decode(key)? {
            key if key.is_empty() => Err(format!("pair {place} has no key")),
            key => Ok(KeyValue::new(key, decode(value)?)),
        }
    });
    read.collect()
}

/// `None` where a `%` has no two hexadecimal digits behind it, or where the bytes are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    let is_escape = |rest: &[u8]| {
        rest.get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.all(is_escape) {
        return None;
    }
    let text = percent_decode_str(text).decode_utf8().ok()?;
    Some(text.into_owned())
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

    /// The resource of a node with these variables.
    fn node(attributes: Option<&str>, name: Option<&str>) -> Resource {
        let service = Service {
            name: "hotswap-node",
            instance: Some("n1".to_owned()),
        };
        resource(&service, |variable| {
            let value = match variable {
                ATTRIBUTES => attributes,
                "OTEL_SERVICE_NAME" => name,
                _ => None,
            };
            value.map(str::to_owned)
        })
    }

    fn value(resource: &Resource, key: &'static str) -> Option<String> {
        let key = opentelemetry::Key::from_static_str(key);
        resource.get(&key).map(|value| value.to_string())
    }

    #[test]
    fn the_process_names_itself_unless_it_is_named() {
        let unnamed = node(None, None);
        assert_eq!(
            value(&unnamed, "service.name").as_deref(),
            Some("hotswap-node")
        );
        assert_eq!(
            value(&unnamed, "service.instance.id").as_deref(),
            Some("n1")
        );
        assert_eq!(
            value(&unnamed, "telemetry.sdk.language").as_deref(),
            Some("rust")
        );
        let attributes = "service.instance.id=x, team = a%2Cb%3D1 ,service.name=y,a%20b=,";
        let named = node(Some(attributes), None);
        assert_eq!(value(&named, "service.instance.id").as_deref(), Some("x"));
        assert_eq!(value(&named, "team").as_deref(), Some("a,b=1"));
        assert_eq!(value(&named, "service.name").as_deref(), Some("y"));
        assert_eq!(value(&named, "a b").as_deref(), Some(""));
        let named = node(Some(attributes), Some("z"));
        assert_eq!(value(&named, "service.name").as_deref(), Some("z"));
    }

    #[test]
    fn one_attribute_that_cannot_be_read_discards_all() {
        for (broken, reason) in [
            ("team=a,broken=%ff", "pair 2 is not"),
            ("broken=%zz,team=a", "pair 1 is not"),
            ("team=a,share=50%", "pair 2 is not"),
            ("team=a,%ff=b", "pair 2 is not"),
            ("team=a,broken", "pair 2 has no '='"),
            ("team=a,=b", "pair 2 has no key"),
        ] {
            let said = attributes(broken).expect_err(broken);
            assert!(said.starts_with(reason), "{broken}: {said}");
            let resource = node(Some(broken), None);
            assert_eq!(value(&resource, "team"), None, "{broken}");
            assert_eq!(
                value(&resource, "service.name").as_deref(),
                Some("hotswap-node")
            );
        }
    }
}
