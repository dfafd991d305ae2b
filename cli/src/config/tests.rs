use std::fs;
use std::time::Duration;

use hotswap_core::Amount;

use super::*;

/// Reads a file with this text.
pub(crate) fn read(text: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.toml");
    fs::write(&file, text).unwrap();
    let args = Serve {
        config: Some(file),
        ..Serve::default()
    };
    Config::read(&args, |_| None)
}

#[test]
fn later_sources_override_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.toml");
    fs::write(
        &file,
        "listen = \"127.0.0.1:1\"\ndataDir = \"of-file\"\nlogFormat = \"json\"",
    )
    .unwrap();
    let args = Serve {
        config: Some(file),
        listen: Some("127.0.0.1:3".parse().unwrap()),
        ..Serve::default()
    };
    let variable = |name: &str| match name {
        "HOTSWAP_LISTEN" => Some("127.0.0.1:2".to_owned()),
        "HOTSWAP_DATA_DIR" => Some("of-env".to_owned()),
        _ => None,
    };
    let config = Config::read(&args, variable).unwrap();
    assert_eq!(config.listen, "127.0.0.1:3".parse().unwrap());
    assert_eq!(config.data_dir, Path::new("of-env"));
    assert_eq!(config.compiled_dir(), Path::new("of-env/compiled"));
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn a_policy_changes_only_the_keys_that_it_sets() {
    let config = read(
        "[environments.production]\nmaxUnavailable = 3\ntoleratedFailures = \"10%\"\ndeadline = \"2h\"\npauseStopsDeadline = false",
    )
    .unwrap();
    let production: Environment = "production".parse().unwrap();
    let expected = Policy {
        max_unavailable: Amount::Count(3),
        tolerated_failures: Amount::Percent(10),
        deadline: Duration::from_secs(7200),
        pause_stops_deadline: false,
        ..Policy::default_for(&production)
    };
    assert_eq!(config.policies(), BTreeMap::from([(production, expected)]));
}

#[test]
fn jwt_and_cors_origins_are_configured() {
    let config = read(
        "corsOrigins = [\"http://localhost:3000\", \"https://example.org\"]\n[jwt]\nalgorithm = \"EdDSA\"\npublicKeyFile = \"issuer.pem\"\nissuer = \"i\"\naudience = \"a\"",
    )
    .unwrap();
    let origins: Vec<_> = config.cors_origins.iter().map(Origin::to_string).collect();
    assert_eq!(origins, ["http://localhost:3000", "https://example.org"]);
    let jwt = config.jwt.unwrap();
    assert_eq!(jwt.algorithm, hotswap_api::Algorithm::EdDsa);
    assert_eq!(jwt.public_key_file.unwrap(), Path::new("issuer.pem"));
    assert_eq!((&*jwt.issuer, &*jwt.audience), ("i", "a"));

    // The flag replaces the list of the file.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.toml");
    fs::write(&file, "corsOrigins = [\"http://localhost:3000\"]").unwrap();
    let args = Serve {
        config: Some(file),
        cors_origins: vec!["http://localhost:4000".parse().unwrap()],
        ..Serve::default()
    };
    let config = Config::read(&args, |_| None).unwrap();
    assert_eq!(config.cors_origins, args.cors_origins);
}

#[test]
fn missing_limits_have_their_defaults() {
    let config = read("[retention]\ndeployments = 5\nversionAge = \"1d\"").unwrap();
    let expected = Retention {
        deployments: 5,
        version_age: Span(Duration::from_secs(24 * 60 * 60)),
        ..Retention::default()
    };
    assert_eq!(config.retention, expected);
    let config = read("[limits]\ncalls = 5\nparkAfter = \"1m\"").unwrap();
    let limits = hotswap_runner::Limits::from(config.limits);
    assert_eq!(
        (limits.calls, limits.suspend_after),
        (5, Duration::from_secs(60))
    );
    assert_eq!(limits.bytes, hotswap_runner::Limits::default().bytes);
}

#[test]
fn errors_name_the_invalid_value_and_a_valid_one() {
    for (text, words) in [
        ("listne = \"x\"", vec!["listne", "listen", "engine.toml"]),
        (
            "[environments.production]\ndedline = \"2h\"",
            vec!["dedline", "deadline"],
        ),
        (
            "[environments.production]\ndeadline = \"soon\"",
            vec!["soon", "2h"],
        ),
        (
            "[environments.Production]",
            vec!["Production", "lower-case"],
        ),
        (
            "[environments.qa]\nmaxUnavailable = \"101%\"",
            vec!["101%", "25%"],
        ),
        ("token = \"x\"", vec!["token", "tokenFile"]),
        ("listen = 5000", vec!["listen"]),
        (
            "corsOrigins = [\"*\"]",
            vec!["corsOrigins", "http://localhost:3000"],
        ),
        (
            "[jwt]\nalgorithm = \"none\"\nissuer = \"i\"\naudience = \"a\"",
            vec!["none", "HS256", "EdDSA"],
        ),
        (
            "[jwt]\nalgorithm = \"HS256\"\nsecretFile = \"s\"\naudience = \"a\"",
            vec!["jwt", "issuer"],
        ),
        (
            "[jwt]\nsecret = \"s\"",
            vec!["secret", "secretFile", "publicKeyFile"],
        ),
    ] {
        let error = format!("{:#}", read(text).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

#[test]
fn a_named_file_must_exist() {
    let args = Serve {
        config: Some("no-such.toml".into()),
        ..Serve::default()
    };
    let error = Config::read(&args, |_| None).unwrap_err().to_string();
    assert!(error.contains("no-such.toml"), "{error}");
}

#[test]
fn environments_have_selectors_that_differ() {
    let config = read(
        "[environments.production]\nselector = \"zone in (us, eu)\"\n[environments.qa]\ndeadline = \"1h\"",
    )
    .unwrap();
    let selectors: Vec<_> = config.selectors().into_iter().collect();
    assert_eq!(selectors.len(), 1);
    assert_eq!(selectors[0].0.as_str(), "production");
    assert_eq!(selectors[0].1.to_string(), "zone in (eu,us)");
    let same = "environments.a.selector = \"zone==eu\"\nenvironments.b.selector = \"zone=eu\"";
    let error = format!("{:#}", read(same).unwrap_err());
    assert!(
        error.contains("environments.a.selector and environments.b.selector"),
        "{error}"
    );
    let invalid = "environments.qa.selector = \"zone eu\"";
    let error = format!("{:#}", read(invalid).unwrap_err());
    assert!(error.contains("at character 6"), "{error}");
}

/// Every number and span of the configuration, with its lowest and highest value.
const RANGES: [(&str, &str, &str); 10] = [
    ("limits.calls", "1", "1000000"),
    ("limits.bytes", "1", "1073741824"),
    ("limits.bytesPerNode", "0", "1048576"),
    ("limits.totalFuel", "10000000", "1000000000000000"),
    ("limits.parkAfter", "\"0s\"", "\"1day\""),
    ("limits.fanOut", "1", "4096"),
    ("limits.instances", "1", "4000"),
    ("environments.production.deadline", "\"1s\"", "\"30days\""),
    (
        "environments.production.revertPatience",
        "\"0s\"",
        "\"7days\"",
    ),
    ("environments.production.maxUnavailable", "1", "\"100%\""),
];

const TOLERATED_FAILURES: &str = "environments.production.toleratedFailures";

#[test]
fn the_first_and_the_last_value_of_each_range_are_accepted() {
    for (key, first, last) in RANGES {
        for value in [first, last] {
            read(&format!("{key} = {value}")).unwrap();
        }
    }
    for value in ["0", "4294967295", "\"0%\"", "\"100%\""] {
        read(&format!("{TOLERATED_FAILURES} = {value}")).unwrap();
    }
}

#[test]
fn absurd_values_are_rejected_and_the_error_names_the_key() {
    let long = format!("\"{}\"", "9".repeat(60_000));
    let absurd = [
        "-1",
        "9223372036854775807",
        "1.5",
        "true",
        "[]",
        "\"\"",
        "\"ä\"",
        "\"101%\"",
        "\"500000000000y\"",
        "\"584554530872y\"",
        &long,
    ];
    let keys = RANGES.iter().map(|(key, ..)| *key);
    for key in keys.chain([TOLERATED_FAILURES]) {
        for value in absurd {
            let error = format!("{:#}", read(&format!("{key} = {value}")).unwrap_err());
            let name = key.rsplit('.').next().unwrap();
            assert!(error.contains(name), "{key} = {value}: {error}");
            assert!(error.len() < 1000, "{key} = {value}: {}", error.len());
        }
    }
}

#[test]
fn values_outside_their_range_are_rejected_with_the_range() {
    for (key, value) in [
        ("limits.calls", "0"),
        ("limits.calls", "1000001"),
        ("limits.bytes", "0"),
        ("limits.bytes", "1073741825"),
        ("limits.bytesPerNode", "1048577"),
        ("limits.totalFuel", "9999999"),
        ("limits.totalFuel", "1000000000000001"),
        ("limits.parkAfter", "\"25h\""),
        ("limits.fanOut", "0"),
        ("limits.fanOut", "4097"),
        ("limits.instances", "0"),
        ("limits.instances", "4001"),
        ("environments.production.deadline", "\"0s\""),
        ("environments.production.deadline", "\"31days\""),
        ("environments.production.revertPatience", "\"8days\""),
        ("environments.production.maxUnavailable", "0"),
        ("environments.production.maxUnavailable", "\"0%\""),
    ] {
        let error = format!("{:#}", read(&format!("{key} = {value}")).unwrap_err());
        let range = RANGES.iter().find(|(known, ..)| *known == key).unwrap();
        let last = range.2.trim_matches('"');
        let expected = format!("{key} is {}; use", value.trim_matches('"'));
        assert!(error.contains(last), "{error}");
        assert!(
            error.contains(&expected) || value.starts_with('"'),
            "{error}"
        );
    }
}

/// A number that is added to the configuration must get a range.
#[test]
fn every_number_of_the_configuration_has_a_tested_range() {
    let defaults = serde_json::to_value(hotswap_example()).unwrap();
    let mut keys = Vec::new();
    for (section, fields) in [
        ("limits", &defaults["limits"]),
        (
            "environments.production",
            &defaults["environments"]["production"],
        ),
    ] {
        keys.extend(
            fields
                .as_object()
                .unwrap()
                .keys()
                .map(|key| format!("{section}.{key}")),
        );
    }
    let is_number = |key: &str| {
        // Every amount from none to all makes sense for the last two.
        let others = [
            "defaultStrategy",
            "pauseStopsDeadline",
            "maxMissing",
            "toleratedFailures",
        ];
        !others.iter().any(|other| key.ends_with(other))
    };
    keys.retain(|key| is_number(key));
    keys.sort();
    let mut tested = RANGES.map(|(key, ..)| key.to_owned());
    tested.sort();
    assert_eq!(keys, tested);
}

/// A configuration in which every key has a value.
fn hotswap_example() -> Config {
    let production: Environment = "production".parse().unwrap();
    let policy = Policy::default_for(&production).into();
    Config {
        environments: BTreeMap::from([(production, policy)]),
        ..Config::default()
    }
}

#[test]
fn the_waits_for_nodes_are_configured_and_have_ranges() {
    let args = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("engine.toml");
        fs::write(&file, text).unwrap();
        let args = Serve {
            config: Some(file),
            ..Serve::default()
        };
        (args, folder)
    };
    let (node_args, _folder) = args("[nodes]\nrequestTimeout = \"2s\"\nstallTimeout = \"5m\"");
    let variable = |name: &str| match name {
        "HOTSWAP_NODES_STALL_TIMEOUT" => Some("10m".to_owned()),
        _ => None,
    };
    let config = Config::read(&node_args, variable).unwrap();
    let options = hotswap_fleet::Options::from(config.nodes);
    let expected = hotswap_fleet::Options {
        request_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(600),
        ..hotswap_fleet::Options::default()
    };
    assert_eq!(options, expected);
    for key in ["expireAfter", "expireStoppedAfter"] {
        for span in ["0s", "11y"] {
            let text = format!("[nodes]\n{key} = \"{span}\"");
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains(&format!("nodes.{key} is ")), "{error}");
        }
    }
    let (nodes, _folder) = args("[nodes]\nexpireAfter = \"2d\"");
    let nodes = Config::read(&nodes, |_| None).unwrap().nodes;
    let expected = hotswap_runner::ExpiryLimits {
        silent: Duration::from_secs(2 * 24 * 3600),
        ..hotswap_runner::ExpiryLimits::default()
    };
    assert_eq!(hotswap_runner::ExpiryLimits::from(nodes), expected);
    for key in [
        "connectTimeout",
        "requestTimeout",
        "patience",
        "stallTimeout",
        "compileTimeout",
    ] {
        for span in ["0s", "8d"] {
            let text = format!("[nodes]\n{key} = \"{span}\"");
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains(&format!("nodes.{key} is ")), "{error}");
        }
    }
}

#[test]
fn a_source_of_nodes_has_a_name_of_its_own_and_what_its_backend_needs() {
    let source = |name: &str, rest: &str| format!("[[discovery]]\nname = \"{name}\"\n{rest}\n");
    let list = "backend = \"static\"\nfile = \"nodes.json\"";
    let consul = "backend = \"consul\"\norigins = [\"http://127.0.0.1:8500\"]";
    let config = read(&(source("a", list) + &source("b", consul))).unwrap();
    assert_eq!(config.discovery.len(), 2);
    assert_eq!(config.discovery[1].service, "hotswap-node");
    assert_eq!(
        config.discovery[1].poll_interval,
        Span(Duration::from_secs(300))
    );
    for (text, expected) in [
        (
            source("a", list) + &source("a", consul),
            "two sources named 'a'",
        ),
        (source("built-in", list), "two sources named 'built-in'"),
        (source("A b", list), "a name is invalid"),
        (source("a", "backend = \"static\""), "file is missing"),
        (source("a", "backend = \"consul\""), "origins is empty"),
        (
            source("a", &format!("{list}\norigins = [\"http://a:1\"]")),
            "no origins, names, secrets, settings or files for TLS",
        ),
        (
            source("a", &format!("{consul}\nfile = \"x\"")),
            "only the backend static has a file",
        ),
        (
            source(
                "a",
                "backend = \"etcd\"\norigins = [\"http://me:secret-of-etcd@a:1\"]",
            ),
            "write it as http://host:port",
        ),
        (
            source("a", &format!("{consul}\ncaFile = \"ca.pem\"")),
            "no origin is https",
        ),
        (
            source("a", &format!("{consul}\nclientKey = \"key.pem\"")),
            "clientCertificate and clientKey belong together",
        ),
        (
            source("a", &format!("{consul}\nnameServer = \"10.0.0.2\"")),
            "write it as host:port, such as 10.0.0.2:53",
        ),
        (
            source("a", &format!("{consul}\ncheckInterval = \"11m\"")),
            "checkInterval is 660s; choose a span from 1s to 600s",
        ),
        (
            source(
                "a",
                "backend = \"etcd\"\norigins = [\"http://e:2379\"]\ncheck = \"http\"",
            ),
            "the backend etcd does not let its registry ask",
        ),
        (
            source("a", &format!("{consul}\npollInterval = \"2h\"")),
            "pollInterval is 7200s; choose a span from 1s to 3600s",
        ),
        (
            source("a", &format!("{consul}\ntoken = \"x\"")),
            "unknown field",
        ),
    ] {
        let error = format!("{:#}", read(&text).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("secret-of-etcd"), "{error}");
    }
}
