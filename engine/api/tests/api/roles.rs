//! Signed tokens, and what each role allows.

use hotswap_api::Role;
use reqwest::Method;
use serde_json::json;

use crate::fixture::Fixture;
use crate::problems::{ProtectedOperation, protected_operations};

/// The role that an operation should need; `None` for the node token. If the rule is wrong for
/// a new operation, change it here.
fn expected_role(method: &Method, path: &str) -> Option<Role> {
    let is_for_nodes = path.starts_with("/api/v1/artifacts/")
        || (path.starts_with("/api/v1/nodes/") && method == Method::PUT)
        || path.ends_with("/heartbeat");
    // Events of all deployments, not only of one that the client names.
    let is_for_all = path.starts_with("/api/v1/events");
    // It gives up on what the engine cannot read.
    let is_termination = path.ends_with("/terminate");
    if is_for_nodes {
        None
    } else if is_for_all || is_termination || path.ends_with("/debug") {
        Some(Role::Admin)
    } else if method == Method::GET || path.ends_with("/deployments/plan") {
        Some(Role::Viewer)
    } else if method == Method::DELETE
        || path.starts_with("/api/v1/strategies")
        || path.starts_with("/api/v1/backends")
        || path.starts_with("/api/v1/environments")
    {
        Some(Role::Admin)
    } else {
        Some(Role::Operator)
    }
}

#[test]
fn the_document_names_the_expected_role() {
    for ProtectedOperation { method, path, role } in protected_operations() {
        assert_eq!(role, expected_role(&method, &path), "{method} {path}");
    }
}

#[tokio::test]
async fn a_role_allows_its_operations_and_those_of_lower_roles() {
    let engine = Fixture::start().await;
    for ProtectedOperation { method, path, role } in protected_operations() {
        for held in Role::ALL {
            let client = engine.signed("ada", held);
            let what = format!("{held}: {method} {path}");
            if role.is_some_and(|needed| held >= needed) {
                let status = client.status(method.clone(), &path).await;
                assert!(!matches!(status, 401 | 403), "{what}: {status}");
                continue;
            }
            let answer = client.send(method.clone(), &path, |it| it).await;
            let problem = answer.problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            let words = match role {
                Some(needed) => vec![format!("the role {needed}"), format!("the role {held}")],
                None => vec!["node token".to_owned()],
            };
            for word in words {
                assert!(detail.contains(&word), "{what}: {detail}");
            }
        }
    }
    engine.stop().await;
}

#[tokio::test]
async fn an_expired_token_is_rejected_as_expired() {
    let engine = Fixture::start().await;
    for ProtectedOperation { method, path, .. } in protected_operations() {
        let client = engine.expired(Role::Admin);
        let answer = client.send(method.clone(), &path, |it| it).await;
        let challenge = answer.header("www-authenticate").to_owned();
        assert_eq!(challenge, "Bearer", "{method} {path}");
        let problem = answer.problem(401, "token-expired");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("expired"), "{detail}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn without_jwt_configuration_signed_tokens_are_rejected() {
    let engine = Fixture::configured(|config| config.jwt = None).await;
    let client = engine.signed("ada", Role::Admin);
    let answer = client.get("/api/v1/nodes").await;
    answer.problem(401, "unauthorized");
    engine.get("/api/v1/nodes").await.ok();
    engine.stop().await;
}

#[tokio::test]
async fn the_journal_names_the_subject_of_the_token() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let ada = engine.signed("ada", Role::Operator);
    let module = "/api/v1/modules/bye/versions/1.0.0";
    let uploaded = ada.wasm(Method::PUT, module, hotswap_guests::HELLO_V1);
    assert_eq!(uploaded.await.ok()["uploadedBy"], "ada");

    let body = crate::fixture::deployment(json!({"requireApproval": true}));
    let id = ada.post("/api/v1/deployments", body).await.ok()["executionId"].clone();
    let id = id.as_str().unwrap();
    let deployment = engine.asking(id).await;
    assert_eq!(deployment["requestedBy"], "ada");
    assert_eq!(deployment["requesterEmail"], "ada@example.org");

    let grace = engine.signed("grace", Role::Operator);
    let abort = format!("/api/v1/deployments/{id}/abort");
    grace.post(&abort, json!({})).await.ok();
    engine.ended(id).await;
    let events = format!("/api/v1/deployments/{id}/events");
    let events = engine.get(&events).await.text();
    assert!(events.contains("\"grace\""), "{events}");

    let own = engine.deploy(json!({})).await;
    assert_eq!(engine.ended(&own).await["requestedBy"], "api-token");
    engine.stop().await;
}

#[tokio::test]
async fn a_token_in_the_query_is_accepted_only_for_events() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    let open = engine.with_token(None);
    let token = crate::client::API_TOKEN;
    let events = format!("/api/v1/deployments/{id}/events");

    let path = format!("{events}?limit=1&access_token={token}");
    let page = open.get(&path).await.ok();
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    open.get(&events).await.problem(401, "unauthorized");
    for path in [
        "/api/v1/nodes".to_owned(),
        format!("/api/v1/deployments/{id}"),
    ] {
        let answer = open.get(&format!("{path}?access_token={token}")).await;
        answer.problem(401, "unauthorized");
    }
    // The header wins, even with a wrong token.
    let wrong = engine.with_token(Some("not-the-token-of-these-tests"));
    let wrong = wrong.get(&format!("{events}?access_token={token}")).await;
    wrong.problem(401, "unauthorized");
    engine.stop().await;
}
