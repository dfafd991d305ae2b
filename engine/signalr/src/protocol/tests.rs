use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::message::Outcome;

const LIMIT: usize = 32 << 10;
const BOTH: [Protocol; 2] = [Protocol::Json, Protocol::MessagePack];

fn read(protocol: Protocol, bytes: &[u8]) -> Result<Vec<Message>, Malformed> {
    let mut parser = Parser::new(protocol, LIMIT);
    parser.feed(bytes);
    let mut messages = Vec::new();
    while let Some(message) = parser.take()? {
        messages.push(message);
    }
    Ok(messages)
}

fn json_record(text: &str) -> Result<Option<Message>, Malformed> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(SEPARATOR);
    read(Protocol::Json, &bytes).map(|mut messages| messages.pop())
}

fn one_of_each() -> Vec<Message> {
    let (id, target) = ("7".to_owned(), "Méthode".to_owned());
    let arguments = vec![
        json!(null),
        json!(-3),
        json!(0.5),
        json!({"a": ["b", true]}),
    ];
    let completion = |outcome| Message::Completion {
        id: id.clone(),
        outcome,
    };
    vec![
        Message::Invocation {
            id: None,
            target: target.clone(),
            arguments: arguments.clone(),
            streams: Vec::new(),
        },
        Message::Invocation {
            id: Some(id.clone()),
            target: target.clone(),
            arguments: Vec::new(),
            streams: vec!["1".to_owned()],
        },
        Message::StreamItem {
            id: id.clone(),
            item: Value::Null,
        },
        completion(Outcome::Void),
        completion(Outcome::Value(Value::Null)),
        completion(Outcome::Value(json!([1, "x"]))),
        completion(Outcome::Error("it failed".to_owned())),
        Message::StreamInvocation {
            id: id.clone(),
            target,
            arguments,
            streams: Vec::new(),
        },
        Message::CancelInvocation { id },
        Message::Ping,
        Message::Close {
            error: None,
            allow_reconnect: false,
        },
        Message::Close {
            error: Some("bye".to_owned()),
            allow_reconnect: true,
        },
        Message::Ack { sequence: 1 },
        Message::Sequence { sequence: u64::MAX },
    ]
}

#[test]
fn everything_is_read_as_it_was_written() {
    for protocol in BOTH {
        let all = one_of_each();
        let bytes: Vec<u8> = all
            .iter()
            .flat_map(|message| protocol.encode(message))
            .collect();
        assert_eq!(read(protocol, &bytes).unwrap(), all);
        // However it is cut in pieces.
        let mut parser = Parser::new(protocol, LIMIT);
        let mut seen = Vec::new();
        for byte in bytes {
            parser.feed(&[byte]);
            seen.extend(parser.take().unwrap());
        }
        assert_eq!(seen, all);
    }
}

#[test]
fn json_is_what_the_specification_shows() {
    let written = |message: &Message| {
        let bytes = Protocol::Json.encode(message);
        let (separator, text) = bytes.split_last().unwrap();
        assert_eq!(*separator, SEPARATOR);
        String::from_utf8(text.to_vec()).unwrap()
    };
    for (message, text) in one_of_each().iter().zip([
        r#"{"type":1,"target":"Méthode","arguments":[null,-3,0.5,{"a":["b",true]}]}"#,
        r#"{"type":1,"invocationId":"7","target":"Méthode","arguments":[],"streamIds":["1"]}"#,
        r#"{"type":2,"invocationId":"7","item":null}"#,
        r#"{"type":3,"invocationId":"7"}"#,
        r#"{"type":3,"invocationId":"7","result":null}"#,
        r#"{"type":3,"invocationId":"7","result":[1,"x"]}"#,
        r#"{"type":3,"invocationId":"7","error":"it failed"}"#,
        r#"{"type":4,"invocationId":"7","target":"Méthode","arguments":[null,-3,0.5,{"a":["b",true]}]}"#,
        r#"{"type":5,"invocationId":"7"}"#,
        r#"{"type":6}"#,
        r#"{"type":7}"#,
        r#"{"type":7,"error":"bye","allowReconnect":true}"#,
        r#"{"type":8,"sequenceId":1}"#,
        r#"{"type":9,"sequenceId":18446744073709551615}"#,
    ]) {
        assert_eq!(written(message), text);
    }
}

/// The examples of the specification, byte by byte (HubProtocol.md, "MessagePack Encoding").
#[test]
fn messagepack_is_what_the_specification_shows() {
    for (bytes, message) in [
        (
            &b"\x96\x01\x80\xa3xyz\xa6method\x91\x2a\x90"[..],
            Message::Invocation {
                id: Some("xyz".to_owned()),
                target: "method".to_owned(),
                arguments: vec![json!(42)],
                streams: Vec::new(),
            },
        ),
        (
            b"\x96\x01\x80\xc0\xa6method\x91\x2a\x90",
            Message::Invocation {
                id: None,
                target: "method".to_owned(),
                arguments: vec![json!(42)],
                streams: Vec::new(),
            },
        ),
        (
            b"\x94\x02\x80\xa3xyz\x2a",
            Message::StreamItem {
                id: "xyz".to_owned(),
                item: json!(42),
            },
        ),
        (
            b"\x95\x03\x80\xa3xyz\x01\xa5Error",
            Message::Completion {
                id: "xyz".to_owned(),
                outcome: Outcome::Error("Error".to_owned()),
            },
        ),
        (
            b"\x94\x03\x80\xa3xyz\x02",
            Message::Completion {
                id: "xyz".to_owned(),
                outcome: Outcome::Void,
            },
        ),
        (
            b"\x95\x03\x80\xa3xyz\x03\x2a",
            Message::Completion {
                id: "xyz".to_owned(),
                outcome: Outcome::Value(json!(42)),
            },
        ),
        (
            b"\x93\x05\x80\xa3xyz",
            Message::CancelInvocation {
                id: "xyz".to_owned(),
            },
        ),
        (b"\x91\x06", Message::Ping),
        (
            b"\x93\x07\xa3xyz\xc3",
            Message::Close {
                error: Some("xyz".to_owned()),
                allow_reconnect: true,
            },
        ),
    ] {
        let mut framed = vec![u8::try_from(bytes.len()).unwrap()];
        framed.extend_from_slice(bytes);
        let read = read(Protocol::MessagePack, &framed).unwrap();
        assert_eq!(read, std::slice::from_ref(&message));
        assert_eq!(Protocol::MessagePack.encode(&message), framed);
    }
}

#[test]
fn what_may_be_there_and_what_must() {
    let read = json_record(r#"{"headers":{"a":"b"},"arguments":[],"type":1,"target":"x","new":1}"#);
    assert!(
        matches!(read, Ok(Some(Message::Invocation { .. }))),
        "{read:?}"
    );
    assert_eq!(json_record(r#"{"type":99,"whatever":[]}"#), Ok(None));
    for (bad, why) in [
        (r#"{"type":1,"arguments":[]}"#, "'target'"),
        (r#"{"type":1,"target":"x"}"#, "'arguments'"),
        (r#"{"type":2,"item":1}"#, "'invocationId'"),
        (r#"{"type":2,"invocationId":"1"}"#, "'item'"),
        (
            r#"{"type":3,"invocationId":"1","result":1,"error":"e"}"#,
            "exclusive",
        ),
        (
            r#"{"type":4,"target":"x","arguments":[]}"#,
            "'invocationId'",
        ),
        (r#"{"type":8}"#, "'sequenceId'"),
        (r#"{"type":"1"}"#, "JSON"),
        (r#"{"target":"x"}"#, "JSON"),
        ("[]", "JSON"),
        ("", "JSON"),
    ] {
        let error = json_record(bad).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn nothing_longer_than_the_limit_is_kept() {
    let long = "x".repeat(LIMIT);
    let record = format!(r#"{{"type":1,"target":"{long}","arguments":[]}}"#);
    assert!(
        json_record(&record)
            .unwrap_err()
            .to_string()
            .contains("32768B")
    );
    for protocol in BOTH {
        let mut parser = Parser::new(protocol, LIMIT);
        let refused = (0..100).find_map(|_| {
            // In MessagePack: the begin of a length that says far too much.
            parser.feed(&[0xff; 1024]);
            parser.take().err()
        });
        assert!(refused.is_some(), "{protocol:?}");
        assert!(parser.buffer.len() <= LIMIT + 1024);
    }
    let too_long = [0xff, 0xff, 0x7f];
    assert!(read(Protocol::MessagePack, &too_long).is_err());
    let endless = [0x80; 6];
    assert!(read(Protocol::MessagePack, &endless).is_err());
}

#[test]
fn what_nests_without_end_is_refused() {
    let deep = format!(
        r#"{{"type":2,"invocationId":"1","item":{}{}}}"#,
        "[".repeat(4000),
        "]".repeat(4000)
    );
    assert!(json_record(&deep).is_err());
    let mut deep = vec![0x94, 0x02, 0x80, 0xa1, b'1'];
    deep.extend(std::iter::repeat_n(0x91, 100));
    deep.push(0xc0);
    let mut framed = vec![u8::try_from(deep.len()).unwrap()];
    framed.extend(deep);
    assert!(read(Protocol::MessagePack, &framed).is_err());
}

#[test]
fn a_silent_connection_needs_no_buffer() {
    let mut parser = Parser::new(Protocol::Json, LIMIT);
    parser.feed(&Protocol::Json.encode(&Message::Ping));
    assert_eq!(parser.take(), Ok(Some(Message::Ping)));
    assert_eq!(parser.take(), Ok(None));
    assert_eq!(parser.buffer.capacity(), 0);
}

/// Anything at all, and records with some bytes changed, which get further.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (
        0..one_of_each().len(),
        any::<bool>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(which, text, changes)| {
            let protocol = BOTH[usize::from(text)];
            let mut bytes = protocol.encode(&one_of_each()[which]).to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    let anything = prop::collection::vec(any::<u8>(), 0..512);
    prop::collection::vec(prop_oneof![mutated, anything], 1..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// No panic, no endless loop, and no more kept than the limit and a piece.
    #[test]
    fn hostile_bytes_do_no_harm(bytes in hostile(), piece in 1_usize..64, limit in 16_usize..256) {
        for protocol in BOTH {
            let mut parser = Parser::new(protocol, limit);
            'fed: for piece in bytes.chunks(piece) {
                parser.feed(piece);
                loop {
                    match parser.take() {
                        Ok(Some(message)) => {
                            // What was read can be told, and is then read the same.
                            let again = protocol.encode(&message);
                            prop_assert_eq!(read(protocol, &again).unwrap(), vec![message]);
                        }
                        Ok(None) => break,
                        Err(_) => break 'fed,
                    }
                }
                prop_assert!(parser.buffer.len() <= limit + LENGTH + piece.len());
            }
        }
    }

    #[test]
    fn hostile_handshakes_do_no_harm(bytes in hostile(), piece in 1_usize..64) {
        let mut handshake = crate::handshake::Handshake::default();
        for piece in bytes.chunks(piece) {
            match handshake.feed(piece) {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}

/// What frames a record beside its bytes.
const LENGTH: usize = 5;
