use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const MAX_MESSAGE_SIZE: usize = 32 << 10;
const BOTH: [Protocol; 2] = [Protocol::Json, Protocol::MessagePack];

fn parse(protocol: Protocol, bytes: &[u8]) -> Result<Vec<Message>, ProtocolError> {
    let mut parser = Parser::new(protocol, MAX_MESSAGE_SIZE);
    parser.feed(bytes);
    let mut messages = Vec::new();
    while let Some(message) = parser.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

fn parse_json(text: &str) -> Result<Option<Message>, ProtocolError> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(RECORD_SEPARATOR);
    parse(Protocol::Json, &bytes).map(|mut messages| messages.pop())
}

fn one_of_each() -> Vec<Message> {
    let (invocation_id, target) = ("7".to_owned(), "Méthode".to_owned());
    let arguments = vec![
        json!(null),
        json!(-3),
        json!(0.5),
        json!({"a": ["b", true]}),
    ];
    let completion = |result| Message::Completion {
        invocation_id: invocation_id.clone(),
        result,
    };
    vec![
        Message::Invocation {
            invocation_id: None,
            target: target.clone(),
            arguments: arguments.clone(),
            stream_ids: Vec::new(),
        },
        Message::Invocation {
            invocation_id: Some(invocation_id.clone()),
            target: target.clone(),
            arguments: Vec::new(),
            stream_ids: vec!["1".to_owned()],
        },
        Message::StreamItem {
            invocation_id: invocation_id.clone(),
            item: Value::Null,
        },
        completion(CompletionResult::Void),
        completion(CompletionResult::Value(Value::Null)),
        completion(CompletionResult::Value(json!([1, "x"]))),
        completion(CompletionResult::Error("it failed".to_owned())),
        Message::StreamInvocation {
            invocation_id: invocation_id.clone(),
            target,
            arguments,
            stream_ids: Vec::new(),
        },
        Message::CancelInvocation { invocation_id },
        Message::Ping,
        Message::Close {
            error: None,
            allow_reconnect: false,
        },
        Message::Close {
            error: Some("bye".to_owned()),
            allow_reconnect: true,
        },
        Message::Ack { sequence_id: 1 },
        Message::Sequence {
            sequence_id: u64::MAX,
        },
    ]
}

#[test]
fn every_message_survives_encoding_and_parsing() {
    for protocol in BOTH {
        let all = one_of_each();
        let bytes: Vec<u8> = all
            .iter()
            .flat_map(|message| protocol.encode(message))
            .collect();
        assert_eq!(parse(protocol, &bytes).unwrap(), all);
        // Also in chunks of one byte.
        let mut parser = Parser::new(protocol, MAX_MESSAGE_SIZE);
        let mut parsed = Vec::new();
        for byte in bytes {
            parser.feed(&[byte]);
            parsed.extend(parser.next_message().unwrap());
        }
        assert_eq!(parsed, all);
    }
}

#[test]
fn json_matches_the_specification() {
    let encode = |message: &Message| {
        let bytes = Protocol::Json.encode(message);
        let (separator, text) = bytes.split_last().unwrap();
        assert_eq!(*separator, RECORD_SEPARATOR);
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
        assert_eq!(encode(message), text);
    }
}

/// The byte sequences are the examples of the specification (HubProtocol.md, "MessagePack Encoding").
#[test]
fn messagepack_matches_the_specification() {
    for (bytes, message) in [
        (
            &b"\x96\x01\x80\xa3xyz\xa6method\x91\x2a\x90"[..],
            Message::Invocation {
                invocation_id: Some("xyz".to_owned()),
                target: "method".to_owned(),
                arguments: vec![json!(42)],
                stream_ids: Vec::new(),
            },
        ),
        (
            b"\x96\x01\x80\xc0\xa6method\x91\x2a\x90",
            Message::Invocation {
                invocation_id: None,
                target: "method".to_owned(),
                arguments: vec![json!(42)],
                stream_ids: Vec::new(),
            },
        ),
        (
            b"\x94\x02\x80\xa3xyz\x2a",
            Message::StreamItem {
                invocation_id: "xyz".to_owned(),
                item: json!(42),
            },
        ),
        (
            b"\x95\x03\x80\xa3xyz\x01\xa5Error",
            Message::Completion {
                invocation_id: "xyz".to_owned(),
                result: CompletionResult::Error("Error".to_owned()),
            },
        ),
        (
            b"\x94\x03\x80\xa3xyz\x02",
            Message::Completion {
                invocation_id: "xyz".to_owned(),
                result: CompletionResult::Void,
            },
        ),
        (
            b"\x95\x03\x80\xa3xyz\x03\x2a",
            Message::Completion {
                invocation_id: "xyz".to_owned(),
                result: CompletionResult::Value(json!(42)),
            },
        ),
        (
            b"\x93\x05\x80\xa3xyz",
            Message::CancelInvocation {
                invocation_id: "xyz".to_owned(),
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
        let parsed = parse(Protocol::MessagePack, &framed).unwrap();
        assert_eq!(parsed, std::slice::from_ref(&message));
        assert_eq!(Protocol::MessagePack.encode(&message), framed);
    }
}

#[test]
fn optional_fields_may_be_absent_and_required_ones_may_not() {
    let parsed =
        parse_json(r#"{"headers":{"a":"b"},"arguments":[],"type":1,"target":"x","new":1}"#);
    assert!(
        matches!(parsed, Ok(Some(Message::Invocation { .. }))),
        "{parsed:?}"
    );
    assert_eq!(parse_json(r#"{"type":99,"whatever":[]}"#), Ok(None));
    for (json, expected) in [
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
        let error = parse_json(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn messages_over_the_size_limit_are_rejected_and_not_buffered() {
    let long = "x".repeat(MAX_MESSAGE_SIZE);
    let message = format!(r#"{{"type":1,"target":"{long}","arguments":[]}}"#);
    assert!(
        parse_json(&message)
            .unwrap_err()
            .to_string()
            .contains("32768B")
    );
    for protocol in BOTH {
        let mut parser = Parser::new(protocol, MAX_MESSAGE_SIZE);
        let error = (0..100).find_map(|_| {
            // In MessagePack: the start of a length prefix that is far too large.
            parser.feed(&[0xff; 1024]);
            parser.next_message().err()
        });
        assert!(error.is_some(), "{protocol:?}");
        assert!(parser.buffer.len() <= MAX_MESSAGE_SIZE + 1024);
    }
    let too_long = [0xff, 0xff, 0x7f];
    assert!(parse(Protocol::MessagePack, &too_long).is_err());
    let endless = [0x80; 6];
    assert!(parse(Protocol::MessagePack, &endless).is_err());
}

#[test]
fn deeply_nested_messages_are_rejected() {
    let deep = format!(
        r#"{{"type":2,"invocationId":"1","item":{}{}}}"#,
        "[".repeat(4000),
        "]".repeat(4000)
    );
    assert!(parse_json(&deep).is_err());
    let mut deep = vec![0x94, 0x02, 0x80, 0xa1, b'1'];
    deep.extend(std::iter::repeat_n(0x91, 100));
    deep.push(0xc0);
    let mut framed = vec![u8::try_from(deep.len()).unwrap()];
    framed.extend(deep);
    assert!(parse(Protocol::MessagePack, &framed).is_err());
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut parser = Parser::new(Protocol::Json, MAX_MESSAGE_SIZE);
    parser.feed(&Protocol::Json.encode(&Message::Ping));
    assert_eq!(parser.next_message(), Ok(Some(Message::Ping)));
    assert_eq!(parser.next_message(), Ok(None));
    assert_eq!(parser.buffer.capacity(), 0);
}

/// Arbitrary bytes, and valid messages with some bytes changed: these reach more code.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (
        0..one_of_each().len(),
        any::<bool>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(index, protocol, changes)| {
            let protocol = BOTH[usize::from(protocol)];
            let mut bytes = protocol.encode(&one_of_each()[index]).to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    let arbitrary = prop::collection::vec(any::<u8>(), 0..512);
    prop::collection::vec(prop_oneof![mutated, arbitrary], 1..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// No panic, no endless loop, and at most the size limit and one chunk are buffered.
    #[test]
    fn the_parser_survives_hostile_bytes(bytes in hostile_bytes(), chunk_size in 1_usize..64, limit in 16_usize..256) {
        for protocol in BOTH {
            let mut parser = Parser::new(protocol, limit);
            'chunks: for chunk in bytes.chunks(chunk_size) {
                parser.feed(chunk);
                loop {
                    match parser.next_message() {
                        Ok(Some(message)) => {
                            // A parsed message survives encoding.
                            let encoded = protocol.encode(&message);
                            prop_assert_eq!(parse(protocol, &encoded).unwrap(), vec![message]);
                        }
                        Ok(None) => break,
                        Err(_) => break 'chunks,
                    }
                }
                prop_assert!(parser.buffer.len() <= limit + MAX_FRAMING + chunk.len());
            }
        }
    }

    #[test]
    fn the_handshake_parser_survives_hostile_bytes(bytes in hostile_bytes(), chunk_size in 1_usize..64) {
        let mut parser = HandshakeParser::default();
        for chunk in bytes.chunks(chunk_size) {
            match parser.feed(chunk) {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}

/// The maximum size of a length prefix or a separator, in bytes.
const MAX_FRAMING: usize = 5;
