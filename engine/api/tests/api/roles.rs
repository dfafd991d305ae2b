//! Signed tokens, and what each role may do.

use hotswap_api::Role;
use reqwest::Method;
use serde_json::json;

use crate::failures::{Guarded, guarded};
use crate::fixture::Fixture;

/// Who should be allowed an operation, by what it is. A new one is held to this, too: where
/// that is wrong for it, this is the place to say so.
fn expected(method: &Method, path: &str) -> Option<Role> {
    let of_nodes = path.starts_with("/api/v1/artifacts/")
        || (path.starts_with("/api/v1/nodes/")
            && (method == Method::PUT || method == Method::POST));
    // Of all deployments together, and not of those that somebody asks for.
    let of_all = path.starts_with("/api/v1/events");
    if of_nodes {
        None
    } else if of_all {
        Some(Role::Admin)
    } else if method == Method::GET {
        Some(Role::Viewer)
    } else if method == Method::DELETE || path.starts_with("/api/v1/strategies") {
        Some(Role::Admin)
    } else {
        Some(Role::Operator)
    }
}

#[test]
fn the_document_says_who_may_do_what() {
    for Guarded { method, path, role } in guarded() {
        assert_eq!(role, expected(&method, &path), "{method} {path}");
    }
}

#[tokio::test]
async fn a_role_opens_what_it_is_for_and_nothing_above() {
    let engine = Fixture::start().await;
    for Guarded { method, path, role } in guarded() {
        for has in Role::ALL {
            let client = engine.signed("ada", has);
            let what = format!("{has}: {method} {path}");
            if role.is_some_and(|needed| has >= needed) {
                let status = client.status(method.clone(), &path).await;
                assert!(!matches!(status, 401 | 403), "{what}: {status}");
                continue;
            }
            let answer = client.send(method.clone(), &path, |it| it).await;
            let problem = answer.problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            let words = match role {
                Some(needed) => vec![format!("the role {needed}"), format!("the role {has}")],
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
async fn a_token_that_has_expired_opens_nothing_and_says_so() {
    let engine = Fixture::start().await;
    for Guarded { method, path, .. } in guarded() {
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
async fn without_a_configuration_no_signed_token_is_known() {
    let engine = Fixture::configured(|config| config.jwt = None).await;
    let client = engine.signed("ada", Role::Admin);
    let answer = client.get("/api/v1/nodes").await;
    answer.problem(401, "unauthorized");
    engine.get("/api/v1/nodes").await.ok();
    engine.stop().await;
}

#[tokio::test]
async fn the_journal_says_whose_token_it_was() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let ada = engine.signed("ada", Role::Operator);
    let module = "/api/v1/modules/bye/versions/1.0.0";
    let uploaded = ada.wasm(Method::PUT, module, hotswap_guests::HELLO_V1);
    assert_eq!(uploaded.await.ok()["uploadedBy"], "ada");

    let body = crate::fixture::deployment(json!({"requireApproval": true}));
    let id = ada.post("/api/v1/deployments", body).await.ok()["executionId"].clone();
    let id = id.as_str().unwrap();
    let asking = engine.asking(id).await;
    assert_eq!(asking["requestedBy"], "ada");
    assert_eq!(asking["requesterEmail"], "ada@example.org");

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
async fn a_url_may_hold_a_token_only_where_a_browser_cannot_help_it() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    let open = engine.with_token(None);
    let token = crate::client::API_TOKEN;
    let events = format!("/api/v1/deployments/{id}/events");

    let path = format!("{events}?limit=1&access_token={token}");
    let found = open.get(&path).await.ok();
    assert_eq!(found["events"].as_array().unwrap().len(), 1);
    open.get(&events).await.problem(401, "unauthorized");
    for path in [
        "/api/v1/nodes".to_owned(),
        format!("/api/v1/deployments/{id}"),
    ] {
        let answer = open.get(&format!("{path}?access_token={token}")).await;
        answer.problem(401, "unauthorized");
    }
    // What stands in the header counts, be it wrong.
    let wrong = engine.with_token(Some("not-the-token-of-these-tests"));
    let wrong = wrong.get(&format!("{events}?access_token={token}")).await;
    wrong.problem(401, "unauthorized");
    engine.stop().await;
}
