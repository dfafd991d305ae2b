use std::time::{Duration, Instant};

use hotswap_guests::{HELLO_V1, MODULE_PROBE};
use hotswap_node::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_does_not_affect_other_requests() {
    let node = TestNode::start().await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let slow = node
        .client
        .get(node.data_url("/drip/10"))
        .send()
        .await
        .unwrap();
    for path in ["/trap", "/silent"] {
        let response = node.client.get(node.data_url(path)).send().await.unwrap();
        assert_eq!(response.status(), 500, "{path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(response.headers()["x-hotswap-version"], "1.0.0");
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["type"], "urn:hotswap:problem:module-failed");
        assert_eq!(node.get("/fine").await, (200, "/fine".to_owned()));
    }
    assert!(slow.text().await.unwrap().ends_with("9\n"));
    let counters = node.counters().await;
    assert_eq!((counters.requests, counters.errors), (5, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_is_an_error_for_the_client() {
    let node = TestNode::start().await;
    node.activate("1.0.0", MODULE_PROBE).await;
    // In rare cases the trap comes before the head is sent: the status is then 500.
    let response = node
        .client
        .get(node.data_url("/trap-late"))
        .send()
        .await
        .unwrap();
    if response.status() == 200 {
        assert!(
            response.text().await.is_err(),
            "half a response is an error"
        );
    } else {
        assert_eq!(response.status(), 500);
    }
    wait_until("the error is counted", async || {
        node.counters().await.errors == 1
    })
    .await;
    assert_eq!(node.get("/fine").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_time_is_limited_for_computing_and_waiting_modules() {
    let node = TestNode::start_with(Limits {
        request_timeout: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let all_started = Instant::now();
    for path in ["/spin", "/sleep/20000"] {
        let started = Instant::now();
        // Other requests are served meanwhile, although two loops run on two threads.
        let (one, two, fine) = tokio::join!(node.get(path), node.get(path), node.get("/fine"));
        assert_eq!((one.0, two.0, fine.0), (504, 504, 200), "{path}");
        assert!(
            one.1.contains("urn:hotswap:problem:module-time"),
            "{}",
            one.1
        );
        assert!(started.elapsed() < Duration::from_secs(5), "{path}");
    }
    // Both loops computed until the time-out, minus the time that others had the threads. On a
    // busy machine the time-out may come late, but two threads cannot compute longer than this.
    let cpu = Duration::from_micros(node.counters().await.cpu_micros);
    let both = Duration::from_millis(5)..2 * all_started.elapsed();
    assert!(both.contains(&cpu), "{cpu:?}");
    // A response that has begun breaks off.
    let drip = node
        .client
        .get(node.data_url("/drip/1000"))
        .send()
        .await
        .unwrap();
    assert_eq!(drip.status(), 200);
    assert!(drip.text().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_limited() {
    let node = TestNode::start_with(Limits {
        memory_bytes: 32 << 20,
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    assert_eq!(node.get("/memory/16").await.0, 200);
    let (status, body) = node.get("/memory/48").await;
    assert_eq!(status, 500);
    assert!(body.contains("more memory"), "{body}");
    assert_eq!(node.get("/memory/16").await.0, 200);

    let node = TestNode::start_with(Limits {
        memory_bytes: 64 << 10,
        ..Limits::default()
    })
    .await;
    let version = node.engine.push("1.0.0", HELLO_V1);
    let detail = node.apply_rejected(422, "refused", &stage(&version)).await;
    assert!(detail.contains("does not start"), "{detail}");
}

/// Two instances would be more than the node may have: one waits, and is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_all_instances_is_limited() {
    let node = TestNode::start_with(Limits::default()).await;
    node.activate("1.0.0", MODULE_PROBE).await;
    assert_eq!(node.get("/fine").await.0, 200);
    let one = usize::try_from(node.counters().await.memory_bytes).unwrap();
    let node = TestNode::start_with(Limits {
        total_memory_bytes: Some(one + one / 2),
        queue_timeout: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let get = |path: &str| node.client.get(node.data_url(path)).send();
    // Its head has arrived, so its instance is running.
    let first = get("/drip/40").await.unwrap();
    let busy = get("/fine").await.unwrap();
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.headers()["retry-after"], "1");
    let body: serde_json::Value = busy.json().await.unwrap();
    assert_eq!(body["type"], "urn:hotswap:problem:node-busy");
    let counters = node.counters().await;
    assert_eq!((counters.refused, counters.queued), (1, 1));
    first.text().await.unwrap();
    for _ in 0..3 {
        assert_eq!(node.get("/fine").await.0, 200, "the memory is free again");
    }
    // More than the node has: the instance fails, the node does not.
    let (status, body) = node.get("/memory/64").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("urn:hotswap:problem:node-busy"), "{body}");
    assert_eq!(node.get("/fine").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_is_limited() {
    let node = TestNode::start_with(Limits {
        concurrency: 2,
        queue_timeout: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    // Both heads have arrived, so two instances are running.
    let one = node
        .client
        .get(node.data_url("/drip/40"))
        .send()
        .await
        .unwrap();
    let two = node
        .client
        .get(node.data_url("/drip/40"))
        .send()
        .await
        .unwrap();
    let busy = node
        .client
        .get(node.data_url("/fine"))
        .send()
        .await
        .unwrap();
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.headers()["retry-after"], "1");
    let body: serde_json::Value = busy.json().await.unwrap();
    assert_eq!(body["type"], "urn:hotswap:problem:module-busy");
    one.text().await.unwrap();
    two.text().await.unwrap();
    assert_eq!(node.get("/fine").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_do_not_fit_in_the_pool_run_outside_it() {
    let node = TestNode::start_with(Limits {
        concurrency: 2000,
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let requests: Vec<_> = (0..1100)
        .map(|_| {
            let request = node.client.get(node.data_url("/sleep/3000"));
            tokio::spawn(async move { request.send().await.unwrap().status() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(node.counters().await.errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_disconnected() {
    let node = TestNode::start_with(Limits {
        header_timeout: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", HELLO_V1).await;
    for addr in [node.data_addr(), node.control_addr()] {
        for beginning in [&b""[..], b"P", b"GET /hello HTTP/1.1\r\nhost: a\r\nx: "] {
            let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            stream.write_all(beginning).await.unwrap();
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest);
            let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
            assert!(
                ended.is_ok(),
                "{:?} is waited for",
                String::from_utf8_lossy(beginning)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_heads_and_orders_are_rejected() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let request = node
        .client
        .get(node.data_url("/"))
        .header("x", "x".repeat(100_000));
    assert_eq!(request.send().await.unwrap().status(), 431);

    let url = node.control_url(&format!("/v1/modules/{MODULE}/operations/large"));
    let body = format!("{{\"deployment\":\"{}\"}}", "x".repeat(1_100_000));
    // The node may close the connection before the whole body is sent: then the client has no answer.
    let mut answer = None;
    for _ in 0..20 {
        let request = node.client.put(&url).bearer_auth(TOKEN);
        answer = request.body(body.clone()).send().await.ok();
        if answer.is_some() {
            break;
        }
    }
    let response = answer.expect("an answer in one of twenty tries");
    assert_eq!(response.status(), 413);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(node.get("/").await.0, 200);
}
