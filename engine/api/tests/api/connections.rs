//! Pages, metrics and connections.

use std::time::Duration;

use futures_util::StreamExt;
use hotswap_api::Limits;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::Fixture;

#[tokio::test]
async fn pages_need_no_token_and_have_a_content_security_policy() {
    let engine = Fixture::start().await;
    let open = engine.with_token(None);
    let root = open.get("/").await;
    assert_eq!((root.status, root.header("location")), (307, "/swagger"));
    let swagger = open.get("/swagger").await;
    assert_eq!(swagger.status, 200);
    assert!(swagger.header("content-type").starts_with("text/html"));
    let policy = swagger.header("content-security-policy").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
    let page = swagger.text();
    assert!(page.contains("SwaggerUIBundle") && page.contains("createDeployment"));
    // It has the document of this API, not the one that poem writes.
    assert!(page.contains("x-required-role"));
    let document = open.get("/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    assert_eq!(
        document.header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );
    assert_eq!(document.text(), hotswap_api::openapi());
    engine.stop().await;
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let open = engine.with_token(None);
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(open.get(path).await.ok(), json!({"status": "ok"}));
    }
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    engine.deploy(json!({"requireApproval": true})).await;
    engine.get("/api/v1/nodes/nobody").await;
    engine.get("/wp-login.php").await;
    let metrics_with = async |line: &str| {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let text = open.get("/metrics").await.text();
            if text.lines().any(|one| one == line) {
                return text;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{line} is not in {text}"
            );
        }
    };
    metrics_with("hotswap_deployments_ended_total{outcome=\"succeeded\"} 1").await;
    let text = metrics_with("hotswap_deployments_open{status=\"awaitingApproval\"} 1").await;
    let wait = text
        .lines()
        .find_map(|line| line.strip_prefix("hotswap_deployments_longest_approval_wait_seconds "));
    let wait: f64 = wait.unwrap().parse().unwrap();
    assert!(wait > 0.0 && wait < 60.0, "{wait}");
    for line in [
        "hotswap_deployments_ended_total{outcome=\"failed\"} 0",
        "hotswap_deployments_open{status=\"running\"} 0",
        "hotswap_nodes{environment=\"qa\",health=\"passing\"} 2",
        "hotswap_http_requests_total{method=\"POST\",route=\"/api/v1/deployments\",status=\"202\"} 2",
        "hotswap_http_requests_total{method=\"GET\",route=\"/api/v1/nodes/{id}\",status=\"404\"} 1",
        "hotswap_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
    ] {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is not in {text}"
        );
    }
    assert!(text.contains("hotswap_http_request_duration_seconds_bucket"));
    assert!(text.contains("hotswap_journal_appends_total"));
    assert!(!text.contains("wp-login") && !text.contains("nobody"));
    engine.stop().await;
}

#[tokio::test]
async fn head_returns_the_headers_of_get() {
    let engine = Fixture::start().await;
    let answer = engine
        .send(Method::HEAD, "/api/v1/strategies", |it| it)
        .await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    engine.stop().await;
}

#[tokio::test]
async fn a_stalled_upload_is_rejected() {
    let limits = Limits {
        upload_idle_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let engine = Fixture::with(limits).await;
    let first_chunk = futures_util::stream::iter([Ok::<_, std::io::Error>(b"\0asm".to_vec())]);
    let stalled = first_chunk.chain(futures_util::stream::pending());
    let body = reqwest::Body::wrap_stream(stalled);
    let path = "/api/v1/modules/hello/versions/1.0.0";
    engine
        .wasm(Method::PUT, path, body)
        .await
        .problem(408, "slow-upload");
    let stalled = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(stalled);
    engine
        .wasm(Method::POST, "/api/v1/strategies", body)
        .await
        .problem(408, "slow-upload");
    engine.stop().await;
}

#[tokio::test]
async fn a_request_without_its_body_times_out() {
    let limits = Limits {
        request_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let engine = Fixture::with(limits).await;
    let stalled = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(stalled);
    let answer = engine.send(Method::POST, "/api/v1/deployments", |it| {
        it.header("content-type", "application/json").body(body)
    });
    let answer = answer.await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.problem(503, "timed-out");
    engine.stop().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let engine = Fixture::with(limits).await;
    let addr = engine.base.trim_start_matches("http://").to_owned();
    let request = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = TcpStream::connect(&addr).await.unwrap();
    first.write_all(request).await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");

    let mut second = TcpStream::connect(&addr).await.unwrap();
    second.write_all(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut head));
    assert!(
        early.await.is_err(),
        "the second connection was served before the first was closed"
    );
    drop(first);
    second.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    drop(second);
    engine.stop().await;
}

#[tokio::test]
async fn a_silent_connection_does_not_delay_the_shutdown() {
    let limits = Limits {
        grace: Duration::from_millis(200),
        ..Limits::default()
    };
    let engine = Fixture::with(limits).await;
    let addr = engine.base.trim_start_matches("http://").to_owned();
    let mut half = TcpStream::connect(&addr).await.unwrap();
    half.write_all(b"POST /api/v1/deployments HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    engine.get("/health/live").await.ok();
    tokio::time::timeout(Duration::from_secs(10), engine.stop())
        .await
        .unwrap();
    let mut rest = Vec::new();
    // The server closed it. Whether that is a clean end or a reset depends on the system.
    let _ = half.read_to_end(&mut rest).await;
}

/// A body that nobody read is in the way of the next request. A little is read for the sake of the
/// connection; otherwise the answer says that this was its last one.
#[tokio::test]
async fn an_answer_before_the_end_of_a_body_keeps_the_connection_or_says_that_it_closes() {
    let engine = Fixture::start().await;
    let addr = engine.base.trim_start_matches("http://").to_owned();
    let head = |length: &str| {
        format!("POST /api/v1/deployments HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n").into_bytes()
    };
    let small = [head("content-length: 1000"), vec![b' '; 1000]].concat();
    let chunked = [
        head("transfer-encoding: chunked"),
        b"5\r\nhello\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    for request in [small, chunked] {
        let mut kept = TcpStream::connect(&addr).await.unwrap();
        for _ in 0..3 {
            kept.write_all(&request).await.unwrap();
            let answer = read_answer(&mut kept).await;
            assert!(answer.starts_with("http/1.1 401"), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }
    let large = [head("content-length: 1000000"), vec![b' '; 100_000]].concat();
    let stalled = head("content-length: 1000");
    let expecting = head("content-length: 1000\r\nexpect: 100-continue");
    for request in [large, stalled, expecting] {
        let mut closed = TcpStream::connect(&addr).await.unwrap();
        closed.write_all(&request).await.unwrap();
        let answer = read_answer(&mut closed).await;
        assert!(answer.starts_with("http/1.1 401"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    engine.stop().await;
}

/// The head of an answer, in lower case. Reads its body, too.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head
}
