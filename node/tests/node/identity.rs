//! Requests that are for another node.

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_node_is_refused() {
    let node = TestNode::start().await;
    let version = node.engine.push("1.0.0", hotswap_guests::HELLO_V1);
    let probe = serde_json::json!({ "version": version, "path": "/", "timeoutMillis": 1000 });
    let order = serde_json::to_value(order(1, &stage(&version))).unwrap();
    for (method, path, body) in [
        ("PUT", "/v1/modules/hello/operations/1", &order),
        ("POST", "/v1/modules/hello/probe", &probe),
        ("GET", "/v1/modules/hello", &probe),
        ("GET", "/v1/status", &probe),
    ] {
        let request = node
            .client
            .request(method.parse().unwrap(), node.control_url(path));
        let request = request.bearer_auth(TOKEN).json(body);
        let response = request.header("hotswap-node", "node-2").send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 421, "{method} {path}");
        assert_eq!(response.headers()["hotswap-node"], "node-1");
        let problem: serde_json::Value = response.json().await.unwrap();
        assert_eq!(problem["type"], "urn:hotswap:problem:wrong-node");
    }
    assert_eq!(node.engine.fetches(), 0);
    let headers = [("hotswap-node", "node-1")];
    let (status, _) = node
        .send("1", super::fixture::order(1, &stage(&version)), &headers)
        .await;
    assert_eq!(status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_for_an_earlier_start_is_refused_and_the_next_one_is_carried_out() {
    let node = TestNode::start().await;
    let version = node.activate("1.0.0", hotswap_guests::HELLO_V1).await;
    let before = node.status().await.boot;
    let node = node.restart().await;
    let boot = node.status().await.boot;
    for (boot, expected) in [(&before, 421), (&boot, 204)] {
        let headers = [("hotswap-node", "node-1"), ("hotswap-boot", boot)];
        let (status, body) = node.send("1", order(1, &stage(&version)), &headers).await;
        assert_eq!(status, expected, "{body}");
    }
}
