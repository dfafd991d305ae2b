use hotswap_sdk::Span;
use hotswap_sdk::discovery::testing::{Answer, ScriptedBackend, ScriptedRegistry, damage};
use hotswap_sdk::discovery::{Error, Health, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Config, Kubernetes};

const SLICES: &str = "GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const PODS: &str = "GET /api/v1/namespaces/default/pods";
const MINUTE: Span = Span::mins(1);

fn endpoint(pod: &str, address: &str, conditions: Value) -> Value {
    json!({
        "addresses": [address], "conditions": conditions, "zone": "eu-1", "nodeName": "host-1",
        "targetRef": { "kind": "Pod", "name": pod, "namespace": "default" },
    })
}

fn slice(family: &str, ports: &[(&str, u16)], endpoints: &[Value]) -> Value {
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, number)| json!({ "name": name, "port": number, "protocol": "TCP" }))
        .collect();
    json!({
        "metadata": { "name": "node-abc" }, "addressType": family, "ports": ports,
        "endpoints": endpoints,
    })
}

fn list(version: &str, slices: &[Value]) -> Answer {
    let body = json!({
        "kind": "EndpointSliceList", "metadata": { "resourceVersion": version }, "items": slices,
    });
    Answer::json(200, &body)
}

fn without_labels() -> Config {
    Config {
        pod_labels: false,
        ..Config::default()
    }
}

fn backend(registry: &ScriptedRegistry, config: Config) -> ScriptedBackend<Kubernetes> {
    registry.backend(config).expect("valid settings")
}

fn found(slices: &[Value]) -> Snapshot {
    let registry = ScriptedRegistry::new().answer(SLICES, list("7", slices));
    let mut backend = backend(&registry, without_labels());
    backend.watch("node", None, MINUTE).expect("an answer")
}

#[test]
fn an_endpoint_becomes_an_instance_with_the_labels_of_its_pod() {
    let pods = json!({ "metadata": {}, "items": [{ "metadata": { "name": "edge-1", "labels": {
        "environment": "qa", "app.kubernetes.io/version": "1.2.0",
    } } }, { "metadata": { "name": "other" } }] });
    let ready = endpoint("edge-1", "10.0.0.1", json!({ "ready": true }));
    let registry = ScriptedRegistry::new()
        .answer(
            SLICES,
            list("7", &[slice("IPv4", &[("control", 5001)], &[ready])]),
        )
        .answer(PODS, Answer::json(200, &pods));
    let config = Config {
        metadata: [("environment", "production"), ("tier", "edge")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Config::default()
    };
    let found = backend(&registry, config)
        .watch("node", None, MINUTE)
        .unwrap();
    assert_eq!(found.cursor, "7");
    let instance = &found.instances[0];
    assert_eq!((&*instance.id, &*instance.address), ("edge-1", "10.0.0.1"));
    assert_eq!(
        (&*instance.ports[0].name, instance.ports[0].number),
        ("control", 5001)
    );
    assert_eq!(instance.health, Health::Passing);
    assert_eq!(instance.zone.as_deref(), Some("eu-1"));
    assert_eq!(instance.version.as_deref(), Some("1.2.0"));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        instance.metadata,
        [pair("environment", "qa"), pair("tier", "edge")]
    );
    assert_eq!(
        registry.requests()[0],
        "GET kubernetes.default.svc/apis/discovery.k8s.io/v1/namespaces/default/endpointslices\
         ?labelSelector=kubernetes.io%2Fservice-name%3Dnode&limit=500"
    );
    assert_eq!(
        registry.requests()[1],
        "GET kubernetes.default.svc/api/v1/namespaces/default/pods?limit=500"
    );
}

/// A page of a list, and the token for the next one.
fn page(version: &str, next: &str, items: &[Value]) -> Answer {
    let metadata = json!({ "resourceVersion": version, "continue": next });
    Answer::json(200, &json!({ "metadata": metadata, "items": items }))
}

/// What the requests of a registry say after the path.
fn queries(registry: &ScriptedRegistry, kind: &str) -> Vec<String> {
    let requests = registry.requests().into_iter();
    let of_kind = requests.filter(|request| request.contains(kind));
    let queries = of_kind.map(|it| it.split_once("limit=").unwrap().1.to_owned());
    queries.collect()
}

#[test]
fn slices_and_pods_are_listed_page_by_page() {
    let of = |pod: &str, address: &str| {
        let ready = json!({ "ready": true });
        slice(
            "IPv4",
            &[("control", 5001)],
            &[endpoint(pod, address, ready)],
        )
    };
    let pod = |name: &str| json!({ "metadata": { "name": name, "labels": { "tier": name } } });
    let registry = ScriptedRegistry::new()
        .answer(SLICES, page("7", "s 2", &[of("a", "10.0.0.1")]))
        // A page may be empty.
        .answer(SLICES, page("7", "s/3", &[]))
        .answer(SLICES, page("8", "", &[of("b", "10.0.0.2")]))
        .answer(PODS, page("7", "p2", &[pod("a"), pod("c")]))
        .answer(PODS, page("7", "", &[pod("b")]));
    let mut backend = backend(&registry, Config::default());
    let found = backend.watch("node", None, MINUTE).unwrap();
    let tiers: Vec<_> = found
        .instances
        .iter()
        .map(|it| (&*it.id, &*it.metadata[0].1))
        .collect();
    assert_eq!(tiers, [("a", "a"), ("b", "b")]);
    // What has changed since the first page, the watch sees.
    assert_eq!(found.cursor, "7");
    let expected = ["500", "500&continue=s%202", "500&continue=s%2F3"];
    assert_eq!(queries(&registry, "/endpointslices"), expected);
    assert_eq!(queries(&registry, "/pods"), ["500", "500&continue=p2"]);
}

#[test]
fn a_list_that_expires_between_two_pages_is_begun_anew() {
    let of = |pod: &str, address: &str| {
        let ready = json!({ "ready": true });
        slice(
            "IPv4",
            &[("control", 5001)],
            &[endpoint(pod, address, ready)],
        )
    };
    let gone = || {
        Answer::json(
            410,
            &json!({ "message": "the continue parameter is too old" }),
        )
    };
    let registry = ScriptedRegistry::new()
        .answer(SLICES, page("7", "old", &[of("a", "10.0.0.1")]))
        .answer(SLICES, gone())
        .answer(SLICES, page("9", "new", &[of("b", "10.0.0.2")]))
        .answer(SLICES, page("9", "", &[of("c", "10.0.0.3")]));
    let mut kubernetes = backend(&registry, without_labels());
    let found = kubernetes.watch("node", None, MINUTE).unwrap();
    let ids: Vec<_> = found.instances.iter().map(|it| &*it.id).collect();
    assert_eq!((&*found.cursor, ids), ("9", vec!["b", "c"]));
    let expected = ["500", "500&continue=old", "500", "500&continue=new"];
    assert_eq!(queries(&registry, "/endpointslices"), expected);
    // One that expires each time is unavailable. A first page cannot be gone.
    let registry = (0..3).fold(ScriptedRegistry::new(), |registry, _| {
        registry
            .answer(SLICES, page("7", "old", &[]))
            .answer(SLICES, gone())
    });
    let error = backend(&registry, without_labels()).watch("node", None, MINUTE);
    assert!(matches!(error, Err(Error::Unavailable(_))), "{error:?}");
    let registry = ScriptedRegistry::new().answer(SLICES, gone());
    let error = backend(&registry, without_labels()).watch("node", None, MINUTE);
    assert!(matches!(error, Err(Error::Protocol(_))), "{error:?}");
}

#[test]
fn a_list_without_an_end_makes_no_sense() {
    let registry = (0..2000).fold(ScriptedRegistry::new(), |registry, _| {
        registry.answer(SLICES, page("7", "more", &[]))
    });
    let error = backend(&registry, without_labels()).watch("node", None, MINUTE);
    assert!(matches!(error, Err(Error::Protocol(_))), "{error:?}");
}

#[test]
fn conditions_that_are_not_said_mean_ready_and_not_terminating() {
    for (conditions, expected) in [
        (json!(null), Health::Passing),
        (json!({}), Health::Passing),
        (
            json!({ "ready": true, "serving": true, "terminating": false }),
            Health::Passing,
        ),
        (json!({ "ready": false }), Health::Critical),
        (
            json!({ "ready": false, "serving": false }),
            Health::Critical,
        ),
        (
            json!({ "ready": false, "serving": true, "terminating": true }),
            Health::Warning,
        ),
        (
            json!({ "ready": false, "serving": false, "terminating": true }),
            Health::Critical,
        ),
        (json!({ "terminating": true }), Health::Warning),
    ] {
        let of = slice(
            "IPv4",
            &[],
            &[endpoint("a", "10.0.0.1", conditions.clone())],
        );
        assert_eq!(found(&[of]).instances[0].health, expected, "{conditions}");
    }
}

#[test]
fn several_slices_are_united_and_each_endpoint_is_there_once() {
    let (ready, not) = (json!({ "ready": true }), json!({ "ready": false }));
    let slices = [
        slice(
            "IPv6",
            &[("control", 5001)],
            &[endpoint("a", "fd00::1", ready.clone())],
        ),
        slice(
            "IPv4",
            &[("control", 5001)],
            &[
                endpoint("a", "10.0.0.1", not),
                endpoint("b", "10.0.0.2", ready.clone()),
            ],
        ),
        slice(
            "IPv4",
            &[("data", 8080)],
            &[endpoint("a", "10.0.0.1", ready)],
        ),
        json!({ "addressType": "IPv4", "endpoints": null, "ports": null }),
    ];
    let found = found(&slices);
    let ids: Vec<_> = found
        .instances
        .iter()
        .map(|it| (&*it.id, &*it.address))
        .collect();
    assert_eq!(ids, [("a", "10.0.0.1"), ("b", "10.0.0.2")]);
    assert_eq!(found.instances[0].health, Health::Passing);
    let ports: Vec<_> = found.instances[0]
        .ports
        .iter()
        .map(|port| &*port.name)
        .collect();
    assert_eq!(ports, ["control", "data"]);
}

#[test]
fn endpoints_without_a_pod_are_called_by_their_hostname_or_address() {
    let of = slice(
        "IPv6",
        &[],
        &[
            json!({ "addresses": ["fd00::1"] }),
            json!({ "addresses": ["fd00::2"], "hostname": "edge-2" }),
            json!({ "addresses": ["fd00::3"], "targetRef": { "kind": "Node", "name": "n" } }),
        ],
    );
    let found = found(&[of]);
    let ids: Vec<_> = found.instances.iter().map(|it| &*it.id).collect();
    assert_eq!(ids, ["edge-2", "fd00--1", "fd00--3"]);
}

fn watched(events: &[Value]) -> (ScriptedRegistry, Result<Snapshot, Error>) {
    let registry = ScriptedRegistry::new()
        .answer(SLICES, Answer::stream(events))
        .answer(SLICES, list("9", &[]));
    let mut backend = backend(&registry, without_labels());
    let watched = backend.watch("node", Some("7"), MINUTE);
    (registry, watched)
}

#[test]
fn a_watch_ends_with_a_change_and_a_bookmark_is_none() {
    let bookmark =
        json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "8" } } });
    let added = json!({ "type": "ADDED", "object": { "metadata": { "resourceVersion": "9" } } });
    let (registry, found) = watched(&[bookmark.clone(), added]);
    assert_eq!(found.unwrap().cursor, "9");
    assert_eq!(registry.waited(), Span::ZERO);
    let query = registry.requests()[0]
        .split_once("&watch=1")
        .unwrap()
        .1
        .to_owned();
    assert_eq!(
        query,
        "&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=60"
    );
    let (registry, found) = watched(&[bookmark]);
    assert_eq!(found.unwrap().cursor, "9");
    assert_eq!(registry.waited(), MINUTE);
}

#[test]
fn a_watch_that_the_server_closes_goes_on_from_the_last_bookmark() {
    let bookmark =
        json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "8" } } });
    let registry = ScriptedRegistry::new()
        .answer(SLICES, Answer::text(200, format!("{bookmark}\n")))
        .answer(SLICES, Answer::stream(&[]))
        .answer(SLICES, list("9", &[]));
    let mut backend = backend(&registry, without_labels());
    backend.watch("node", Some("7"), MINUTE).unwrap();
    assert!(registry.requests()[1].contains("resourceVersion=8&"));
    assert_eq!(registry.waited(), MINUTE);
}

#[test]
fn a_server_that_closes_each_watch_is_asked_more_and_more_seldom() {
    let bookmark =
        json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "8" } } });
    let closed = || Answer::text(200, format!("{bookmark}\n"));
    let registry = (0..60).fold(ScriptedRegistry::new(), |registry, _| {
        registry.answer(SLICES, closed())
    });
    let mut backend = backend(&registry, without_labels());
    // In the end it lists, and the script has no list.
    backend.watch("node", Some("7"), MINUTE).unwrap_err();
    assert_eq!(registry.waited(), MINUTE);
    let count = registry.requests().len();
    assert!((6..=10).contains(&count), "{count} requests in a minute");
}

#[test]
fn versions_that_are_gone_or_go_back_mean_to_list_again() {
    let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410 } });
    let back = json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "3" } } });
    for event in [gone, back] {
        let (registry, found) = watched(&[event]);
        assert_eq!(found.unwrap().cursor, "9");
        assert_eq!(registry.waited(), Span::ZERO);
    }
    let registry = ScriptedRegistry::new()
        .answer(
            SLICES,
            Answer::json(410, &json!({ "message": "too old resource version" })),
        )
        .answer(SLICES, list("9", &[]));
    let mut kubernetes = backend(&registry, without_labels());
    assert_eq!(
        kubernetes.watch("node", Some("7"), MINUTE).unwrap().cursor,
        "9"
    );
    // One of another backend is not asked for at all.
    let registry = ScriptedRegistry::new().answer(SLICES, list("9", &[]));
    let found = backend(&registry, without_labels()).watch("node", Some("polled"), MINUTE);
    assert_eq!(found.unwrap().cursor, "9");
}

#[test]
fn refusals_outages_and_nonsense_are_told_apart() {
    let status = |code: u16, message: &str| Answer::json(code, &json!({ "message": message }));
    let of = |answer: Answer| {
        let registry = ScriptedRegistry::new().answer(SLICES, answer);
        backend(&registry, without_labels())
            .watch("node", None, MINUTE)
            .unwrap_err()
    };
    let denied = of(status(403, "endpointslices is forbidden"));
    assert!(matches!(&denied, Error::Denied(text) if text.contains("is forbidden")));
    assert!(matches!(of(status(401, "Unauthorized")), Error::Denied(_)));
    assert!(matches!(of(status(503, "starting")), Error::Unavailable(_)));
    assert!(matches!(of(Answer::status(302)), Error::Protocol(_)));
    assert!(matches!(
        of(Answer::text(200, "<html>")),
        Error::Protocol(_)
    ));
    assert!(matches!(
        of(Answer::json(200, &json!({}))),
        Error::Protocol(_)
    ));
    let nobody = slice("IPv4", &[], &[json!({ "addresses": [] })]);
    assert!(matches!(of(list("7", &[nobody])), Error::Protocol(_)));
    let failure = json!({ "type": "ERROR", "object": { "code": 500, "message": "etcd" } });
    assert!(matches!(watched(&[failure]).1, Err(Error::Unavailable(_))));
    assert!(matches!(
        watched(&[json!("half")]).1,
        Err(Error::Protocol(_))
    ));
}

#[test]
fn pods_that_may_not_be_listed_cost_the_labels_and_one_line_in_the_log() {
    let denied = || Answer::json(403, &json!({ "message": "pods is forbidden" }));
    let registry = ScriptedRegistry::new()
        .answer(SLICES, list("7", &[]))
        .answer(PODS, denied())
        .answer(SLICES, list("7", &[]))
        .answer(PODS, denied());
    let mut backend = backend(&registry, Config::default());
    backend.watch("node", None, MINUTE).unwrap();
    backend.watch("node", None, MINUTE).unwrap();
    assert_eq!(registry.logged().len(), 1, "{:?}", registry.logged());
    assert!(registry.logged()[0].contains("pods is forbidden"));
}

#[test]
fn pods_are_listed_again_for_a_new_one_and_after_a_minute_only() {
    let pod = |name: &str| endpoint(name, "10.0.0.1", json!({ "ready": true }));
    let of = |pods: &[Value]| list("7", &[slice("IPv4", &[], pods)]);
    let pods = |names: &[&str]| {
        let items: Vec<_> = names
            .iter()
            .map(|name| json!({ "metadata": { "name": name } }))
            .collect();
        Answer::json(200, &json!({ "metadata": {}, "items": items }))
    };
    let registry = ScriptedRegistry::new()
        .answer(SLICES, of(&[pod("a")]))
        .answer(PODS, pods(&["a"]))
        .answer(SLICES, of(&[pod("a")]))
        .answer(SLICES, of(&[pod("a"), pod("b")]))
        .answer(PODS, pods(&["a", "b"]))
        .answer(SLICES, Answer::stream(&[]))
        .answer(SLICES, of(&[pod("a")]))
        .answer(PODS, pods(&["a"]));
    let mut backend = backend(&registry, Config::default());
    for _ in 0..3 {
        backend.watch("node", None, MINUTE).unwrap();
    }
    backend.watch("node", Some("7"), MINUTE).unwrap();
    let kinds: Vec<_> = registry
        .requests()
        .iter()
        .map(|request| if request.contains("/pods") { 'p' } else { 's' })
        .collect();
    assert_eq!(kinds, ['s', 'p', 's', 's', 'p', 's', 's', 'p']);
}

#[test]
fn settings_without_a_namespace_or_a_server_are_rejected() {
    for config in [
        Config {
            namespace: String::new(),
            ..Config::default()
        },
        Config {
            api_servers: Vec::new(),
            ..Config::default()
        },
    ] {
        let rejected = ScriptedRegistry::new().backend::<Kubernetes>(config);
        assert!(matches!(rejected, Err(Error::InvalidConfig(_))));
    }
}

proptest! {
    #[test]
    fn damaged_answers_are_errors_or_instances_and_never_panics(
        at in 0..1000_usize, cut in 0..40_usize, put in "\\PC{0,12}|[\\[\\]{}\":,0-9-]{0,12}",
        in_stream in any::<bool>(),
    ) {
        let of = endpoint("a", "10.0.0.1", json!({ "ready": true, "serving": true }));
        let list = json!({
            "metadata": { "resourceVersion": "9" },
            "items": [slice("IPv4", &[("control", 5001)], &[of])],
        });
        let (list, event) = (list.to_string(), json!({
            "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "8" } },
        }));
        let stream = format!("{event}\n{event}\n");
        let damaged = |text: &str| damage(text, at, cut, &put);
        let (stream, list) = match in_stream {
            true => (damaged(&stream), list),
            false => (stream, damaged(&list)),
        };
        let mut registry = ScriptedRegistry::new().answer(SLICES, Answer::text(200, stream));
        for _ in 0..2 {
            registry = registry.answer(SLICES, Answer::text(200, list.clone()));
        }
        let mut backend = backend(&registry, without_labels());
        if let Ok(found) = backend.watch("node", Some("7"), MINUTE) {
            prop_assert!(found.instances.iter().all(|found| !found.address.is_empty()));
        }
    }

    #[test]
    fn damaged_pods_are_errors_or_labels_and_never_panics(
        at in 0..1000_usize, cut in 0..40_usize, put in "\\PC{0,12}|[\\[\\]{}\":,0-9-]{0,12}",
        denied in any::<bool>(),
    ) {
        let of = endpoint("edge-1", "10.0.0.1", json!({ "ready": true }));
        let pods = json!({ "kind": "PartialObjectMetadataList", "metadata": {}, "items": [
            { "metadata": { "name": "edge-1", "labels": {
                "environment": "qa", "app.kubernetes.io/version": "1.2.0",
                "topology.kubernetes.io/zone": "eu",
            } } },
            { "metadata": { "name": "other", "labels": null } },
        ] });
        let refusal = json!({ "kind": "Status", "message": "pods is forbidden", "code": 403 });
        let (status, body) = if denied { (403, refusal) } else { (200, pods) };
        let registry = ScriptedRegistry::new()
            .answer(SLICES, list("7", &[slice("IPv4", &[("control", 5001)], &[of])]))
            .answer(PODS, Answer::text(status, damage(&body.to_string(), at, cut, &put)));
        match backend(&registry, Config::default()).watch("node", None, MINUTE) {
            // Whatever the labels say, what the slices say stays.
            Ok(found) => {
                prop_assert_eq!(found.instances.len(), 1);
                prop_assert_eq!(&*found.instances[0].id, "edge-1");
                prop_assert_eq!(&*found.instances[0].address, "10.0.0.1");
            }
            Err(error) => {
                prop_assert!(!denied && matches!(error, Error::Protocol(_)), "{error:?}");
            }
        }
    }
}
