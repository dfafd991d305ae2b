use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

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
    let given: Vec<&str> = given
        .split(',')
        .filter_map(|pair| Some(pair.split_once('=')?.0.trim()))
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
        let is_given = given.contains(&key) || (has_name && key == "service.name");
        !is_given
    });
    // The builder reads the variables itself.
    Resource::builder().with_attributes(own).build()
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
            (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| "service.instance.id=x".to_owned())
        });
        let key = opentelemetry::Key::from_static_str("service.instance.id");
        assert_eq!(
            named.get(&key),
            None,
            "the builder adds what the variable says"
        );
    }
}
