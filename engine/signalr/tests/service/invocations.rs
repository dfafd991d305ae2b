use std::time::Duration;

use hotswap_signalr::Config;
use serde_json::{Value, json};

use crate::chat::{Client, service};

fn error(messages: &[Value]) -> &str {
    messages[0]["error"].as_str().unwrap()
}

#[tokio::test]
async fn an_invocation_is_answered_before_its_follow_up() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.handshaken().await;
    let messages = client.invoke("Echo", json!(["hello"])).await;
    assert_eq!(
        messages,
        [json!({"type": 3, "invocationId": "c", "result": "ada: hello"})]
    );
    let messages = client.invoke("Join", json!([])).await;
    assert_eq!(messages[0]["result"], "welcome");
    assert_eq!(messages[1]["arguments"], json!(["after the reply"]));
}

#[tokio::test(start_paused = true)]
async fn failed_invocations_have_the_error_texts_of_the_reference_server() {
    let service = service(Config {
        invocation_timeout: Duration::from_secs(5),
        ..Config::default()
    });
    let client = Client::negotiate(&service).await.handshaken().await;
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
        assert_eq!(error(&client.invoke(method, arguments).await), text);
    }
    let messages = client.invoke("Echo", json!(["a", "b"])).await;
    assert!(
        error(&messages).ends_with("provides 2 argument(s) but target expects 1."),
        "{messages:?}"
    );
    let messages = client.invoke("Echo", json!([7])).await;
    assert!(
        error(&messages).contains("HubException: argument 1 is invalid"),
        "{messages:?}"
    );
    let messages = client.invoke("Hang", json!([])).await;
    assert!(
        error(&messages).contains("no answer within 5 s"),
        "{messages:?}"
    );
}

#[tokio::test]
async fn an_invocation_without_an_id_is_not_answered() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.handshaken().await;
    client
        .send(&[
            json!({"type": 1, "target": "Nothing", "arguments": []}),
            json!({"type": 6}),
        ])
        .await;
    let messages = client.invoke("Echo", json!(["x"])).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
}

fn stream(id: &str, target: &str, arguments: Value) -> Value {
    json!({"type": 4, "invocationId": id, "target": target, "arguments": arguments})
}

#[tokio::test]
async fn a_stream_is_sent_no_faster_than_the_client_reads() {
    let mut config = Config::default();
    config.queue_capacity.messages = 8;
    let service = service(config);
    let client = Client::negotiate(&service).await.handshaken().await;
    client.send(&[stream("s", "Count", json!([100]))]).await;
    let mut items = Vec::new();
    let completion = loop {
        let (status, messages) = client.poll().await;
        assert!(status == 200 && messages.len() <= 8, "{messages:?}");
        let ended = messages.iter().find(|it| it["type"] == 3).cloned();
        items.extend(
            messages
                .iter()
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
    let client = Client::negotiate(&service).await.handshaken().await;
    client.send(&[stream("f", "Fail", json!([]))]).await;
    let mut messages = Vec::new();
    while messages.len() < 2 {
        messages.extend(client.poll().await.1);
    }
    assert_eq!(messages[0]["item"], 1);
    assert!(error(&messages[1..]).ends_with("HubException: no more"));
    client.send(&[stream("n", "Never", json!([]))]).await;
    client.send(&[stream("n", "Never", json!([]))]).await;
    let (_, messages) = client.poll().await;
    assert_eq!(error(&messages), "Invocation ID 'n' is already in use.");
    client
        .send(&[json!({"type": 5, "invocationId": "n"})])
        .await;
    let (_, messages) = client.poll().await;
    assert_eq!(
        messages,
        [json!({"type": 3, "invocationId": "n"})],
        "a cancelled stream still completes"
    );
    client
        .send(&[json!({"type": 5, "invocationId": "n"})])
        .await;
    let messages = client.invoke("Echo", json!(["x"])).await;
    assert_eq!(
        messages.len(),
        1,
        "there is no second Completion: {messages:?}"
    );
}

#[tokio::test]
async fn the_number_of_streams_per_connection_is_limited() {
    let config = Config {
        max_streams: 2,
        invocation_timeout: Duration::from_secs(5),
        ..Config::default()
    };
    let service = service(config);
    let client = Client::negotiate(&service).await.handshaken().await;
    for id in ["1", "2", "3"] {
        client.send(&[stream(id, "Never", json!([]))]).await;
    }
    let (_, messages) = client.poll().await;
    assert_eq!(messages[0]["invocationId"], "3");
    assert!(error(&messages).contains("2 streams open"), "{messages:?}");
}
