use hotswap_sdk::Span;
use hotswap_sdk::discovery::testing::{ScriptedBackend, ScriptedRegistry};
use hotswap_sdk::discovery::{Error, Health, SrvRecord};

use proptest::prelude::*;

use super::{Config, Dns, Id, Records};

const NAME: &str = "_node._tcp.example.com";
const MINUTE: Span = Span::mins(1);

fn config() -> Config {
    Config {
        name: NAME.to_owned(),
        ports: [("data".to_owned(), 8080)].into(),
        metadata: [("environment".to_owned(), "production".to_owned())].into(),
        ..Config::default()
    }
}

fn record(target: &str, port: u16) -> SrvRecord {
    SrvRecord {
        priority: 0,
        weight: 0,
        port,
        target: target.to_owned(),
        addresses: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
        ttl: 30,
    }
}

fn dns(registry: &ScriptedRegistry, config: Config) -> ScriptedBackend<Dns> {
    registry.backend(config).expect("valid settings")
}

#[test]
fn an_srv_record_gives_an_instance_with_its_port_and_the_settings_the_rest() {
    let registry = ScriptedRegistry::new().srv(NAME, Ok(vec![record("edge-1.example.com.", 5001)]));
    let found = dns(&registry, config())
        .watch("node", None, MINUTE)
        .unwrap();
    let instance = &found.instances[0];
    assert_eq!((&*instance.id, &*instance.address), ("edge-1", "10.0.0.1"));
    assert_eq!(instance.health, Health::Unknown);
    assert_eq!(instance.weight, 1);
    let ports: Vec<_> = instance
        .ports
        .iter()
        .map(|port| (&*port.name, port.number))
        .collect();
    assert_eq!(ports, [("control", 5001), ("data", 8080)]);
    assert_eq!(
        instance.metadata,
        [("environment".to_owned(), "production".to_owned())]
    );
    assert_eq!(registry.waited(), Span::ZERO);
}

#[test]
fn an_address_gives_an_instance_with_an_id_that_nodes_may_have() {
    let addresses = ["10.0.0.1", "fd00::1"].map(str::to_owned).to_vec();
    let registry = ScriptedRegistry::new().addresses(NAME, Ok(addresses));
    let config = Config {
        records: Records::Addresses,
        port: 6001,
        ..config()
    };
    let found = dns(&registry, config).watch("node", None, MINUTE).unwrap();
    let ids: Vec<_> = found
        .instances
        .iter()
        .map(|it| (&*it.id, &*it.address))
        .collect();
    assert_eq!(ids, [("10.0.0.1", "10.0.0.1"), ("fd00--1", "fd00::1")]);
    assert_eq!(found.instances[1].ports[0].number, 6001);
}

#[test]
fn a_watch_ends_with_a_change_or_its_patience_and_the_order_of_records_is_none() {
    let (a, b) = (record("a.example.com", 1), record("b.example.com", 1));
    let registry = ScriptedRegistry::new()
        .srv(NAME, Ok(vec![a.clone(), b.clone()]))
        .srv(NAME, Ok(vec![b.clone(), a.clone()]))
        .srv(NAME, Ok(vec![b.clone()]))
        .srv(NAME, Ok(vec![b.clone()]))
        .srv(NAME, Ok(vec![b]));
    let mut dns = dns(&registry, config());
    let first = dns.watch("node", None, MINUTE).unwrap();
    let second = dns.watch("node", Some(&first.cursor), MINUTE).unwrap();
    assert_eq!(second.instances.len(), 1);
    assert_eq!(registry.waited(), Span::secs(10));
    let third = dns
        .watch("node", Some(&second.cursor), Span::secs(7))
        .unwrap();
    assert_eq!(third, second);
    assert_eq!(registry.waited(), Span::secs(17));
}

#[test]
fn the_order_of_addresses_is_none_and_those_of_ipv4_come_first() {
    let with = |addresses: &[&str]| SrvRecord {
        addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
        ..record("a.example.com", 1)
    };
    let mut registry = ScriptedRegistry::new();
    for addresses in [
        ["fd00::1", "10.0.0.10", "10.0.0.9"],
        ["10.0.0.9", "fd00::1", "10.0.0.10"],
        ["10.0.0.10", "10.0.0.9", "fd00::1"],
    ] {
        registry = registry.srv(NAME, Ok(vec![with(&addresses)]));
    }
    let mut dns = dns(&registry, config());
    let first = dns.watch("node", None, MINUTE).unwrap();
    assert_eq!(first.instances[0].address, "10.0.0.9");
    let patience = Span::secs(10);
    let second = dns.watch("node", Some(&first.cursor), patience).unwrap();
    assert_eq!(second, first);
    assert_eq!(registry.waited(), patience);
}

#[test]
fn no_records_are_no_instances_and_a_silent_name_server_is_an_error() {
    let registry = ScriptedRegistry::new().srv(NAME, Ok(Vec::new()));
    let mut dns = dns(&registry, config());
    assert!(
        dns.watch("node", None, MINUTE)
            .unwrap()
            .instances
            .is_empty()
    );
    let error = dns.watch("node", None, MINUTE).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[test]
fn a_target_without_addresses_stays_and_ids_never_stand_twice() {
    let lost = SrvRecord {
        addresses: Vec::new(),
        ..record("lost.example.com", 1)
    };
    let two = vec![record("a.example.com", 1), record("a.example.com", 2)];
    let registry = ScriptedRegistry::new()
        .srv(NAME, Ok(vec![lost]))
        .srv(NAME, Ok(two.clone()))
        .srv(NAME, Ok(two));
    let found = dns(&registry, config())
        .watch("node", None, MINUTE)
        .unwrap();
    assert_eq!(found.instances[0].address, "lost.example.com");
    let error = dns(&registry, config())
        .watch("node", None, MINUTE)
        .unwrap_err();
    assert!(matches!(&error, Error::Protocol(text) if text.contains("nameAndPort")));
    let by_port = Config {
        id: Id::NameAndPort,
        ..config()
    };
    let found = dns(&registry, by_port).watch("node", None, MINUTE).unwrap();
    assert_eq!(found.instances[1].id, "a.example.com-2");
}

#[test]
fn settings_without_a_name_are_rejected() {
    let rejected = ScriptedRegistry::new().backend::<Dns>(Config::default());
    assert!(matches!(rejected, Err(Error::InvalidConfig(_))));
}

proptest! {
    #[test]
    fn records_of_any_kind_are_errors_or_instances_and_never_panics(
        targets in prop::collection::vec(("\\PC{0,20}|[a-c.]{0,6}", any::<u16>(), any::<u16>()), 0..6),
        id in prop::sample::select(vec![Id::Label, Id::Name, Id::NameAndPort]),
    ) {
        let count = targets.len();
        let records = targets.into_iter().map(|(target, port, weight)| SrvRecord {
            weight,
            ..record(&target, port)
        });
        let registry = ScriptedRegistry::new().srv(NAME, Ok(records.collect()));
        let config = Config { id, ..config() };
        match dns(&registry, config).watch("node", None, MINUTE) {
            Ok(found) => prop_assert_eq!(found.instances.len(), count),
            Err(error) => prop_assert!(matches!(error, Error::Protocol(_)), "{error:?}"),
        }
    }
}
