//! What clients do is not held against the version that answers them.

use std::time::Duration;

use hotswap_guests::MODULE_PROBE;
use hotswap_node::Limits;
use hotswap_protocol::VersionStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::*;

const SECOND: Duration = Duration::from_secs(1);

async fn start(request_timeout: Duration) -> TestNode {
    let node = TestNode::start_with(Limits {
        request_timeout,
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    node
}

/// A connection on which these bytes were sent.
async fn send(node: &TestNode, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.data_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// The status of the response to these bytes, and the whole response.
async fn respond(node: &TestNode, bytes: &[u8]) -> (u16, String) {
    let mut stream = send(node, bytes).await;
    let mut response = Vec::new();
    let read = stream.read_to_end(&mut response);
    let read = tokio::time::timeout(20 * SECOND, read).await;
    assert!(read.is_ok(), "no end of the response");
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.split(' ').nth(1).unwrap_or_default();
    (status.parse().unwrap_or_default(), response)
}

/// Waits for the counters of the version to be as wanted, and returns them.
async fn counted(node: &TestNode, wanted: impl Fn(&VersionStatus) -> bool) -> VersionStatus {
    wait_until("the request is counted", async || {
        wanted(&node.counters().await)
    })
    .await;
    node.counters().await
}

fn assert_blameless(counters: &VersionStatus) {
    assert_eq!((counters.requests, counters.errors), (0, 0), "{counters:?}");
    assert_eq!(counters.latency, []);
}

async fn metrics(node: &TestNode) -> String {
    let url = node.control_url("/metrics");
    let response = node.client.get(url).bearer_auth(TOKEN).send().await;
    response.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_not_valid_reaches_no_version() {
    let node = start(30 * SECOND).await;
    let large = [
        b"GET /hello/ HTTP/1.1\r\nx: ",
        &[b'x'; 100_000][..],
        b"\r\n\r\n",
    ]
    .concat();
    let requests: [(&[u8], u16); 7] = [
        (
            b"GET /hello/ HTTP/1.1\r\nhost: \xff\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            b"GET /hello/ HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            b"GET /hello/ HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            400,
        ),
        (b"GET /hello/ HTTP/1.1\r\nconnection: close\r\n\r\n", 400),
        (
            b"CONNECT hello:80 HTTP/1.1\r\nhost: hello:80\r\nconnection: close\r\n\r\n",
            405,
        ),
        (b"GET /hello/ HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (&large, 431),
    ];
    for (request, status) in requests {
        let (actual, response) = respond(&node, request).await;
        let beginning = String::from_utf8_lossy(&request[..request.len().min(60)]);
        assert_eq!(actual, status, "{beginning:?}: {response}");
    }
    assert_blameless(&node.counters().await);
    assert_eq!(node.counters().await.client, Default::default());
    let metrics = metrics(&node).await;
    let malformed = "hotswap_node_rejected_requests_total{reason=\"malformed\"} 7\n";
    assert!(metrics.contains(malformed), "{metrics}");
}

/// A node is no end of a tunnel: it answers such requests as any other, which is what HTTP says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_an_upgrade_are_answered_as_others() {
    let node = start(30 * SECOND).await;
    for protocol in ["websocket", "h2c"] {
        let request = format!(
            "GET /hello/fine HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\n\
             upgrade: {protocol}\r\n\r\n"
        );
        let (status, response) = respond(&node, request.as_bytes()).await;
        assert_eq!(status, 200, "{response}");
    }
    let counters = node.counters().await;
    assert_eq!((counters.requests, counters.errors), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_counted_by_itself() {
    let node = start(30 * SECOND).await;
    let before = send(&node, b"GET /hello/sleep/20000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    counted(&node, |counters| counters.in_flight == 1).await;
    drop(before);
    let counters = counted(&node, |counters| counters.client.left == 1).await;
    assert_blameless(&counters);

    let mut midway = node
        .client
        .get(node.data_url("/drip/1000"))
        .send()
        .await
        .unwrap();
    midway.chunk().await.unwrap();
    drop(midway);
    let counters = counted(&node, |counters| counters.client.left == 2).await;
    assert_blameless(&counters);

    let upload = b"POST /hello/count HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf";
    let upload = send(&node, upload).await;
    counted(&node, |counters| counters.in_flight == 1).await;
    drop(upload);
    let counters = counted(&node, |counters| counters.client.left == 3).await;
    assert_blameless(&counters);

    let chunked = b"POST /hello/count HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                    connection: close\r\n\r\nzz\r\n";
    respond(&node, chunked).await;
    let counters = counted(&node, |counters| counters.client.left == 4).await;
    assert_blameless(&counters);
    let metrics = metrics(&node).await;
    let left =
        "hotswap_node_client_faults_total{module=\"hello\",version=\"1.0.0\",cause=\"left\"} 4";
    assert!(metrics.contains(left), "{metrics}");
}

/// Their places are free at once, so that no other request is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_whose_client_left_a_long_stream_is_ended() {
    let node = TestNode::start_with(Limits {
        concurrency: 1,
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    for left in 1..=20 {
        // It would take 20 s.
        let head = node.client.get(node.data_url("/drip/1000")).send().await;
        assert_eq!(head.unwrap().status(), 200);
        counted(&node, |counters| counters.client.left == left).await;
        assert_eq!(node.get("/fine").await.0, 200);
    }
    let counters = node.counters().await;
    assert_eq!((counters.requests, counters.errors), (20, 0));
}

/// A version that hangs must not go unseen because its clients give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_of_a_client_that_gave_up_after_a_second_is_a_latency() {
    let node = start(30 * SECOND).await;
    let impatient = node.client.get(node.data_url("/sleep/20000"));
    let impatient = impatient.timeout(SECOND + SECOND / 10).send().await;
    assert!(impatient.unwrap_err().is_timeout());
    let counters = counted(&node, |counters| counters.client.left == 1).await;
    assert_eq!((counters.requests, counters.errors), (0, 0));
    let latency = counters.latency.iter().map(|bucket| bucket.count);
    assert_eq!(latency.sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_gets_a_408_and_is_no_error() {
    let node = start(SECOND / 2).await;
    let upload = b"POST /hello/count HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\
                   connection: close\r\n\r\nhalf";
    let (status, response) = respond(&node, upload).await;
    assert_eq!(status, 408, "{response}");
    assert!(
        response.contains("urn:hotswap:problem:slow-client"),
        "{response}"
    );
    let counters = counted(&node, |counters| counters.client.slow_uploads == 1).await;
    assert_blameless(&counters);
    // A version that is slow by itself is at fault, whatever was uploaded.
    assert_eq!(node.get("/sleep/20000").await.0, 504);
    let counters = node.counters().await;
    assert_eq!((counters.requests, counters.errors), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_because_its_client_is_slow_is_no_error() {
    let node = start(SECOND / 2).await;
    let flood = b"GET /hello/flood/256 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut stream = send(&node, flood).await;
    // The module runs until its time is over, and its client reads nothing.
    counted(&node, |counters| counters.in_flight == 1).await;
    wait_until("the module has ended", async || {
        node.counters().await.instances == 1
    })
    .await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(response.len() < 256 << 20, "it broke off");
    let counters = counted(&node, |counters| counters.client.slow_readers == 1).await;
    assert_blameless(&counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_slow_reader_is_no_latency() {
    let node = start(30 * SECOND).await;
    let flood = b"GET /hello/flood/64 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut stream = send(&node, flood).await;
    stream.readable().await.unwrap();
    // Longer than all the rest together, also on a busy machine.
    tokio::time::sleep(3 * SECOND).await;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    assert!(response.len() > 64 << 20);
    let counters = counted(&node, |counters| counters.requests == 1).await;
    assert_eq!((counters.errors, counters.client.slow_readers), (0, 0));
    let bucket = counters.latency[0].bucket.into();
    let latency = Duration::from_micros(hotswap_core::Histogram::upper_micros(bucket));
    assert!(latency < 3 * SECOND, "{latency:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_of_a_version_that_was_removed_and_loaded_again_say_so() {
    let node = start(30 * SECOND).await;
    let generation = node.counters().await.generation;
    assert!(generation > 0);
    assert_eq!(node.get("/fine").await.0, 200);
    let status = node.status().await;
    assert_eq!((status.received, status.finished), (Some(1), Some(1)));
    // They go on while the node has not forgotten the version.
    let version = status.versions[0].version.clone();
    node.apply(&revert(None)).await;
    node.apply(&stage(&version)).await;
    assert_eq!(node.counters().await.generation, generation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saturation_is_counted() {
    let node = TestNode::start_with(Limits {
        concurrency: 1,
        queue_timeout: SECOND / 10,
        ..Limits::default()
    })
    .await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let busy = node
        .client
        .get(node.data_url("/drip/40"))
        .send()
        .await
        .unwrap();
    assert_eq!(node.get("/fine").await.0, 503);
    busy.text().await.unwrap();
    let counters = node.counters().await;
    assert_eq!((counters.refused, counters.queued), (1, 1));
    assert_eq!((counters.requests, counters.errors), (2, 1));
}
