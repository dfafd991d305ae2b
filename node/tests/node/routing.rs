use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotswap_guests::{HELLO_V1, HELLO_V2, HELLO_V3, MODULE_PROBE};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_drop_no_request() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (client, url, stop) = (node.client.clone(), node.data_url("/x"), stop.clone());
            tokio::spawn(async move {
                let mut seen = [0_u32; 2];
                while !stop.load(Ordering::Relaxed) {
                    let response = client.get(&url).send().await.unwrap();
                    assert_eq!(response.status(), 200);
                    let version = response.headers()["x-hotswap-version"].clone();
                    match &*response.text().await.unwrap() {
                        "hello from v1: /x\n" => {
                            assert_eq!(version, "1.0.0");
                            seen[0] += 1;
                        }
                        "hello from v2: /x\n" => {
                            assert_eq!(version, "2.0.0");
                            seen[1] += 1;
                        }
                        other => panic!("{other}"),
                    }
                }
                seen
            })
        })
        .collect();
    for _ in 0..15 {
        node.apply(&stage(&v2)).await;
        node.apply(&shift(&v2, 30)).await;
        node.apply(&promote(&v2)).await;
        node.apply(&revert(Some(&v1))).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen = [0, 0];
    for one in load {
        let [one, two] = one.await.unwrap();
        seen = [seen[0] + one, seen[1] + two];
    }
    assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");

    let status = node.status().await;
    let counted = |digest: &str| {
        let one = status
            .versions
            .iter()
            .find(|one| one.version.digest == digest);
        let one = one.unwrap();
        assert_eq!((one.errors, one.in_flight), (0, 0));
        let latencies: u64 = one.latency.iter().map(|bucket| bucket.count).sum();
        assert_eq!(latencies, one.requests);
        assert!(one.memory_bytes >= 64 << 10);
        u32::try_from(one.requests).unwrap()
    };
    assert_eq!([counted(&v1.digest), counted(&v2.digest)], seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_staged_version_gets_exactly_its_percentage() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    for percent in [0, 1, 10, 37, 100] {
        node.apply(&shift(&v2, percent)).await;
        let mut hits = 0;
        for _ in 0..200 {
            let response = node.client.get(node.data_url("/")).send().await.unwrap();
            hits += u32::from(response.headers()["x-hotswap-version"] == "2.0.0");
        }
        assert_eq!(hits, u32::from(percent) * 2, "of 200 at {percent} %");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_on_the_version_where_it_began() {
    let node = TestNode::start().await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let mut slow = node
        .client
        .get(node.data_url("/drip/40"))
        .send()
        .await
        .unwrap();
    assert_eq!(slow.headers()["x-hotswap-version"], "1.0.0");
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    node.apply(&promote(&v2)).await;
    node.apply(&settle()).await;
    assert_eq!(node.get("/").await.1, "hello from v2: /\n");
    let in_flight = node.status().await.versions[0].in_flight;
    assert_eq!(in_flight, 1, "still served by the old version");
    let mut text = Vec::new();
    while let Some(piece) = slow.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    assert!(text.ends_with(b"39\n"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_waits_for_requests() {
    let node = TestNode::start().await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let slow = node
        .client
        .get(node.data_url("/drip/20"))
        .send()
        .await
        .unwrap();
    let (text, ()) = tokio::join!(slow.text(), node.shutdown());
    assert!(text.unwrap().ends_with("19\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_are_found_by_host_or_path() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let root = format!("http://{}", node.data_addr());
    let get = async |path: &str, host: Option<&str>| {
        let mut request = node.client.get(format!("{root}{path}"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let hello = |path: &str| (200, format!("hello from v1: {path}\n"));
    assert_eq!(get("/hello", None).await, hello("/"));
    assert_eq!(get("/hello/a/b?c=d", None).await, hello("/a/b?c=d"));
    assert_eq!(get("/a?c", Some("hello.example.org")).await, hello("/a?c"));
    assert_eq!(get("/hello/a", Some("hello:80")).await, hello("/hello/a"));
    let (status, body) = get("/other", None).await;
    assert_eq!(status, 404);
    assert!(
        body.contains("urn:hotswap:problem:no-such-module"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_supported() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let stream = tokio::net::TcpStream::connect(node.data_addr())
        .await
        .unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    for (uri, module_path) in [("http://any/hello/x", "/x"), ("http://hello.any/x", "/x")] {
        let request = http::Request::get(uri)
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        assert_eq!(body.to_bytes(), format!("hello from v1: {module_path}\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_can_stream_a_body() {
    let node = TestNode::start().await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let request = node.client.post(node.data_url("/echo")).body(body.clone());
    let response = request.send().await.unwrap().bytes().await.unwrap();
    assert!(response == body, "{} bytes came back", response.len());
    wait_until("the request is counted", async || {
        node.counters().await.requests == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_faulty_sample_fails_a_tenth_of_requests() {
    let node = TestNode::start().await;
    node.activate("3.0.0", HELLO_V3).await;
    let mut failed = 0;
    for _ in 0..1000 {
        match node.get("/x").await {
            (200, body) => assert_eq!(body, "hello from v3: /x\n"),
            (500, body) => {
                assert_eq!(body, "v3 failed: /x\n");
                failed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // Six standard deviations: this test fails by chance once in a billion runs.
    assert!((43..=157).contains(&failed), "{failed} of 1000");
    assert_eq!(node.counters().await.errors, failed);
}
