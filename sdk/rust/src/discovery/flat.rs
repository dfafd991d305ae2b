//! Instances for registries that keep one text for each key, and take only some characters in keys.

use std::collections::BTreeMap;

use super::{Instance, Port, Registration};

/// The key of a named port, before its name.
const PORT: &str = "port-";
const VERSION: &str = "version";
const ZONE: &str = "zone";

/// Before the bytes of a key, in hexadecimal, that a registry would not take or that means something
/// else here.
const ENCODED: &str = "x_";

/// What a registration says besides its id and its address, as keys of letters, digits, hyphens and
/// underscores: `port-NAME`, `version`, `zone`, and its metadata. A key that does not fit becomes
/// `x_` and its bytes in hexadecimal. [`read_metadata`] reads it.
#[must_use]
pub fn flat_metadata(registration: &Registration) -> BTreeMap<String, String> {
    let metadata = registration.metadata.iter();
    let mut flat: BTreeMap<_, _> = metadata
        .map(|(key, value)| (encode_key(key), value.clone()))
        .collect();
    let ports = registration.ports.iter();
    flat.extend(ports.map(|port| (format!("{PORT}{}", port.name), port.number.to_string())));
    let fields = [(VERSION, &registration.version), (ZONE, &registration.zone)];
    let fields = fields.into_iter();
    flat.extend(fields.filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
    flat
}

/// Adds to an instance what [`flat_metadata`] says of it. Others may have written it.
pub fn read_metadata(instance: &mut Instance, flat: BTreeMap<String, String>) {
    for (key, value) in flat {
        let port = key.strip_prefix(PORT).zip(value.parse().ok());
        match (key.as_str(), port) {
            (_, Some((name, number))) => instance.ports.push(Port {
                name: name.to_owned(),
                number,
            }),
            (VERSION, _) => instance.version = Some(value),
            (ZONE, _) => instance.zone = Some(value),
            _ => instance.metadata.push((decode_key(&key), value)),
        }
    }
}

fn encode_key(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_ours =
        [VERSION, ZONE].contains(&key) || [PORT, ENCODED].iter().any(|it| key.starts_with(it));
    if key.bytes().all(is_plain) && !is_ours {
        return key.to_owned();
    }
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{ENCODED}{hex}")
}

fn decode_key(key: &str) -> String {
    let decoded = key.strip_prefix(ENCODED).and_then(|hex| {
        let digits: Vec<char> = hex.chars().collect();
        let bytes = digits.chunks(2).map(|pair| {
            let pair: String = pair.iter().collect();
            u8::from_str_radix(&pair, 16)
                .ok()
                .filter(|_| pair.len() == 2)
        });
        String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
    });
    decoded.unwrap_or_else(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::instance;
    use crate::discovery::testing::registration;

    #[test]
    fn every_key_survives_a_registry_that_takes_few_characters() {
        for key in [
            "tier",
            "hotswap.dev/tier",
            "zone",
            "port-x",
            "x_y",
            "x_ff",
            "é",
        ] {
            let encoded = encode_key(key);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            assert!(encoded.bytes().all(is_plain), "{encoded}");
            assert_eq!(decode_key(&encoded), key);
        }
        for foreign in ["x_", "x_1", "x_zz", "x_fffe"] {
            decode_key(foreign);
        }
    }

    #[test]
    fn an_instance_is_found_as_it_was_registered() {
        let registration = registration("node-1");
        let mut found = instance("10.0.0.1");
        read_metadata(&mut found, flat_metadata(&registration));
        assert_eq!(
            (found.version, found.zone),
            (registration.version, registration.zone)
        );
        assert_eq!(found.metadata, registration.metadata);
        assert_eq!(
            (&*found.ports[0].name, found.ports[0].number),
            ("control", 9001)
        );
        // As somebody else may have written it.
        let foreign = [("port-x", "no port"), ("x_", "1")];
        let foreign = foreign.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut found = instance("10.0.0.1");
        read_metadata(&mut found, foreign.into());
        assert!(found.ports.is_empty());
        assert_eq!(found.metadata.len(), 2);
    }
}
