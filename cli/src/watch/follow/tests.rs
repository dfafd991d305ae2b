use std::collections::VecDeque;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::settings::Settings;
use crate::watch::samples;

/// What an engine does with one connection.
enum Act {
    /// Answers with these events.
    Tell(Vec<serde_json::Value>),
    /// Answers with this status.
    Fail(u16),
    /// Hangs up in the middle of its answer.
    Cut,
}

/// An engine that does these things, one after the other; each request must ask for the
/// events after the number beside it.
async fn engine(script: Vec<(Option<u64>, Act)>) -> (Client, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let mut script = VecDeque::from(script);
    let serving = tokio::spawn(async move {
        while let Some((after, act)) = script.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let asked = request
                .split(['?', '&', ' '])
                .find_map(|part| part.strip_prefix("after="));
            assert_eq!(
                asked.map(|number| number.parse().unwrap()),
                after,
                "{request}"
            );
            let (status, body) = match act {
                Act::Tell(events) => (200, serde_json::json!({ "events": events }).to_string()),
                Act::Fail(status) => (status, "{}".to_owned()),
                Act::Cut => {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"ev")
                        .await
                        .unwrap();
                    continue;
                }
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .unwrap();
        }
    });
    let settings = Settings {
        server,
        token: None,
        email: String::new(),
        json: false,
        plain: true,
    };
    (Client::new(&settings).unwrap(), serving)
}

fn events() -> Vec<serde_json::Value> {
    let events = samples::journal(&samples::rolled_back());
    events
        .iter()
        .map(|event| serde_json::to_value(event).unwrap())
        .collect()
}

/// Everything that a follower tells, in short.
async fn hear(client: Client) -> Vec<String> {
    let mut follower = Follower::new(
        client,
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
    );
    let mut heard = Vec::new();
    while let Some(news) = follower.next().await {
        heard.push(match news {
            News::Events(events) => {
                let numbers: Vec<_> = events.iter().map(|recorded| recorded.event.seq).collect();
                format!("{numbers:?}")
            }
            News::UpToDate => "up to date".to_owned(),
            News::Cut(_) => "cut".to_owned(),
            News::Refused(error) => format!("refused: {error}"),
        });
    }
    heard
}

#[tokio::test]
async fn no_event_is_lost_or_told_twice_whatever_the_engine_does() {
    let all = events();
    let (client, serving) = engine(vec![
        (None, Act::Fail(503)),
        (None, Act::Tell(all[..4].to_vec())),
        (Some(3), Act::Cut),
        // An engine that tells again what was told.
        (Some(3), Act::Tell(all[2..7].to_vec())),
        (Some(6), Act::Tell(Vec::new())),
        (Some(6), Act::Fail(502)),
        (Some(6), Act::Tell(all[7..].to_vec())),
    ])
    .await;
    assert_eq!(
        hear(client).await,
        [
            "cut",
            "[0, 1, 2, 3]",
            "cut",
            "[4, 5, 6]",
            "up to date",
            "cut",
            "[7, 8, 9, 10]"
        ]
    );
    serving.await.unwrap();
}

#[tokio::test]
async fn what_asking_again_does_not_help_ends_it() {
    let (client, serving) = engine(vec![(None, Act::Fail(404))]).await;
    assert_eq!(hear(client).await, ["refused: Not Found (HTTP 404)"]);
    serving.await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = Settings {
        server,
        token: None,
        email: String::new(),
        json: false,
        plain: true,
    };
    let client = Client::new(&settings).unwrap();
    let mut follower = Follower::new(
        client,
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
    );
    for _ in 0..2 {
        let Some(News::Cut(error)) = follower.next().await else {
            panic!("nobody is there")
        };
        assert!(
            error
                .to_string()
                .starts_with("no engine answers at http://127.0.0.1"),
            "{error}"
        );
    }
}
