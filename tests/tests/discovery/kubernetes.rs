use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind, WatchedSource};
use hotswap_plugins::discovery::SecretSource;
use hotswap_tests::tools;
use serde_json::{Value, json};

use crate::fixture::{Fixture, SERVICE, Server, rules};
use crate::suite::{self, AllAlive};

#[tokio::test]
async fn kubernetes_finds_an_endpoint_with_its_health_until_it_is_gone() -> Result<()> {
    let fixture = Fixture::kubernetes().await?;
    suite::an_instance_is_found_changes_its_health_and_is_gone(fixture).await
}

#[tokio::test]
async fn a_kubernetes_that_loses_living_nodes_is_not_believed() -> Result<()> {
    let fixture = Fixture::kubernetes().await?;
    suite::a_registry_that_loses_living_nodes_is_not_believed(fixture).await
}

/// The API server begins its history anew when it starts, and etcd has compacted the one before.
#[tokio::test]
async fn kubernetes_may_be_killed_and_restarted_and_forget_what_a_watch_waits_for() -> Result<()> {
    let mut fixture = Fixture::kubernetes().await?;
    let watched = fixture.watch(None);
    fixture.writer().await?.register("a").await?;
    watched.until_ids(&["a"]).await?;
    let mut instance = fixture.instance().await?;
    let first = instance
        .watch(SERVICE.to_owned(), None, Duration::ZERO)
        .await?;
    for id in ["b", "c"] {
        fixture.writer().await?.register(id).await?;
    }
    watched.until_ids(&["a", "b", "c"]).await?;
    fixture.server.kill().await?;
    watched
        .until("it is stale", |source| {
            source.state().condition == Condition::Stale
        })
        .await?;
    assert_eq!(watched.ids(), ["a", "b", "c"]);
    let error = watched.source.state().last_error.context("it failed")?;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.message);
    let Server::Kubernetes(server) = &fixture.server else {
        bail!("another registry")
    };
    let etcd = server.etcd();
    let range = json!({ "key": "AA==", "range_end": "AA==", "limit": "1" }).to_string();
    let range: Value = serde_json::from_str(&etcd.request("POST", "/v3/kv/range", &range).await?)?;
    let compact = json!({ "revision": range["header"]["revision"] }).to_string();
    etcd.request("POST", "/v3/kv/compaction", &compact).await?;
    fixture.server.restart().await?;
    let again = instance.watch(
        SERVICE.to_owned(),
        Some(first.cursor),
        Duration::from_secs(30),
    );
    assert_eq!(again.await?.instances.len(), 3);
    watched
        .until("it is healthy", |source| {
            source.state().condition == Condition::Healthy
        })
        .await?;
    fixture.writer().await?.register("d").await?;
    watched.until_ids(&["a", "b", "c", "d"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_token_of_kubernetes_is_told_and_a_renewed_one_is_read_from_its_file() -> Result<()>
{
    let mut fixture = Fixture::kubernetes().await?;
    let Server::Kubernetes(server) = &fixture.server else {
        bail!("another registry")
    };
    let rules = json!([{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
        "verbs": ["list", "watch"] }]);
    let token = server.account("reader", &rules).await?;
    let powerless = server.account("nobody", &json!([])).await?;
    fixture.writer().await?.register("a").await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token");
    let wrong = "a-token-that-nobody-has";
    std::fs::write(&file, wrong)?;
    let source = SecretSource::from_file(&file)?;
    fixture
        .settings()
        .secrets
        .insert("token".to_owned(), source);
    let watched = fixture.watch(None);
    for (denied, part) in [(wrong, "401"), (&*powerless, "403")] {
        std::fs::write(&file, denied)?;
        let is_told = |source: &hotswap_fleet::discovery::WatchedSource| {
            let error = source.state().last_error;
            error.is_some_and(|error| error.message.contains(part))
        };
        watched.until(&format!("{part} is told"), is_told).await?;
        let error = watched.source.state().last_error.context("it failed")?;
        assert_eq!(error.kind, ErrorKind::Denied, "{}", error.message);
        ensure!(!error.message.contains(denied), "{}", error.message);
    }
    drop(watched);
    std::fs::write(&file, token)?;
    let watched = fixture.watch(None);
    // Without the labels, which this account may not read: the environment is one of them.
    watched.until_ids(&["a"]).await?;
    let found = watched.get("a").context("it was found")?;
    assert_eq!(found.environment, None);
    assert_eq!(found.zone.as_deref(), Some("eu"));
    Ok(())
}

#[tokio::test]
async fn a_thousand_endpoints_of_kubernetes_are_found() -> Result<()> {
    let fixture = Fixture::kubernetes().await?;
    let Server::Kubernetes(server) = &fixture.server else {
        bail!("another registry")
    };
    for number in 0..10 {
        let endpoints: Vec<_> = (0..100)
            .map(|index| json!({ "addresses": [format!("10.1.{number}.{index}")] }))
            .collect();
        let slice = json!({
            "metadata": {
                "name": format!("slice-{number}"),
                "labels": { "kubernetes.io/service-name": SERVICE },
            },
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{ "name": "control", "port": 5001 }],
        });
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        server.create(path, &slice).await?;
    }
    let watched = fixture.watch(None);
    let all = |source: &hotswap_fleet::discovery::WatchedSource| source.state().instances == 1000;
    let took = watched.until("all are found", all).await?;
    ensure!(took < Duration::from_secs(10), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn a_configuration_file_with_an_authority_and_a_token_reaches_kubernetes() -> Result<()> {
    let fixture = Fixture::kubernetes().await?;
    let Server::Kubernetes(server) = &fixture.server else {
        bail!("another registry")
    };
    let rules = json!([{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
        "verbs": ["list", "watch"] }]);
    let folder = tempfile::tempdir()?;
    let token = server.account("engine", &rules).await?;
    std::fs::write(folder.path().join("token"), token)?;
    let (url, authority) = (server.url(), server.authority());
    let authority = format!("caFile = \"{}\"\n", authority.display());
    let check = async |authority: &str| {
        let config = format!(
            "[[discovery]]\nname = \"cluster\"\nbackend = \"kubernetes\"\norigins = [\"{url}\"]\n\
             secrets = {{ token = \"token\" }}\n{authority}\
             [discovery.settings]\napiServers = [\"{url}\"]\n"
        );
        std::fs::write(folder.path().join("hotswap.toml"), config)?;
        let mut check = tools::hotswap()?;
        check.current_dir(folder.path()).args([
            "discovery",
            "check",
            "kubernetes",
            "--config",
            "hotswap.toml",
        ]);
        let output = check.output().await?;
        let said = [output.stdout, output.stderr].concat();
        anyhow::Ok((
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    };
    let (succeeds, said) = check(&authority).await?;
    ensure!(succeeds, "{said}");
    ensure!(said.contains("passed   a wrong secret is denied"), "{said}");
    let (succeeds, said) = check("").await?;
    ensure!(!succeeds && said.contains("set caFile"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_slow_kubernetes_is_waited_for() -> Result<()> {
    suite::a_slow_registry_is_waited_for(Fixture::kubernetes().await?).await
}

#[tokio::test]
async fn another_api_server_is_asked_where_one_does_not_answer() -> Result<()> {
    let fixture = Fixture::kubernetes().await?;
    suite::another_endpoint_is_asked_where_one_does_not_answer(fixture).await
}

/// With the store go the service account of the engine and its token, and the versions begin anew.
#[tokio::test]
async fn the_view_outlives_a_kubernetes_that_loses_its_whole_store_while_nodes_answer() -> Result<()>
{
    let mut fixture = Fixture::kubernetes().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token");
    std::fs::write(&file, account(&fixture.server, "engine").await?)?;
    let source = SecretSource::from_file(&file)?;
    let secrets = &mut fixture.settings().secrets;
    secrets.insert("token".to_owned(), source);
    let all = ["a", "b", "c"];
    for id in all {
        fixture.writer().await?.register(id).await?;
    }
    let watched = fixture.watch(Some(Arc::new(AllAlive)));
    watched.until_ids(&all).await?;
    fixture.server.kill().await?;
    fixture.server.restart_empty().await?;
    let is_denied = |source: &WatchedSource| {
        let error = source.state().last_error;
        error.is_some_and(|error| error.kind == ErrorKind::Denied)
    };
    watched.until("its account is gone", is_denied).await?;
    assert_eq!(watched.source.state().condition, Condition::Stale);
    assert_eq!(watched.ids(), all);
    // Somebody sets the cluster up again, and nobody has brought the nodes back yet.
    std::fs::write(&file, account(&fixture.server, "engine").await?)?;
    let is_held = |source: &WatchedSource| {
        let state = source.state();
        state.condition == Condition::Held && state.held.is_some_and(|held| held.alive.is_some())
    };
    watched.until("it is held", is_held).await?;
    let held = watched.source.state().held.context("it is held")?;
    assert_eq!((held.lost, held.alive), (3, Some(3)));
    assert_eq!(watched.ids(), all);
    for id in all {
        fixture.writer().await?.register(id).await?;
    }
    let is_healthy = |source: &WatchedSource| {
        let state = source.state();
        state.condition == Condition::Healthy && state.passing == 3
    };
    watched.until("it is healthy", is_healthy).await?;
    // From here on changes are seen as before.
    fixture.writer().await?.register("d").await?;
    watched.until_ids(&["a", "b", "c", "d"]).await.map(drop)
}

/// A service account with the rights of the guide, and a token of it.
async fn account(server: &Server, name: &str) -> Result<String> {
    match server {
        Server::Kubernetes(server) => server.account(name, &rules()).await,
        _ => bail!("another registry"),
    }
}
