//! The suite of the contract, for the backend whose registry is made up here. Those with real
//! registries are checked by the end-to-end tests.

use std::sync::Arc;
use std::time::Duration;

use hotswap_plugins::discovery::{
    BackendLimits, BackendSettings, ContractOptions, DiscoveryHost, DnsOptions, DnsResolver,
    Outcome, check_contract,
};
use serde_json::json;

use crate::dns_server::{DnsAnswer, DnsServer, a, srv};

#[tokio::test]
async fn dns_keeps_the_contract() {
    let server = DnsServer::start().await;
    let records = vec![srv(5001, "a.example.com."), srv(5001, "b.example.com.")];
    server.answer("_node._tcp.example.com.", DnsAnswer::Records(records, 60));
    server.answer(
        "a.example.com.",
        DnsAnswer::Records(vec![a("10.0.0.1")], 60),
    );
    let host = DiscoveryHost::new(BackendLimits::default()).expect("it starts");
    let component = host.load(hotswap_guests::DNS).await.expect("it loads");
    let settings = BackendSettings {
        config: Some(json!({ "name": "_node._tcp.example.com" })),
        names: vec!["_node._tcp.example.com".to_owned()],
        resolver: Arc::new(DnsResolver::new(DnsOptions {
            name_server: Some(server.addr.to_string()),
            ..DnsOptions::default()
        })),
        ..BackendSettings::new("dns")
    };
    let options = ContractOptions {
        service: "node".to_owned(),
        scratch_service: None,
        latency: Duration::from_secs(1),
    };
    let checks = check_contract(&component, &settings, &options).await;
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    assert!(
        checks.iter().all(|check| !failed(&check.outcome)),
        "{checks:?}"
    );
    let passed = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Passed);
    let passed: Vec<_> = passed.map(|check| check.rule).collect();
    assert_eq!(
        passed,
        [
            "name servers that do not answer are unavailable",
            "a watch without a cursor answers at once",
            "each instance has an id of its own, and an address",
            "a watch with a cursor ends after its patience",
            "another instance of the component goes on from a cursor",
            "a cursor that the registry does not know is no error",
            "a read-only backend says that it cannot register",
        ]
    );
}
