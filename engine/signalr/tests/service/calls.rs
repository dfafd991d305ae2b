use std::time::Duration;

use hotswap_signalr::Config;
use serde_json::{Value, json};

use crate::chat::{Client, service};

fn error(records: &[Value]) -> &str {
    records[0]["error"].as_str().unwrap()
}

#[tokio::test]
async fn a_call_is_answered_and_what_follows_comes_after_it() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    let told = client.call("Echo", json!(["hello"])).await;
    assert_eq!(
        told,
        [json!({"type": 3, "invocationId": "c", "result": "ada: hello"})]
    );
    let told = client.call("Join", json!([])).await;
    assert_eq!(told[0]["result"], "welcome");
    assert_eq!(told[1]["arguments"], json!(["after the answer"]));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_says_so_in_the_words_that_clients_know() {
    let service = service(Config {
        call_timeout: Duration::from_secs(5),
        ..Config::default()
    });
    let client = Client::negotiate(&service).await.greeted().await;
    for (method, arguments, text) in [
        ("Nothing", json!([]), "Unknown hub method 'Nothing'"),
        ("echo", json!(["case matters"]), "Unknown hub method 'echo'"),
        ("Count", json!([3]), "Unknown hub method 'Count'"),
        (
            "Forbidden",
            json!([]),
            "Failed to invoke 'Forbidden' because user is unauthorized",
        ),
        (
            "Panic",
            json!([]),
            "Failed to invoke 'Panic' due to an error on the server.",
        ),
    ] {
        assert_eq!(error(&client.call(method, arguments).await), text);
    }
    let told = client.call("Echo", json!(["a", "b"])).await;
    assert!(
        error(&told).ends_with("provides 2 argument(s) but target expects 1."),
        "{told:?}"
    );
    let told = client.call("Echo", json!([7])).await;
    assert!(
        error(&told).contains("HubException: argument 1 does not fit"),
        "{told:?}"
    );
    let told = client.call("Hang", json!([])).await;
    assert!(error(&told).contains("no answer within 5 s"), "{told:?}");
}

#[tokio::test]
async fn a_call_without_an_id_is_not_answered() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    client
        .say(&[
            json!({"type": 1, "target": "Nothing", "arguments": []}),
            json!({"type": 6}),
        ])
        .await;
    let told = client.call("Echo", json!(["x"])).await;
    assert_eq!(told.len(), 1, "{told:?}");
}

fn stream(id: &str, target: &str, arguments: Value) -> Value {
    json!({"type": 4, "invocationId": id, "target": target, "arguments": arguments})
}

#[tokio::test]
async fn a_stream_is_sent_no_faster_than_it_is_taken() {
    let mut config = Config::default();
    config.capacity.records = 8;
    let service = service(config);
    let client = Client::negotiate(&service).await.greeted().await;
    client.say(&[stream("s", "Count", json!([100]))]).await;
    let mut items = Vec::new();
    let completion = loop {
        let (status, told) = client.poll().await;
        assert!(status == 200 && told.len() <= 8, "{told:?}");
        let ended = told.iter().find(|it| it["type"] == 3).cloned();
        items.extend(
            told.iter()
                .filter(|it| it["type"] == 2)
                .map(|it| it["item"].clone()),
        );
        if let Some(ended) = ended {
            break ended;
        }
    };
    assert_eq!(items, (1..=100).map(Value::from).collect::<Vec<_>>());
    assert_eq!(completion, json!({"type": 3, "invocationId": "s"}));
}

#[tokio::test]
async fn a_stream_ends_when_it_fails_or_is_cancelled() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    client.say(&[stream("f", "Fail", json!([]))]).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(client.poll().await.1);
    }
    assert_eq!(told[0]["item"], 1);
    assert!(error(&told[1..]).ends_with("HubException: no more"));
    client.say(&[stream("n", "Never", json!([]))]).await;
    client.say(&[stream("n", "Never", json!([]))]).await;
    let (_, told) = client.poll().await;
    assert_eq!(error(&told), "Invocation ID 'n' is already in use.");
    client.say(&[json!({"type": 5, "invocationId": "n"})]).await;
    let (_, told) = client.poll().await;
    assert_eq!(told, [json!({"type": 3, "invocationId": "n"})], "still due");
    client.say(&[json!({"type": 5, "invocationId": "n"})]).await;
    let told = client.call("Echo", json!(["x"])).await;
    assert_eq!(told.len(), 1, "nothing is due twice: {told:?}");
}

#[tokio::test]
async fn a_connection_has_only_so_many_streams() {
    let config = Config {
        streams: 2,
        call_timeout: Duration::from_secs(5),
        ..Config::default()
    };
    let service = service(config);
    let client = Client::negotiate(&service).await.greeted().await;
    for id in ["1", "2", "3"] {
        client.say(&[stream(id, "Never", json!([]))]).await;
    }
    let (_, told) = client.poll().await;
    assert_eq!(told[0]["invocationId"], "3");
    assert!(error(&told).contains("2 streams open"), "{told:?}");
}
