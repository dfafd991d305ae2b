use hotswap_sdk::Span;
use hotswap_sdk::discovery::testing::{Answer, ScriptedRegistry, damage, registration};
use hotswap_sdk::discovery::{Error, Health, HealthCheck, HttpCheck, Registration};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Config, Consul};

const WATCH: &str = "GET /v1/health/service/node";
const MINUTE: Span = Span::mins(1);

fn entry(id: &str, status: &str) -> Value {
    json!({
        "Node": { "Node": "host-1", "Address": "10.0.0.1" },
        "Service": {
            "ID": id, "Service": "node", "Address": "", "Port": 9000,
            "Meta": { "port-control": "9001", "version": "1.2.0", "zone": "eu", "tier": "edge" },
            "Weights": { "Passing": 3, "Warning": 1 },
        },
        "Checks": [{ "CheckID": "serfHealth", "Status": "passing" }, { "Status": status }],
    })
}

fn answer(index: u64, entries: &[Value]) -> Answer {
    Answer::json(200, &entries).header("X-Consul-Index", index)
}

#[test]
fn an_entry_becomes_an_instance() {
    let registry = ScriptedRegistry::new().answer(WATCH, answer(7, &[entry("a", "warning")]));
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    let found = consul.watch("node", None, MINUTE).unwrap();
    assert_eq!(found.cursor, "7");
    let instance = &found.instances[0];
    assert_eq!(
        (instance.id.as_str(), instance.address.as_str()),
        ("a", "10.0.0.1")
    );
    assert_eq!(instance.health, Health::Warning);
    assert_eq!(instance.weight, 1);
    assert_eq!(
        (&*instance.ports[0].name, instance.ports[0].number),
        ("control", 9001)
    );
    assert_eq!(instance.version.as_deref(), Some("1.2.0"));
    assert_eq!(instance.zone.as_deref(), Some("eu"));
    assert_eq!(instance.metadata, [("tier".to_owned(), "edge".to_owned())]);
    assert_eq!(
        registry.requests(),
        ["GET 127.0.0.1:8500/v1/health/service/node"]
    );
}

#[test]
fn the_worst_check_of_an_instance_counts() {
    for (status, health) in [
        ("maintenance", Health::Critical),
        ("critical", Health::Critical),
        ("new", Health::Unknown),
        ("passing", Health::Passing),
    ] {
        let registry = ScriptedRegistry::new().answer(WATCH, answer(7, &[entry("a", status)]));
        let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
        let found = consul.watch("node", None, MINUTE).unwrap();
        assert_eq!(found.instances[0].health, health, "{status}");
    }
}

#[test]
fn an_index_that_goes_back_begins_anew_and_none_is_ever_zero() {
    let registry = ScriptedRegistry::new()
        .answer(WATCH, answer(0, &[]))
        .answer(WATCH, answer(9, &[]))
        .answer(WATCH, answer(3, &[entry("a", "passing")]))
        .answer(WATCH, answer(3, &[entry("a", "passing")]));
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    let mut cursor = None;
    for expected in ["1", "9", "0", "3"] {
        let found = consul.watch("node", cursor.as_deref(), MINUTE).unwrap();
        assert_eq!(found.cursor, expected);
        cursor = Some(found.cursor);
    }
    let query = |request: &String| {
        let query = request.split_once('?').map(|(_, query)| query.to_owned());
        query.unwrap_or_default()
    };
    let queries: Vec<_> = registry.requests().iter().map(query).collect();
    assert_eq!(
        queries,
        ["", "index=1&wait=56464ms", "index=9&wait=56464ms", ""]
    );
}

#[test]
fn the_next_agent_is_asked_where_one_does_not_answer() {
    let registry = ScriptedRegistry::new();
    let config = Config {
        agents: vec!["http://a:8500".to_owned(), "http://b:8500/".to_owned()],
        datacenter: "eu 1".to_owned(),
        filter: "Service.Meta.tier == \"edge\"".to_owned(),
        ..Config::default()
    };
    let mut consul = registry.backend::<Consul>(config).unwrap();
    let error = consul.watch("node", None, MINUTE).unwrap_err();
    let Error::Unavailable(text) = error else {
        panic!("{error:?}")
    };
    assert_eq!(text, "a:8500 does not answer; b:8500 does not answer");
    let query = "/v1/health/service/node?dc=eu%201&filter=Service.Meta.tier%20%3D%3D%20%22edge%22";
    assert_eq!(registry.requests()[1], format!("GET b:8500{query}"));
}

#[test]
fn the_next_agent_is_asked_where_one_cannot_answer_and_is_asked_first_from_then_on() {
    let registry = ScriptedRegistry::new()
        .answer(WATCH, Answer::text(500, "No cluster leader"))
        .answer(WATCH, answer(7, &[]))
        .answer(WATCH, answer(7, &[]))
        .answer(WATCH, Answer::text(503, "starting"))
        .answer(WATCH, Answer::text(500, "No cluster leader"));
    let config = Config {
        agents: vec!["http://a:8500".to_owned(), "http://b:8500".to_owned()],
        ..Config::default()
    };
    let mut consul = registry.backend::<Consul>(config).unwrap();
    consul.watch("node", None, MINUTE).unwrap();
    consul.watch("node", None, MINUTE).unwrap();
    let error = consul.watch("node", None, MINUTE).unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("starting")));
    let agent = |request: &String| request["GET ".len()..].chars().next().unwrap();
    let agents: String = registry.requests().iter().map(agent).collect();
    assert_eq!(agents, "abbba");
}

#[test]
fn answers_that_make_no_sense_are_told_from_refusals_and_outages() {
    let of = |answer: Answer| {
        let registry = ScriptedRegistry::new().answer(WATCH, answer);
        let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
        consul.watch("node", None, MINUTE).unwrap_err()
    };
    let denied = of(Answer::text(403, "ACL not found"));
    assert!(
        matches!(&denied, Error::Denied(text) if text.contains("ACL not found")),
        "{denied:?}"
    );
    assert!(matches!(
        of(Answer::text(500, "No cluster leader")),
        Error::Unavailable(_)
    ));
    assert!(matches!(
        of(Answer::text(200, "<html>")),
        Error::Protocol(_)
    ));
    assert!(matches!(
        of(Answer::text(200, "[{\"Node\":")),
        Error::Protocol(_)
    ));
    assert!(matches!(
        of(Answer::json(200, &json!([{}]))),
        Error::Protocol(_)
    ));
    assert!(matches!(of(Answer::status(301)), Error::Protocol(_)));
    assert!(matches!(of(Answer::stream(&[])), Error::Unavailable(_)));
}

#[test]
fn a_token_that_may_not_read_is_told_from_a_service_without_instances() {
    let filtered =
        |entries: &[Value]| answer(7, entries).header("X-Consul-Results-Filtered-By-ACLs", "true");
    let registry = ScriptedRegistry::new()
        .answer(WATCH, answer(7, &[]))
        .answer(WATCH, filtered(&[]))
        .answer(WATCH, filtered(&[entry("a", "passing")]))
        .answer(WATCH, filtered(&[entry("a", "passing")]));
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    assert!(
        consul
            .watch("node", None, MINUTE)
            .unwrap()
            .instances
            .is_empty()
    );
    let denied = consul.watch("node", None, MINUTE).unwrap_err();
    assert!(
        matches!(&denied, Error::Denied(text) if text.contains("node:read")),
        "{denied:?}"
    );
    for _ in 0..2 {
        assert_eq!(
            consul.watch("node", None, MINUTE).unwrap().instances.len(),
            1
        );
    }
    assert_eq!(registry.logged().len(), 1, "said once");
}

#[test]
fn a_registration_has_its_check_and_its_metadata() {
    let route = "PUT /v1/agent/service/register";
    let registry = ScriptedRegistry::new().answer(route, Answer::status(200));
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    // Less than a minute is not accepted.
    let registration = Registration {
        deregister_after: Some(1000),
        ..registration("node-1")
    };
    consul.register(&registration).unwrap();
    let request = registry.requests().remove(0);
    let body: Value = serde_json::from_str(
        request
            .split_once(' ')
            .unwrap()
            .1
            .split_once(' ')
            .unwrap()
            .1,
    )
    .unwrap();
    assert_eq!(
        body,
        json!({
            "ID": "node-1", "Name": "node", "Address": "10.0.0.1", "Port": 9001,
            "Tags": ["hotswap"],
            "Meta": {
                "port-control": "9001", "version": "1.2.0", "zone": "eu",
                "x_686f74737761702e6465762f74696572": "edge",
            },
            "Check": {
                "CheckID": "service:node-1", "TTL": "15000ms", "Status": "critical",
                "DeregisterCriticalServiceAfter": "60000ms",
            },
        })
    );
}

#[test]
fn consul_itself_asks_an_instance_with_an_http_check() {
    let route = "PUT /v1/agent/service/register";
    let registry = ScriptedRegistry::new().answer(route, Answer::status(200));
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    let check = HttpCheck {
        url: "http://10.0.0.1:9001/health/ready".to_owned(),
        interval: 30_000,
        timeout: 5000,
    };
    let registration = Registration {
        check: Some(HealthCheck::Http(check)),
        deregister_after: Some(600_000),
        ..registration("node-1")
    };
    consul.register(&registration).unwrap();
    let request = registry.requests().remove(0);
    let (_, body) = request.split_once(" {").unwrap();
    let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
    assert_eq!(
        body["Check"],
        json!({
            "CheckID": "service:node-1", "HTTP": "http://10.0.0.1:9001/health/ready",
            "Interval": "30000ms", "Timeout": "5000ms",
            "DeregisterCriticalServiceAfter": "600000ms",
        })
    );
}

#[test]
fn a_lost_registration_is_not_found_and_deregistering_twice_succeeds() {
    let registry = ScriptedRegistry::new()
        .answer(
            "PUT /v1/agent/check/pass/service:a%2Fb",
            Answer::status(200),
        )
        .answer(
            "PUT /v1/agent/check/fail/service:a%2Fb",
            Answer::text(404, "Unknown check ID"),
        )
        .answer(
            "PUT /v1/agent/check/warn/service:a%2Fb",
            Answer::text(500, "CheckID \"service:a/b\" does not have associated TTL"),
        )
        .answer(
            "PUT /v1/agent/check/warn/service:a%2Fb",
            Answer::text(500, "Unknown check \"service:a/b\""),
        )
        .answer(
            "PUT /v1/agent/service/deregister/a%2Fb",
            Answer::text(404, "Unknown service ID"),
        );
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    consul.heartbeat("node", "a/b", Health::Passing).unwrap();
    let lost = consul
        .heartbeat("node", "a/b", Health::Critical)
        .unwrap_err();
    assert!(matches!(lost, Error::NotFound), "{lost:?}");
    for _ in 0..2 {
        let lost = consul
            .heartbeat("node", "a/b", Health::Warning)
            .unwrap_err();
        assert!(matches!(lost, Error::NotFound), "{lost:?}");
    }
    consul.deregister("node", "a/b").unwrap();
}

#[test]
fn a_heartbeat_that_an_agent_cannot_take_says_nothing_of_the_registration() {
    const PASS: &str = "PUT /v1/agent/check/pass/service:a";
    for (status, text) in [
        (500, "No cluster leader"),
        (500, "rpc error making call: check"),
        (503, "Unknown check"),
        (429, "rate limit exceeded"),
    ] {
        let registry = ScriptedRegistry::new().answer(PASS, Answer::text(status, text));
        let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
        let error = consul.heartbeat("node", "a", Health::Passing).unwrap_err();
        let is_told = matches!(&error, Error::Unavailable(reason) if reason.contains(text));
        assert!(is_told, "{status} {text}: {error:?}");
    }
    let registry = ScriptedRegistry::new().answer(PASS, Answer::text(403, "no check for you"));
    let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
    let error = consul.heartbeat("node", "a", Health::Passing).unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
}

/// Of two agents, or of two machines.
#[test]
fn of_two_entries_with_one_id_the_healthier_one_counts() {
    let on = |address: &str, status: &str| {
        let mut entry = entry("a", status);
        entry["Node"]["Address"] = json!(address);
        entry["Service"]["Meta"]["port-only"] = json!(address.len().to_string());
        entry
    };
    for (better, worse) in [
        ("passing", "critical"),
        ("passing", "warning"),
        ("warning", "critical"),
        ("new", "critical"),
    ] {
        let (new, old) = (on("10.0.0.200", better), on("10.0.0.9", worse));
        for entries in [[new.clone(), old.clone()], [old, new]] {
            let registry = ScriptedRegistry::new().answer(WATCH, answer(7, &entries));
            let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
            let found = consul.watch("node", None, MINUTE).unwrap().instances;
            assert_eq!(found.len(), 1, "{better} {worse}");
            assert_eq!(found[0].address, "10.0.0.200", "{better} {worse}");
            let port = found[0].ports.iter().find(|port| port.name == "only");
            assert_eq!(port.map(|port| port.number), Some(10));
        }
    }
}

#[test]
fn a_configuration_without_agents_is_rejected() {
    let config = Config {
        agents: Vec::new(),
        ..Config::default()
    };
    let rejected = ScriptedRegistry::new().backend::<Consul>(config);
    assert!(matches!(rejected, Err(Error::InvalidConfig(_))));
}

proptest! {
    #[test]
    fn damaged_answers_are_errors_or_instances_and_never_panics(
        at in 0..1000_usize, cut in 0..40_usize, put in "\\PC{0,12}|[\\[\\]{}\":,0-9-]{0,12}",
        index in "\\PC{0,20}|[0-9]{0,30}",
    ) {
        let valid = json!([entry("a", "passing"), entry("b", "warning")]).to_string();
        let answer = Answer::text(200, damage(&valid, at, cut, &put)).header("X-Consul-Index", index);
        let registry = ScriptedRegistry::new().answer(WATCH, answer);
        let mut consul = registry.backend::<Consul>(Config::default()).unwrap();
        match consul.watch("node", Some("7"), MINUTE) {
            Ok(found) => prop_assert!(found.cursor.parse::<u64>().is_ok()),
            Err(error) => prop_assert!(matches!(error, Error::Protocol(_)), "{error:?}"),
        }
    }
}
