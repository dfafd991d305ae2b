use super::*;

/// Events in short: `kind|data|id`.
fn short(events: &[ServerSentEvent]) -> Vec<String> {
    let format_event = |event: &ServerSentEvent| {
        let data = String::from_utf8_lossy(&event.data);
        let id = event.id.as_deref().unwrap_or_default();
        format!("{}|{data}|{id}", event.kind)
    };
    events.iter().map(format_event).collect()
}

fn decode(text: impl AsRef<[u8]>) -> Vec<String> {
    short(&EventDecoder::default().push(text.as_ref()).unwrap())
}

#[test]
fn decodes_events_as_the_standard_says() {
    for (text, events) in [
        ("data: a\n\n", &["|a|"][..]),
        ("id: 7\nevent: x\ndata: a\n\n", &["x|a|7"]),
        // The first space belongs to the colon.
        ("data:a\ndata:  b\ndata\n\n", &["|a\n b\n|"]),
        // An id holds until the next one; the kind does not.
        (
            "id: 7\nevent: x\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            &["x|a|7", "|b|7", "|c|"],
        ),
        ("id: 7\n\nid: a\0b\ndata: a\n\n", &["|a|7"]),
        // No events: comments, an event without data, unknown fields.
        (": beat\n\n:\n\nevent: x\n\nretry: 3\nwhat: 1\n\n", &[]),
        ("event: x\n\ndata: a\n\n", &["|a|"]),
        ("data:\n\n", &["||"]),
        // An incomplete event is dropped.
        ("data: a\n\ndata: b\n", &["|a|"]),
        ("data: a\n\ndata: b", &["|a|"]),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["|a|"]),
        ("data: a\r\ndata: b\r\n\r\ndata: c\r\r", &["|a\nb|", "|c|"]),
        ("data: ü\n\n", &["|ü|"]),
    ] {
        assert_eq!(decode(text), events, "{text:?}");
    }
}

#[test]
fn chunks_may_be_cut_anywhere() {
    let text = "\u{feff}: hello\r\nid: 1\r\nevent: ü\r\ndata: ä\r\ndata: b\r\n\r\nid: 2\rdata: c\r\r\
                : beat\n\ndata: d\n\n";
    let events = decode(text);
    assert_eq!(events, ["ü|ä\nb|1", "|c|2", "|d|2"]);
    for size in 1..text.len() {
        let mut decoder = EventDecoder::default();
        let mut decoded = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            decoded.extend(decoder.push(chunk).unwrap());
        }
        assert_eq!(short(&decoded), events, "{size} at once");
    }
}

#[test]
fn data_that_is_not_text_is_unchanged() {
    let decoded = EventDecoder::default().push(b"data: \xff\xfe\n\n").unwrap();
    assert_eq!(decoded[0].data, b"\xff\xfe");
}

#[test]
fn input_without_an_end_is_rejected() {
    let piece = vec![b'x'; 1 << 20];
    // One line.
    let mut decoder = EventDecoder::default();
    let accepted = (0..).take_while(|_| decoder.push(&piece).is_ok()).count();
    assert_eq!(accepted, 16);
    // One event of many lines.
    let mut decoder = EventDecoder::default();
    let line = [b"data: ", &piece[..], b"\n"].concat();
    let accepted = (0..).take_while(|_| decoder.push(&line).is_ok()).count();
    assert_eq!(accepted, 15);
    // A comment is limited, too.
    let mut decoder = EventDecoder::default();
    decoder.push(b":").unwrap();
    let accepted = (0..).take_while(|_| decoder.push(&piece).is_ok()).count();
    assert_eq!(accepted, 15);
}

#[test]
fn long_events_are_decoded_from_small_chunks() {
    let long = "y".repeat(MAX_BYTES - 100);
    let text = format!("data: {long}\n\n");
    let mut decoder = EventDecoder::default();
    let mut decoded = Vec::new();
    for chunk in text.as_bytes().chunks(8 << 10) {
        decoded.extend(decoder.push(chunk).unwrap());
    }
    assert_eq!(decoded.len(), 1);
    assert!(decoded[0].data == long.as_bytes());
}
