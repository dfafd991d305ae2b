use hotswap_guests::HELLO_V1;
use serde_json::Value;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_needs_the_node_token() {
    let node = TestNode::start().await;
    for (path, method) in [
        ("/v1/status", "GET"),
        ("/v1/modules/hello", "GET"),
        ("/v1/modules/hello/operations/1", "PUT"),
        ("/v1/modules/hello/probe", "POST"),
    ] {
        for token in [None, Some("wrong"), Some(""), Some(&TOKEN[1..])] {
            let mut request = node
                .client
                .request(method.parse().unwrap(), node.control_url(path));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{path} with {token:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_response_is_a_problem() {
    let node = TestNode::start().await;
    let put = "/v1/modules/hello/operations/1";
    for (method, path, body, status) in [
        ("GET", "/nothing", "", 404),
        ("GET", "/v1/modules/absent", "", 404),
        ("GET", "/v1/modules/Not-A-Name", "", 400),
        ("DELETE", "/v1/status", "", 405),
        ("POST", put, "{}", 405),
        ("PUT", put, "{", 400),
        (
            "PUT",
            put,
            r#"{"fence":1,"deployment":"d","action":{"type":"dance"}}"#,
            400,
        ),
    ] {
        let request = node
            .client
            .request(method.parse().unwrap(), node.control_url(path));
        let request = request
            .bearer_auth(TOKEN)
            .header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status);
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.starts_with("urn:hotswap:problem:"), "{kind}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_and_openapi_need_no_token() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    node.get("/").await;
    wait_until("the node is ready", async || {
        node.readiness().await.0 == 200
    })
    .await;
    let get = async |path: &str| {
        let response = node
            .client
            .get(node.control_url(path))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    };
    assert_eq!(get("/health/live").await, "live");
    assert_eq!(get("/health/ready").await, "ready");
    assert!(get("/swagger").await.contains("swagger"));
    let metrics = get("/metrics").await;
    for line in [
        "hotswap_node_requests_total{module=\"hello\",version=\"1.0.0\"} 1",
        "hotswap_node_errors_total{module=\"hello\",version=\"1.0.0\"} 0",
        "hotswap_node_latency_seconds_count{module=\"hello\",version=\"1.0.0\"} 1",
        "le=\"+Inf\"",
        "hotswap_node_cpu_seconds_total",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let document: Value = serde_json::from_str(&get("/openapi.json").await).unwrap();
    assert_eq!(
        document,
        serde_json::from_str::<Value>(&hotswap_node::openapi()).unwrap()
    );
    let order = &document["paths"]["/v1/modules/{module}/operations/{operation}"]["put"];
    assert!(order["responses"]["409"].is_object(), "{order}");
    assert!(order["security"].is_array(), "{order}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_lists_all_modules() {
    let node = TestNode::start().await;
    let version = node.activate("1.0.0", HELLO_V1).await;
    let url = node.control_url("/v1/status");
    let response = node
        .client
        .get(url)
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    let status: hotswap_protocol::NodeStatus = response.json().await.unwrap();
    assert_eq!(status.id, "node-1");
    assert!(status.memory_bytes > 1 << 20);
    assert_eq!(status.modules.len(), 1);
    assert_eq!(status.modules[0].module, MODULE);
    assert_eq!(status.modules[0].active, Some(version));
    assert_eq!(status.modules[0].boot, status.boot);
}
