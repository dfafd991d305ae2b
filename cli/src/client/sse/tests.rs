use super::*;

/// Events in short: `kind|data|id`.
fn short(messages: &[Message]) -> Vec<String> {
    let one = |message: &Message| {
        let data = String::from_utf8_lossy(&message.data);
        let id = message.id.as_deref().unwrap_or_default();
        format!("{}|{data}|{id}", message.kind)
    };
    messages.iter().map(one).collect()
}

fn whole(text: impl AsRef<[u8]>) -> Vec<String> {
    short(&Decoder::default().push(text.as_ref()).unwrap())
}

#[test]
fn events_are_read_as_the_standard_says() {
    for (text, events) in [
        ("data: a\n\n", &["|a|"][..]),
        ("id: 7\nevent: x\ndata: a\n\n", &["x|a|7"]),
        // Of the spaces, one belongs to the colon.
        ("data:a\ndata:  b\ndata\n\n", &["|a\n b\n|"]),
        // An id stays until there is another; the kind does not.
        (
            "id: 7\nevent: x\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            &["x|a|7", "|b|7", "|c|"],
        ),
        ("id: 7\n\nid: a\0b\ndata: a\n\n", &["|a|7"]),
        // Nothing to tell: comments, an event without data, fields that nobody knows.
        (": beat\n\n:\n\nevent: x\n\nretry: 3\nwhat: 1\n\n", &[]),
        ("event: x\n\ndata: a\n\n", &["|a|"]),
        ("data:\n\n", &["||"]),
        // What is cut off is no event.
        ("data: a\n\ndata: b\n", &["|a|"]),
        ("data: a\n\ndata: b", &["|a|"]),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["|a|"]),
        ("data: a\r\ndata: b\r\n\r\ndata: c\r\r", &["|a\nb|", "|c|"]),
        ("data: ü\n\n", &["|ü|"]),
    ] {
        assert_eq!(whole(text), events, "{text:?}");
    }
}

#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    let text = "\u{feff}: hello\r\nid: 1\r\nevent: ü\r\ndata: ä\r\ndata: b\r\n\r\nid: 2\rdata: c\r\r\
                : beat\n\ndata: d\n\n";
    let events = whole(text);
    assert_eq!(events, ["ü|ä\nb|1", "|c|2", "|d|2"]);
    for size in 1..text.len() {
        let mut decoder = Decoder::default();
        let mut told = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            told.extend(decoder.push(piece).unwrap());
        }
        assert_eq!(short(&told), events, "{size} at once");
    }
}

#[test]
fn bytes_that_are_no_text_stay_what_they_are() {
    let told = Decoder::default().push(b"data: \xff\xfe\n\n").unwrap();
    assert_eq!(told[0].data, b"\xff\xfe");
}

#[test]
fn what_never_ends_is_given_up() {
    let piece = vec![b'x'; 1 << 20];
    // One line.
    let mut decoder = Decoder::default();
    let taken = (0..).take_while(|_| decoder.push(&piece).is_ok()).count();
    assert_eq!(taken, 16);
    // One event of many lines.
    let mut decoder = Decoder::default();
    let line = [b"data: ", &piece[..], b"\n"].concat();
    let taken = (0..).take_while(|_| decoder.push(&line).is_ok()).count();
    assert_eq!(taken, 15);
    // And a comment is no way around it.
    let mut decoder = Decoder::default();
    decoder.push(b":").unwrap();
    let taken = (0..).take_while(|_| decoder.push(&piece).is_ok()).count();
    assert_eq!(taken, 15);
}

#[test]
fn long_events_are_read_piece_by_piece() {
    let long = "y".repeat(LONGEST - 100);
    let text = format!("data: {long}\n\n");
    let mut decoder = Decoder::default();
    let mut told = Vec::new();
    for piece in text.as_bytes().chunks(8 << 10) {
        told.extend(decoder.push(piece).unwrap());
    }
    assert_eq!(told.len(), 1);
    assert!(told[0].data == long.as_bytes());
}
