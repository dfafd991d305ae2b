use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::*;
use crate::settings::Settings;
use crate::watch::samples;

const STREAM: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n";

/// What an engine does with one connection.
enum Act {
    /// Begins the answer, says this and hangs up.
    Say(String),
    /// The same, but with a length that it promises and does not keep.
    Promise(String),
    /// Says this, gives so many signs of life, and then says nothing more.
    Beat(String, u32),
    /// Says nothing at all.
    Ignore,
    /// Answers with this status.
    Fail(u16),
    /// Answers with something else.
    Page(&'static str),
}

/// What engine and follower know of each other, where the test has to know when.
struct Pace {
    /// One for each time that the follower began to wait.
    waits: Semaphore,
    /// One for each request that the engine ignores.
    ignored: Semaphore,
}

impl Pace {
    fn new() -> Arc<Self> {
        let (waits, ignored) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { waits, ignored })
    }
}

/// Takes one permit.
async fn next(of: &Semaphore) {
    of.acquire().await.unwrap().forget();
}

/// An engine that does these things, one after the other; each request must give the id
/// beside it as the last that was heard.
async fn engine(
    script: Vec<(Option<String>, Act)>,
    pace: Arc<Pace>,
) -> (Client, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let mut script = VecDeque::from(script);
    let serving = tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Some((last, act)) = script.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked(&mut stream, last.as_deref()).await;
            let answer = match &act {
                Act::Say(said) | Act::Beat(said, _) => format!("{STREAM}\r\n{said}"),
                Act::Promise(said) => format!("{STREAM}content-length: 999999\r\n\r\n{said}"),
                Act::Fail(204) => "HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".to_owned(),
                Act::Fail(status) => format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
                ),
                Act::Page(kind) => format!(
                    "HTTP/1.1 200 X\r\nconnection: close\r\ncontent-type: {kind}\r\n\r\n{{}}"
                ),
                Act::Ignore => String::new(),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            match act {
                Act::Beat(_, beats) => {
                    // It has waited for the answer and for what that says.
                    next(&pace.waits).await;
                    next(&pace.waits).await;
                    for _ in 0..beats {
                        next(&pace.waits).await;
                        stream.write_all(b": beat\n\n").await.unwrap();
                    }
                    silent.push(stream);
                }
                Act::Ignore => {
                    pace.ignored.add_permits(1);
                    silent.push(stream);
                }
                _ => {}
            }
        }
    });
    (client(server), serving)
}

/// Reads a request, and compares.
async fn asked(stream: &mut TcpStream, last: Option<&str>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let header = |name: &str| {
        let mut lines = request.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    };
    assert_eq!(header("last-event-id"), last, "{request}");
    assert_eq!(header("accept"), Some("text/event-stream"), "{request}");
    assert!(
        request.starts_with("GET /api/v1/deployments/01890a5d-ac96-774b-bcce-b302099a8057/events "),
        "{request}"
    );
}

fn client(server: String) -> Client {
    let settings = Settings {
        server,
        token: None,
        email: String::new(),
        json: false,
        plain: true,
    };
    Client::new(&settings).unwrap()
}

/// What the engine calls the event with this number.
fn name(seq: u64) -> Option<String> {
    Some(format!("epoch:{}", 10 + seq))
}

const LIVE: &str = "event: live\ndata: {}\n\n";
const END: &str = "event: end\ndata: {}\n\n";

/// Events as the engine tells them, from one number to before another, of eleven.
fn told(range: std::ops::Range<usize>) -> String {
    let events = samples::journal(&samples::rolled_back());
    assert_eq!(events.len(), 11);
    let tell = |event: &hotswap_core::Event| {
        let mut json = serde_json::to_value(event).unwrap();
        json["executionId"] = "01890a5d-ac96-774b-bcce-b302099a8057".into();
        let name = name(event.seq).unwrap();
        format!("id: {name}\ndata: {json}\n\n")
    };
    events[range].iter().map(tell).collect()
}

/// The first half of what is told of an event.
fn half(number: usize) -> String {
    let mut whole = told(number..number + 1);
    whole.truncate(whole.len() / 2);
    whole
}

/// Everything that a follower tells, in short; events that follow each other together, for
/// it is up to the network how many come at once.
async fn hear_from(mut follower: Follower) -> Vec<String> {
    let mut heard: Vec<String> = Vec::new();
    let mut together: Vec<u64> = Vec::new();
    while let Some(news) = follower.next().await {
        let text = match news {
            News::Events(events) => {
                assert!(
                    events
                        .iter()
                        .all(|recorded| recorded.json["executionId"].is_string())
                );
                if !together.is_empty() {
                    heard.pop();
                }
                together.extend(events.iter().map(|recorded| recorded.event.seq));
                heard.push(format!("{together:?}"));
                continue;
            }
            News::UpToDate => "up to date".to_owned(),
            News::Cut(Error::Broke { how, .. }) => format!("cut: {how}"),
            News::Cut(Error::Lost { .. }) => "cut: lost".to_owned(),
            News::Cut(error) => format!("cut: {error}"),
            News::Refused(error) => format!("refused: {error}"),
        };
        together.clear();
        heard.push(text);
    }
    heard
}

/// What a follower tells of an engine that does these things.
async fn hear(script: Vec<(Option<String>, Act)>) -> Vec<String> {
    let (client, serving) = engine(script, Pace::new()).await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let heard = hear_from(Follower::new(client, id)).await;
    serving.await.unwrap();
    heard
}

#[tokio::test]
async fn no_event_is_lost_or_told_twice_whatever_the_engine_does() {
    let heard = hear(vec![
        (None, Act::Fail(503)),
        // Hangs up in the middle of an event.
        (None, Act::Say(told(0..4) + &half(4))),
        (name(3), Act::Say(String::new())),
        // Tells again what was told.
        (name(3), Act::Promise(told(2..7) + LIVE + &half(7))),
        (name(6), Act::Say(format!(": hello\n\n{LIVE}"))),
        (name(6), Act::Fail(502)),
        (name(6), Act::Say(told(7..11) + END)),
    ])
    .await;
    assert_eq!(
        heard,
        [
            "cut: Service Unavailable (HTTP 503)",
            "[0, 1, 2, 3]",
            "cut: stopped telling what happens",
            "cut: stopped telling what happens",
            "[4, 5, 6]",
            "up to date",
            "cut: lost",
            "up to date",
            "cut: stopped telling what happens",
            "cut: Bad Gateway (HTTP 502)",
            "[7, 8, 9, 10]"
        ]
    );
}

#[tokio::test]
async fn a_gap_is_asked_for_again() {
    let heard = hear(vec![
        (None, Act::Say(told(0..3) + &told(4..6))),
        (name(2), Act::Say(told(5..11) + END)),
        (name(2), Act::Say(told(3..11) + END)),
    ])
    .await;
    assert_eq!(
        heard,
        [
            "[0, 1, 2]",
            "cut: left out event 3",
            "cut: left out event 3",
            "[3, 4, 5, 6, 7, 8, 9, 10]"
        ]
    );
}

#[tokio::test]
async fn an_end_without_the_last_event_is_none() {
    let heard = hear(vec![
        (None, Act::Say(told(0..3) + END)),
        (None, Act::Say(told(0..5))),
        // "Nothing comes after that, and never will."
        (name(4), Act::Fail(204)),
        (None, Act::Say(told(0..11))),
    ])
    .await;
    assert_eq!(
        heard,
        [
            "[0, 1, 2]",
            "cut: left out event 3",
            "[3, 4]",
            "cut: stopped telling what happens",
            "cut: left out event 5",
            "[5, 6, 7, 8, 9, 10]"
        ]
    );
}

#[tokio::test]
async fn what_a_later_release_tells_besides_is_passed_over() {
    let text = format!(
        "retry: 5\nwhat: ever\n\nevent: weather\ndata: rain\n\n{}{LIVE}{}{END}",
        told(0..6).replace("id: ", "event: message\nid: "),
        told(6..11).replace('\n', "\r\n"),
    );
    let heard = hear(vec![(None, Act::Say(text))]).await;
    let expected = ["[0, 1, 2, 3, 4, 5]", "up to date", "[6, 7, 8, 9, 10]"];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn an_id_that_cannot_be_sent_back_is_not() {
    let odd = told(0..2).replace("epoch:11", "a\u{7f}b");
    let unnamed = told(2..11).replace("id: epoch:13\n", "id\n");
    let heard = hear(vec![
        (None, Act::Say(odd)),
        (
            None,
            Act::Say(told(0..2) + &unnamed[..unnamed.find("id: epoch:14").unwrap()]),
        ),
        (None, Act::Say(told(0..11))),
    ])
    .await;
    let cut = "cut: stopped telling what happens";
    let rest = "[4, 5, 6, 7, 8, 9, 10]";
    assert_eq!(heard, ["[0, 1]", cut, "[2, 3]", cut, rest]);
}

#[tokio::test]
async fn what_asking_again_does_not_help_ends_it() {
    let place = "/api/v1/deployments/01890a5d-ac96-774b-bcce-b302099a8057/events";
    for (act, refusal) in [
        (Act::Fail(404), "Not Found (HTTP 404)".to_owned()),
        (Act::Fail(401), "Unauthorized (HTTP 401)".to_owned()),
        (Act::Fail(403), "Forbidden (HTTP 403)".to_owned()),
        // An engine that does not tell as it happens yet, or something else altogether.
        (
            Act::Page("application/json; charset=utf-8"),
            format!(
                "the engine's answer to {place} is 'application/json; charset=utf-8', not events; \
                 is it of another version?"
            ),
        ),
        (
            Act::Say("data: {\"seq\": 0}\n\n".to_owned()),
            format!("the engine's answer to {place} is not understood; is it of another version?"),
        ),
        (
            Act::Say("data: \u{1}\u{fffd}<html>\n\n".to_owned()),
            format!("the engine's answer to {place} is not understood; is it of another version?"),
        ),
    ] {
        assert_eq!(
            hear(vec![(None, act)]).await,
            [format!("refused: {refusal}")]
        );
    }
}

#[tokio::test]
async fn what_came_before_garbage_is_told() {
    let garbage = told(0..3) + "data: garbage\n\n" + &told(3..11);
    let heard = hear(vec![(None, Act::Say(garbage))]).await;
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0], "[0, 1, 2]");
    assert!(heard[1].contains("not understood"), "{heard:?}");
}

#[tokio::test]
async fn a_token_that_ends_in_between_is_told() {
    let heard = hear(vec![
        (None, Act::Say(told(0..3))),
        (name(2), Act::Fail(401)),
    ])
    .await;
    let cut = "cut: stopped telling what happens";
    assert_eq!(
        heard,
        ["[0, 1, 2]", cut, "refused: Unauthorized (HTTP 401)"]
    );
}

/// Without a clock: each time that the follower begins to wait it asks what would be too
/// long, and so the test decides which wait is.
#[tokio::test]
async fn who_is_silent_for_too_long_is_asked_again() {
    // It waits for the answer, for what that says, and for three signs of life, each after
    // the one before. Nothing comes after the last, nor to the next request.
    const SIGNS: u32 = 3;
    const AFTER_THE_LAST: u32 = 2 + SIGNS;
    const FOR_AN_ANSWER: u32 = AFTER_THE_LAST + 1;
    let pace = Pace::new();
    let script = vec![
        (None, Act::Beat(told(0..2), SIGNS)),
        (name(1), Act::Ignore),
        (name(1), Act::Say(told(2..11) + END)),
    ];
    let (client, serving) = engine(script, Arc::clone(&pace)).await;
    let number = AtomicU32::new(0);
    let silence = move || {
        let number = number.fetch_add(1, Ordering::SeqCst);
        pace.waits.add_permits(1);
        let pace = Arc::clone(&pace);
        async move {
            match number {
                AFTER_THE_LAST => {}
                FOR_AN_ANSWER => next(&pace.ignored).await,
                _ => pending().await,
            }
        }
    };
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let heard = hear_from(Follower::with(client, id, silence)).await;
    serving.await.unwrap();
    let silent = "cut: has been silent for too long";
    assert_eq!(
        heard,
        ["[0, 1]", silent, silent, "[2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    );
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let mut follower = Follower::new(client(server), id);
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
