use anyhow::{Context as _, Result, ensure};
use hotswap_common::Secret;
use hotswap_core::Health;
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind};
use hotswap_plugins::discovery::{InstanceHealth, Registration};
use hotswap_tests::RegistryKind;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::fixture::{Fixture, registration};
use crate::suite;

/// Runs each of these with the system's etcd, and with etcd 3.5.
macro_rules! with_each_version {
    ($($name:ident),* $(,)?) => {
        with_each_version!(@ systems RegistryKind::Etcd, $($name),*);
        with_each_version!(@ version_3_5 RegistryKind::Etcd35, $($name),*);
    };
    (@ $version:ident $kind:expr, $($name:ident),*) => {
        mod $version {
            use anyhow::Result;
            use hotswap_tests::RegistryKind;

            $(
                #[tokio::test]
                async fn $name() -> Result<()> {
                    super::$name($kind).await
                }
            )*
        }
    };
}

with_each_version![
    an_instance_is_found_with_its_health_until_it_is_gone,
    it_may_be_killed_and_restarted,
    one_that_loses_living_nodes_is_not_believed,
    a_watch_continues_after_what_it_waits_for_was_compacted,
    users_take_the_right_password_and_a_wrong_one_is_told,
    the_rights_of_the_guide_suffice_and_fewer_are_told,
    an_instance_is_critical_until_it_reports,
    a_slow_one_is_waited_for,
    another_endpoint_is_asked_where_one_does_not_answer,
    a_registration_is_kept_where_endpoints_hang,
    one_that_comes_back_without_its_data_gets_all_registrations_again,
    a_thousand_instances_are_found,
    a_watch_from_before_a_loss_is_answered_with_what_is_there,
];

async fn an_instance_is_found_with_its_health_until_it_is_gone(kind: RegistryKind) -> Result<()> {
    suite::an_instance_is_found_changes_its_health_and_is_gone(Fixture::start(kind).await?).await
}

async fn it_may_be_killed_and_restarted(kind: RegistryKind) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    suite::the_view_outlives_the_registry_and_registrations_are_made_again(fixture, false).await
}

async fn one_that_loses_living_nodes_is_not_believed(kind: RegistryKind) -> Result<()> {
    suite::a_registry_that_loses_living_nodes_is_not_believed(Fixture::start(kind).await?).await
}

async fn a_watch_continues_after_what_it_waits_for_was_compacted(kind: RegistryKind) -> Result<()> {
    let mut fixture = Fixture::start(kind).await?;
    let watched = fixture.watch(None);
    let mut instance = fixture.instance().await?;
    // Without a lease: nothing keeps them alive here.
    let registration = |id: &str| Registration {
        check: None,
        ..registration(id)
    };
    for id in ["a", "b", "c"] {
        instance.register(registration(id)).await?;
    }
    watched.until_ids(&["a", "b", "c"]).await?;
    let revision = instance
        .watch("hotswap-node".to_owned(), None, Default::default())
        .await?;
    let compacted: i64 = revision.cursor.parse::<i64>()? + 2;
    // What the watch has seen is gone once it asks for it again.
    fixture.server.kill().await?;
    watched
        .until("it is stale", |source| {
            source.state().condition == Condition::Stale
        })
        .await?;
    fixture.server.restart().await?;
    watched
        .until("it is healthy", |source| {
            source.state().condition == Condition::Healthy
        })
        .await?;
    instance.register(registration("d")).await?;
    instance.register(registration("e")).await?;
    let compact = json!({ "revision": compacted.to_string() });
    let server = &fixture.server;
    server
        .request("POST", "/v3/kv/compaction", &compact.to_string())
        .await?;
    let old = Some(revision.cursor);
    let again = instance.watch(
        "hotswap-node".to_owned(),
        old,
        std::time::Duration::from_secs(5),
    );
    assert_eq!(again.await?.instances.len(), 5);
    watched.until_ids(&["a", "b", "c", "d", "e"]).await?;
    Ok(())
}

async fn users_take_the_right_password_and_a_wrong_one_is_told(kind: RegistryKind) -> Result<()> {
    let mut fixture = Fixture::start(kind).await?;
    let password = "a \"quoted\" password";
    let user = json!({ "name": "root", "password": password }).to_string();
    let role = json!({ "user": "root", "role": "root" }).to_string();
    for (path, body) in [
        ("/v3/auth/user/add", &*user),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", &*role),
        ("/v3/auth/enable", "{}"),
    ] {
        fixture.server.request("POST", path, body).await?;
    }
    let anonymous = fixture.watch(None);
    anonymous
        .until("nobody is denied", |source| {
            source.state().last_error.is_some()
        })
        .await?;
    let error = anonymous.source.state().last_error.expect("it failed");
    assert_eq!(error.kind, ErrorKind::Denied, "{}", error.message);
    let endpoint = fixture.server.url();
    let settings = fixture.settings();
    settings.config = Some(json!({ "endpoints": [endpoint], "username": "root" }));
    settings
        .secrets
        .insert("password".to_owned(), Secret::new("wrong").into());
    let watched = fixture.watch(None);
    watched
        .until("it is denied", |source| source.state().last_error.is_some())
        .await?;
    let error = watched.source.state().last_error.expect("it failed");
    assert_eq!(error.kind, ErrorKind::Denied, "{}", error.message);
    ensure!(!error.message.contains("wrong"), "{}", error.message);
    let secrets = &mut fixture.settings().secrets;
    secrets.insert("password".to_owned(), Secret::new(password).into());
    let watched = fixture.watch(None);
    let kept = fixture.keep("a");
    watched.until_ids(&["a"]).await?;
    kept.stop().await?;
    Ok(())
}

/// A role that may read, and one that may write, too, the prefix of the guide.
async fn the_rights_of_the_guide_suffice_and_fewer_are_told(kind: RegistryKind) -> Result<()> {
    let mut fixture = Fixture::start(kind).await?;
    // "/hotswap/" and "/hotswap0", the first key after all that begin so.
    let prefix = json!({ "key": "L2hvdHN3YXAv", "range_end": "L2hvdHN3YXAw" });
    for (name, rights) in [
        ("root", None),
        ("reads", Some("READ")),
        ("writes", Some("READWRITE")),
        ("powerless", None),
    ] {
        let user = json!({ "name": name, "password": name }).to_string();
        let role = json!({ "name": name }).to_string();
        let granted = json!({ "user": name, "role": name }).to_string();
        for (path, body) in [
            ("/v3/auth/user/add", &user),
            ("/v3/auth/role/add", &role),
            ("/v3/auth/user/grant", &granted),
        ] {
            fixture.server.request("POST", path, body).await?;
        }
        if let Some(rights) = rights {
            let mut permission = prefix.clone();
            permission["permType"] = json!(rights);
            let body = json!({ "name": name, "perm": permission }).to_string();
            let path = "/v3/auth/role/grant";
            fixture.server.request("POST", path, &body).await?;
        }
    }
    fixture
        .server
        .request("POST", "/v3/auth/enable", "{}")
        .await?;
    let endpoint = fixture.server.url();
    let act_as = |fixture: &mut Fixture, name: &str| {
        let settings = fixture.settings();
        settings.config = Some(json!({ "endpoints": [endpoint], "username": name }));
        let password = Secret::new(name).into();
        settings.secrets.insert("password".to_owned(), password);
    };
    act_as(&mut fixture, "writes");
    let kept = fixture.keep("a");
    act_as(&mut fixture, "reads");
    fixture.watch(None).until_ids(&["a"]).await?;
    act_as(&mut fixture, "powerless");
    let watched = fixture.watch(None);
    watched
        .until("it is denied", |source| source.state().last_error.is_some())
        .await?;
    let error = watched.source.state().last_error.expect("it failed");
    assert_eq!(error.kind, ErrorKind::Denied, "{}", error.message);
    kept.stop().await?;
    Ok(())
}

async fn an_instance_is_critical_until_it_reports(kind: RegistryKind) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    suite::a_registered_instance_is_critical_until_it_reports(fixture).await
}

async fn a_slow_one_is_waited_for(kind: RegistryKind) -> Result<()> {
    suite::a_slow_registry_is_waited_for(Fixture::start(kind).await?).await
}

async fn another_endpoint_is_asked_where_one_does_not_answer(kind: RegistryKind) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    suite::another_endpoint_is_asked_where_one_does_not_answer(fixture).await
}

async fn a_registration_is_kept_where_endpoints_hang(kind: RegistryKind) -> Result<()> {
    suite::a_registration_is_kept_where_endpoints_hang(Fixture::start(kind).await?).await
}

/// Its revisions begin anew.
async fn one_that_comes_back_without_its_data_gets_all_registrations_again(
    kind: RegistryKind,
) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    suite::the_view_outlives_the_registry_and_registrations_are_made_again(fixture, true).await
}

async fn a_watch_from_before_a_loss_is_answered_with_what_is_there(
    kind: RegistryKind,
) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    suite::a_watch_from_before_a_loss_is_answered_with_what_is_there(fixture).await
}

async fn a_thousand_instances_are_found(kind: RegistryKind) -> Result<()> {
    let fixture = Fixture::start(kind).await?;
    let mut instance = fixture.instance().await?;
    for number in 0..1000 {
        // Without a lease: nothing keeps them alive here.
        let registration = Registration {
            check: None,
            ..registration(&format!("node-{number:04}"))
        };
        instance.register(registration).await?;
    }
    let watched = fixture.watch(None);
    let all = |source: &hotswap_fleet::discovery::WatchedSource| source.state().instances == 1000;
    let took = watched.until("all are found", all).await?;
    ensure!(took < std::time::Duration::from_secs(10), "{took:?}");
    assert_eq!(watched.ids()[999], "node-0999");
    Ok(())
}

/// Gives etcd, whose tokens are JWTs, a user `root`, or another one as `root`.
async fn add_user(fixture: &Fixture, name: &str) -> Result<()> {
    let http = reqwest::Client::new();
    let url = fixture.server.url();
    let send = async |path: &str, body: Value, token: Option<&str>| -> Result<Value> {
        let mut request = http.post(format!("{url}{path}")).body(body.to_string());
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let answer = request.send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    };
    let credentials = json!({ "name": "root", "password": "root" });
    let token = send("/v3/auth/authenticate", credentials, None).await?;
    let token = token["token"].as_str().context("no token")?.to_owned();
    ensure!(token.split('.').count() == 3, "it is no JWT: {token}");
    let user = json!({ "name": name, "password": name });
    send("/v3/auth/user/add", user, Some(&token)).await?;
    Ok(())
}

/// Each change of users ends all tokens from before it. etcd refuses them as no other invalid token.
#[tokio::test]
async fn users_may_change_while_tokens_are_jwts() -> Result<()> {
    let mut fixture = Fixture::start(RegistryKind::EtcdWithJwt).await?;
    for (path, body) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"root"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        fixture.server.request("POST", path, body).await?;
    }
    let endpoint = fixture.server.url();
    let settings = fixture.settings();
    settings.config = Some(json!({ "endpoints": [endpoint], "username": "root" }));
    let password = Secret::new("root").into();
    settings.secrets.insert("password".to_owned(), password);
    let watched = fixture.watch(None);
    let (health, reported) = watch::channel(InstanceHealth::Passing);
    let first = fixture.keep_as_a_node("a", reported);
    watched.until_ids(&["a"]).await?;
    for (name, reported) in [
        ("other-1", InstanceHealth::Warning),
        ("other-2", InstanceHealth::Critical),
    ] {
        add_user(&fixture, name).await?;
        // The node writes its health, and the engine lists, with tokens from before.
        health.send_replace(reported);
        let expected = match reported {
            InstanceHealth::Warning => Health::Warning,
            _ => Health::Critical,
        };
        let is_told = |_: &_| watched.get("a").is_some_and(|it| it.health == expected);
        watched.until("its health is told", is_told).await?;
    }
    add_user(&fixture, "other-3").await?;
    first.stop().await?;
    watched.until_ids(&[]).await?;
    Ok(())
}
