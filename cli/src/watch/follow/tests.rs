use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::*;
use crate::settings::Settings;
use crate::watch::sample_journals;

const STREAM: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n";

/// What the engine does with one connection.
#[derive(Clone)]
enum Reply {
    /// Sends this and closes the connection.
    Send(String),
    /// Sends this, and closes the connection before the promised length.
    SendTooShort(String),
    /// Sends this and this many keep-alives, and then nothing more.
    SendThenKeepAlive(String, u32),
    /// Sends nothing.
    Ignore,
    /// Responds with this status.
    Status(u16),
    /// Responds with this status and the problem of an engine.
    Problem(u16),
    /// Responds with something that is not HTTP.
    Garbage,
    /// Responds with JSON of this content type.
    Json(&'static str),
}

/// Tells the engine and the test when to go on.
struct Pace {
    /// A permit for each wait that the follower started.
    waits: Semaphore,
    /// A permit for each request that the engine ignores.
    ignored: Semaphore,
}

impl Pace {
    fn new() -> Arc<Self> {
        let (waits, ignored) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { waits, ignored })
    }
}

/// Takes one permit.
async fn take_permit(semaphore: &Semaphore) {
    semaphore.acquire().await.unwrap().forget();
}

/// An engine that handles one connection after the other. Each request must send the id
/// beside the reply as its `Last-Event-ID`.
async fn engine(
    script: Vec<(Option<String>, Reply)>,
    pace: Arc<Pace>,
) -> (Client, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let mut script = VecDeque::from(script);
    let serving = tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Some((last_id, reply)) = script.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            check_request(&mut stream, last_id.as_deref()).await;
            let answer = match &reply {
                Reply::Send(said) | Reply::SendThenKeepAlive(said, _) => {
                    format!("{STREAM}\r\n{said}")
                }
                Reply::SendTooShort(said) => {
                    format!("{STREAM}content-length: 999999\r\n\r\n{said}")
                }
                Reply::Status(204) => "HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".to_owned(),
                Reply::Status(status) => response(*status, "{}"),
                Reply::Problem(status) => {
                    response(*status, r#"{"type": "urn:hotswap:problem:sample"}"#)
                }
                // The alert of a TLS server.
                Reply::Garbage => "\x15\x03\x03\0\x02\x02\x46".to_owned(),
                Reply::Json(kind) => format!(
                    "HTTP/1.1 200 X\r\nconnection: close\r\ncontent-type: {kind}\r\n\r\n{{}}"
                ),
                Reply::Ignore => String::new(),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            match reply {
                Reply::SendThenKeepAlive(_, keep_alives) => {
                    // The follower has waited for the response and for its first chunk.
                    take_permit(&pace.waits).await;
                    take_permit(&pace.waits).await;
                    for _ in 0..keep_alives {
                        take_permit(&pace.waits).await;
                        stream.write_all(b": beat\n\n").await.unwrap();
                    }
                    silent.push(stream);
                }
                Reply::Ignore => {
                    pace.ignored.add_permits(1);
                    silent.push(stream);
                }
                _ => {}
            }
        }
    });
    (client(server), serving)
}

fn response(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Reads a request and checks it.
async fn check_request(stream: &mut TcpStream, last_id: Option<&str>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let header = |name: &str| {
        let mut lines = request.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    };
    assert_eq!(header("last-event-id"), last_id, "{request}");
    assert_eq!(header("accept"), Some("text/event-stream"), "{request}");
    assert!(
        request.starts_with("GET /api/v1/deployments/01890a5d-ac96-774b-bcce-b302099a8057/events "),
        "{request}"
    );
}

fn client(server: String) -> Client {
    let settings = Settings {
        tls: Default::default(),
        server,
        token: None,
        token_file: None,
        email: String::new(),
        json: false,
        no_color: true,
        ci: false,
    };
    Client::new(&settings).unwrap()
}

/// The stream's id of the event with this number.
fn event_id(seq: u64) -> Option<String> {
    Some(format!("epoch:{}", 10 + seq))
}

const LIVE: &str = "event: live\ndata: {}\n\n";
const END: &str = "event: end\ndata: {}\n\n";

/// The stream's text for the events in this range, of eleven.
fn stream_text(range: std::ops::Range<usize>) -> String {
    let events = sample_journals::journal(&sample_journals::rolled_back());
    assert_eq!(events.len(), 11);
    let text = |event: &hotswap_core::Event| {
        let mut json = serde_json::to_value(event).unwrap();
        json["executionId"] = "01890a5d-ac96-774b-bcce-b302099a8057".into();
        let id = event_id(event.seq).unwrap();
        format!("id: {id}\ndata: {json}\n\n")
    };
    events[range].iter().map(text).collect()
}

/// The first half of the text for an event.
fn half(number: usize) -> String {
    let mut text = stream_text(number..number + 1);
    text.truncate(text.len() / 2);
    text
}

/// All updates of a follower in short form. Adjacent events are joined: the network decides
/// how many arrive at once.
async fn updates(mut follower: Follower) -> Vec<String> {
    let mut updates: Vec<String> = Vec::new();
    let mut joined: Vec<u64> = Vec::new();
    while let Some(update) = follower.next().await {
        let text = match update {
            FollowUpdate::Events(events) => {
                assert!(
                    events
                        .iter()
                        .all(|recorded| recorded.json["executionId"].is_string())
                );
                if !joined.is_empty() {
                    updates.pop();
                }
                joined.extend(events.iter().map(|recorded| recorded.event.seq));
                updates.push(format!("{joined:?}"));
                continue;
            }
            FollowUpdate::UpToDate => "up to date".to_owned(),
            FollowUpdate::StartedOver => "started over".to_owned(),
            FollowUpdate::Soak(soak) => format!("{} findings", soak.findings.len()),
            FollowUpdate::Disconnected(Error::StreamInterrupted { interruption, .. }) => {
                format!("disconnected: {interruption}")
            }
            FollowUpdate::Disconnected(Error::ConnectionLost { .. }) => {
                "disconnected: connection lost".to_owned()
            }
            FollowUpdate::Disconnected(error) => format!("disconnected: {error}"),
            FollowUpdate::Failed(error) => format!("failed: {error}"),
        };
        joined.clear();
        updates.push(text);
    }
    updates
}

/// The updates of a follower of an engine that replies like this.
async fn follow(script: Vec<(Option<String>, Reply)>) -> Vec<String> {
    follow_from(script, false).await
}

/// The same, where the server may have answered as an engine before.
async fn follow_from(script: Vec<(Option<String>, Reply)>, has_answered: bool) -> Vec<String> {
    let (client, serving) = engine(script, Pace::new()).await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let updates = updates(Follower::new(client, id, has_answered)).await;
    serving.await.unwrap();
    updates
}

#[tokio::test]
async fn no_event_is_lost_or_repeated_across_reconnects() {
    let updates = follow(vec![
        (None, Reply::Status(503)),
        // Closes the connection in the middle of an event.
        (None, Reply::Send(stream_text(0..4) + &half(4))),
        (event_id(3), Reply::Send(String::new())),
        // Repeats events.
        (
            event_id(3),
            Reply::SendTooShort(stream_text(2..7) + LIVE + &half(7)),
        ),
        (event_id(6), Reply::Send(format!(": hello\n\n{LIVE}"))),
        (event_id(6), Reply::Status(502)),
        (event_id(6), Reply::Send(stream_text(7..11) + END)),
    ])
    .await;
    assert_eq!(
        updates,
        [
            "disconnected: Service Unavailable (HTTP 503)",
            "[0, 1, 2, 3]",
            "disconnected: closed the event stream",
            "disconnected: closed the event stream",
            "[4, 5, 6]",
            "up to date",
            "disconnected: connection lost",
            "up to date",
            "disconnected: closed the event stream",
            "disconnected: Bad Gateway (HTTP 502)",
            "[7, 8, 9, 10]"
        ]
    );
}

#[tokio::test]
async fn a_missing_event_is_requested_again() {
    let updates = follow(vec![
        (None, Reply::Send(stream_text(0..3) + &stream_text(4..6))),
        (event_id(2), Reply::Send(stream_text(5..11) + END)),
        (event_id(2), Reply::Send(stream_text(3..11) + END)),
    ])
    .await;
    assert_eq!(
        updates,
        [
            "[0, 1, 2]",
            "disconnected: left out event 3",
            "disconnected: left out event 3",
            "[3, 4, 5, 6, 7, 8, 9, 10]"
        ]
    );
}

#[tokio::test]
async fn an_end_without_the_last_event_is_not_trusted() {
    let updates = follow(vec![
        (None, Reply::Send(stream_text(0..3) + END)),
        (None, Reply::Send(stream_text(0..5))),
        // "Nothing comes after that, and never will."
        (event_id(4), Reply::Status(204)),
        (None, Reply::Send(stream_text(0..11))),
    ])
    .await;
    assert_eq!(
        updates,
        [
            "[0, 1, 2]",
            "disconnected: left out event 3",
            "[3, 4]",
            "disconnected: closed the event stream",
            "disconnected: left out event 5",
            "[5, 6, 7, 8, 9, 10]"
        ]
    );
}

#[tokio::test]
async fn unknown_fields_and_events_are_ignored() {
    let text = format!(
        "retry: 5\nwhat: ever\n\nevent: weather\ndata: rain\n\n{}{LIVE}{}{END}",
        stream_text(0..6).replace("id: ", "event: message\nid: "),
        stream_text(6..11).replace('\n', "\r\n"),
    );
    let updates = follow(vec![(None, Reply::Send(text))]).await;
    let expected = ["[0, 1, 2, 3, 4, 5]", "up to date", "[6, 7, 8, 9, 10]"];
    assert_eq!(updates, expected);
}

#[tokio::test]
async fn an_id_that_no_header_can_carry_is_not_sent() {
    let invalid = stream_text(0..2).replace("epoch:11", "a\u{7f}b");
    let unnamed = stream_text(2..11).replace("id: epoch:13\n", "id\n");
    let updates = follow(vec![
        (None, Reply::Send(invalid)),
        (
            None,
            Reply::Send(stream_text(0..2) + &unnamed[..unnamed.find("id: epoch:14").unwrap()]),
        ),
        (None, Reply::Send(stream_text(0..11))),
    ])
    .await;
    let disconnected = "disconnected: closed the event stream";
    let rest = "[4, 5, 6, 7, 8, 9, 10]";
    assert_eq!(
        updates,
        ["[0, 1]", disconnected, "[2, 3]", disconnected, rest]
    );
}

#[tokio::test]
async fn permanent_errors_end_the_follower() {
    let path = "/api/v1/deployments/01890a5d-ac96-774b-bcce-b302099a8057/events";
    let not_understood = format!(
        "the response from {path} is not understood; is the server an engine of this version?"
    );
    for (reply, failure) in [
        (Reply::Problem(404), "Not Found (HTTP 404)".to_owned()),
        (Reply::Status(401), "Unauthorized (HTTP 401)".to_owned()),
        (Reply::Status(403), "Forbidden (HTTP 403)".to_owned()),
        // An engine without streams, or something else altogether.
        (
            Reply::Json("application/json; charset=utf-8"),
            format!(
                "the response from {path} is 'application/json; charset=utf-8', not events; \
                 is the server an engine of this version?"
            ),
        ),
        (
            Reply::Send("data: {\"seq\": 0}\n\n".to_owned()),
            not_understood.clone(),
        ),
        (
            Reply::Send("data: \u{1}\u{fffd}<html>\n\n".to_owned()),
            not_understood,
        ),
    ] {
        assert_eq!(
            follow(vec![(None, reply)]).await,
            [format!("failed: {failure}")]
        );
    }
}

#[tokio::test]
async fn a_wrong_server_fails_at_once_and_a_proxy_of_a_restarting_engine_does_not() {
    for (reply, word) in [
        (Reply::Status(404), "404"),
        (Reply::Status(301), "301"),
        (Reply::Status(500), "500"),
        (Reply::Garbage, "HTTPS"),
    ] {
        let updates = follow(vec![(None, reply)]).await;
        let [failure] = &*updates else {
            panic!("{updates:?}");
        };
        assert!(
            failure.starts_with("failed: ") && failure.contains("is not a HotSwap engine"),
            "{failure}"
        );
        assert!(failure.contains(word), "{failure}");
    }
    let rest = vec![(None, Reply::Send(stream_text(0..11)))];
    for reply in [Reply::Status(404), Reply::Json("text/html"), Reply::Garbage] {
        let script = std::iter::once((None, reply)).chain(rest.clone()).collect();
        let updates = follow_from(script, true).await;
        assert!(updates[0].starts_with("disconnected: "), "{updates:?}");
        assert_eq!(updates[1], "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_tried_for_a_bounded_time() {
    // Nothing listens here.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let start = tokio::time::Instant::now();
    let updates = updates(Follower::new(client(server), id, false)).await;
    assert!(updates.len() > 3, "{updates:?}");
    let (last, before) = updates.split_last().unwrap();
    assert!(last.starts_with("failed: no engine answers"), "{updates:?}");
    assert!(
        before
            .iter()
            .all(|update| update.starts_with("disconnected: "))
    );
    assert!(start.elapsed() < START_PATIENCE * 2);
}

#[tokio::test]
async fn events_before_garbage_are_delivered() {
    let garbage = stream_text(0..3) + "data: garbage\n\n" + &stream_text(3..11);
    let updates = follow(vec![(None, Reply::Send(garbage))]).await;
    assert_eq!(updates.len(), 2, "{updates:?}");
    assert_eq!(updates[0], "[0, 1, 2]");
    assert!(updates[1].contains("not understood"), "{updates:?}");
}

#[tokio::test]
async fn a_token_that_expires_is_rejected_at_the_reconnect() {
    let updates = follow(vec![
        (None, Reply::Send(stream_text(0..3))),
        (event_id(2), Reply::Status(401)),
    ])
    .await;
    let disconnected = "disconnected: closed the event stream";
    assert_eq!(
        updates,
        ["[0, 1, 2]", disconnected, "failed: Unauthorized (HTTP 401)"]
    );
}

/// Needs no clock: the follower takes a timer for each wait, and the test decides which timer
/// ends.
#[tokio::test]
async fn a_silent_engine_is_reconnected() {
    // The follower waits for the response, for its first chunk, and for each keep-alive.
    // Nothing comes after the last one, and no response to the next request.
    const KEEP_ALIVES: u32 = 3;
    const WAIT_AFTER_LAST: u32 = 2 + KEEP_ALIVES;
    const WAIT_FOR_RESPONSE: u32 = WAIT_AFTER_LAST + 1;
    let pace = Pace::new();
    let script = vec![
        (
            None,
            Reply::SendThenKeepAlive(stream_text(0..2), KEEP_ALIVES),
        ),
        (event_id(1), Reply::Ignore),
        (event_id(1), Reply::Send(stream_text(2..11) + END)),
    ];
    let (client, serving) = engine(script, Arc::clone(&pace)).await;
    let number = AtomicU32::new(0);
    let silence_timer = move || {
        let number = number.fetch_add(1, Ordering::SeqCst);
        pace.waits.add_permits(1);
        let pace = Arc::clone(&pace);
        async move {
            match number {
                WAIT_AFTER_LAST => {}
                WAIT_FOR_RESPONSE => take_permit(&pace.ignored).await,
                _ => pending().await,
            }
        }
    };
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let updates = updates(Follower::with_silence_timer(
        client,
        id,
        false,
        silence_timer,
    ))
    .await;
    serving.await.unwrap();
    let silent = "disconnected: has been silent for too long";
    assert_eq!(
        updates,
        ["[0, 1]", silent, silent, "[2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    );
}

#[tokio::test]
async fn an_unreachable_engine_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let mut follower = Follower::new(client(server), id, false);
    for _ in 0..2 {
        let Some(FollowUpdate::Disconnected(error)) = follower.next().await else {
            panic!("an update of another kind")
        };
        assert!(
            error
                .to_string()
                .starts_with("no engine answers at http://127.0.0.1"),
            "{error}"
        );
    }
}
