use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::MetricProviders;
use super::*;

const SECRET: &str = "Bearer of-a-secret-nobody-may-see";

/// A server that answers each request with these bytes, and keeps what it was asked.
async fn server(response: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 << 10];
            let mut length = 0;
            // Head and body come in one piece or in two.
            while let Ok(more @ 1..) = stream.read(&mut request[length..]).await {
                length += more;
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let expected = head
                    .to_lowercase()
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if body.len() >= expected.unwrap_or(0) {
                    seen.lock().unwrap().push(text);
                    break;
                }
            }
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    (addr, asked)
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn provider(kind: ProviderKind, addr: SocketAddr) -> HttpProvider {
    HttpProvider::new(HttpProviderConfig {
        kind,
        url: format!("http://{addr}/base/"),
        headers: vec![("Authorization".to_owned(), Secret::new(SECRET))],
        timeout: Duration::from_secs(5),
        tls: ClientTls::default(),
    })
    .unwrap()
}

fn vector(values: &[&str]) -> String {
    let samples: Vec<_> = values
        .iter()
        .map(|value| json!({ "metric": {}, "value": [1.5, value] }))
        .collect();
    let answer = json!({
        "status": "success", "data": { "resultType": "vector", "result": samples },
    });
    http("200 OK", &answer.to_string())
}

#[tokio::test]
async fn prometheus_answers_with_one_number() {
    let (addr, asked) = server(vector(&["0.25"])).await;
    let provider = provider(ProviderKind::Prometheus, addr);
    let query = r#"sum(rate(x{version="1.2.3"}[1m]))"#;
    assert_eq!(provider.ask(query, None).await, Ok(0.25));
    let asked = asked.lock().unwrap()[0].clone();
    assert!(asked.starts_with("POST /base/api/v1/query "), "{asked}");
    assert!(asked.contains(SECRET), "{asked}");
    let encoded = "query=sum%28rate%28x%7Bversion%3D%221.2.3%22%7D%5B1m%5D%29%29";
    assert!(asked.ends_with(encoded), "{asked}");
}

#[tokio::test]
async fn any_json_has_a_number_at_a_pointer() {
    let (addr, asked) = server(http("200 OK", r#"{"orders": [{"rate": "7.5"}]}"#)).await;
    let provider = provider(ProviderKind::Json, addr);
    let pointer = |pointer| provider.ask("/stats?version=1.2.3", Some(pointer));
    assert_eq!(pointer("/orders/0/rate").await, Ok(7.5));
    let missing = pointer("/orders/1").await.unwrap_err();
    assert_eq!(missing, "the answer has no number at '/orders/1'");
    let asked = asked.lock().unwrap()[0].clone();
    assert!(
        asked.starts_with("GET /base/stats?version=1.2.3 "),
        "{asked}"
    );
}

#[tokio::test]
async fn whatever_is_no_number_is_an_error_that_holds_no_secret() {
    let nan = vector(&["NaN"]);
    let two = vector(&["1", "2"]);
    let huge = http("200 OK", &"x".repeat(MAX_ANSWER_BYTES + 1));
    let bad = http(
        "400 Bad Request",
        &json!({ "error": "parse error" }).to_string(),
    );
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    for (response, expected) in [
        (nan, "the answer is NaN, not a number"),
        (two, "the result has 2 series"),
        (vector(&[]), "the result has 0 series"),
        (huge, "the answer has more than"),
        (http("200 OK", "<html>"), "the answer is not JSON"),
        (bad, "it answered 400 Bad Request: parse error"),
        (http("500 Internal Server Error", SECRET), "it answered 500"),
        (moved.to_owned(), "it answered 302 Found"),
        (String::new(), "the connection broke"),
    ] {
        let (addr, _) = server(response).await;
        let provider: Arc<dyn MetricProvider> = Arc::new(provider(ProviderKind::Prometheus, addr));
        let providers = MetricProviders::new([("p".to_owned(), provider)]);
        let error = providers.ask("p", "up", None).await.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(!format!("{providers:?}").contains("secret"));
    }
    let unreachable = provider(ProviderKind::Json, ([127, 0, 0, 1], 1).into());
    let error = unreachable.ask("/", None).await.unwrap_err();
    assert_eq!(error, "it cannot be reached");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_is_an_error_once_its_time_is_over() {
    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl MetricProvider for Hanging {
        async fn ask(&self, _: &str, _: Option<&str>) -> Result<f64, String> {
            std::future::pending().await
        }

        fn timeout(&self) -> Duration {
            Duration::from_secs(5)
        }

        fn check(&self, _: &str, _: Option<&str>) -> Result<(), String> {
            Ok(())
        }
    }

    let provider: Arc<dyn MetricProvider> = Arc::new(Hanging);
    let providers = MetricProviders::new([("slow".to_owned(), provider)]);
    // More than may ask at the same time: waiting counts, too.
    let asked = (0..20).map(|_| providers.ask("slow", "up", None));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer, Err("no answer within 5s".to_owned()));
    }
    let unknown = providers.ask("fast", "up", None).await.unwrap_err();
    assert_eq!(
        unknown,
        "there is no provider of metrics named 'fast'; use one of: slow"
    );
}

#[test]
fn a_query_stays_at_its_provider() {
    let json = provider(ProviderKind::Json, ([127, 0, 0, 1], 1).into());
    for valid in ["/", "/a/b?c=d/../e", "/a.b"] {
        assert_eq!(json.check(valid, None), Ok(()), "{valid}");
    }
    for invalid in [
        "",
        "a",
        "//host/",
        "/../a",
        "/a/..",
        "/%2e%2E/a",
        "/a#b",
        "/a b",
        "/a\\b",
    ] {
        assert!(json.check(invalid, None).is_err(), "{invalid}");
    }
    assert!(json.check("/a", Some("b")).is_err());
    let prometheus = provider(ProviderKind::Prometheus, ([127, 0, 0, 1], 1).into());
    assert_eq!(prometheus.check("up", None), Ok(()));
    assert!(prometheus.check(" ", None).is_err());
    assert!(prometheus.check("up", Some("/a")).is_err());
}

#[test]
fn an_address_has_no_secret_in_it() {
    let at = |url: &str| {
        HttpProvider::new(HttpProviderConfig {
            kind: ProviderKind::Json,
            url: url.to_owned(),
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
            tls: ClientTls::default(),
        })
    };
    assert!(at("http://prometheus:9090").is_ok());
    assert!(at("https://prometheus").is_ok());
    for url in [
        "a:80",
        "https://user:pass@a",
        "http://user:pass@a",
        "http://a?b",
        "http://a#b",
        "file:///a",
        "",
    ] {
        let error = at(url).unwrap_err().to_string();
        assert!(error.contains("url") && !error.contains("pass@"), "{error}");
    }
}
