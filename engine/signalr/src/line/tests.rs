use serde_json::{Value, json};

use super::*;
use crate::protocol::Parser;

const SMALL: Capacity = Capacity {
    records: 4,
    bytes: 1000,
};

fn line(replay: bool) -> Line {
    let line = Line::new(0, SMALL, replay.then(Replay::default));
    line.speak(Protocol::Json, Bytes::from_static(b"{}\x1e"));
    line
}

fn event(number: u64) -> Event {
    Event::new("event", json!(number))
}

fn progress(number: u64) -> Event {
    Event::newest("progress".to_owned(), "progress", json!(number))
}

fn messages(records: &[Bytes]) -> Vec<Message> {
    let mut parser = Parser::new(Protocol::Json, usize::MAX);
    let records = records.iter().filter(|record| &record[..] != b"{}\x1e");
    parser.feed(
        &records
            .flat_map(|record| record.to_vec())
            .collect::<Vec<_>>(),
    );
    std::iter::from_fn(|| parser.take().unwrap()).collect()
}

fn numbers(records: &[Bytes]) -> Vec<Value> {
    let argument = |message| match message {
        Message::Invocation { mut arguments, .. } => arguments.pop(),
        Message::Sequence { sequence } => Some(json!(format!("sequence {sequence}"))),
        _ => None,
    };
    messages(records).into_iter().filter_map(argument).collect()
}

fn taken(line: &Line, carrier: u64) -> Vec<Value> {
    match line.try_take(carrier) {
        Some(Taken::Records(records) | Taken::Last(records)) => numbers(&records),
        Some(Taken::Lost) => panic!("lost"),
        None => Vec::new(),
    }
}

#[test]
fn what_is_told_is_taken_once_in_order() {
    let line = line(false);
    let carrier = line.carry();
    assert!((1..=3).all(|number| line.send(event(number))));
    let Some(Taken::Records(records)) = line.try_take(carrier) else {
        panic!("nothing to take");
    };
    assert_eq!(&records[0][..], b"{}\x1e", "the handshake goes first");
    assert_eq!(numbers(&records), [1, 2, 3]);
    assert_eq!(line.try_take(carrier), None);
}

#[test]
fn only_the_newest_of_what_yields_is_kept_and_nothing_else_is_left_out() {
    let line = line(false);
    let carrier = line.carry();
    for event in [progress(1), event(10), progress(2), event(11), progress(3)] {
        assert!(line.send(event));
    }
    assert_eq!(taken(&line, carrier), [10, 11, 3]);
}

#[test]
fn what_is_too_much_closes_and_says_that_one_may_come_back() {
    let line = line(false);
    let carrier = line.carry();
    assert!((1..=4).all(|number| line.send(event(number))));
    assert!(!line.send(event(5)));
    assert!(line.is_closed() && !line.send(event(6)));
    let Some(Taken::Last(records)) = line.try_take(carrier) else {
        panic!("nothing to take");
    };
    let Some(Message::Close {
        error: Some(_),
        allow_reconnect: true,
    }) = messages(&records).pop()
    else {
        panic!("{records:?}");
    };
    assert_eq!(line.try_take(carrier), Some(Taken::Lost));
}

#[test]
fn bytes_count_too_but_one_record_may_be_as_long_as_it_is() {
    let long = || Event::new("event", json!("x".repeat(2000)));
    let line = line(false);
    assert!(line.send(long()));
    assert!(line.send(event(1)), "what follows is short");
    assert!(!line.send(long()));
}

#[test]
fn a_close_comes_after_what_was_told_before() {
    let line = line(false);
    let carrier = line.carry();
    line.send(event(1));
    line.close(Close {
        error: None,
        allow_reconnect: false,
    });
    assert!(!line.send(event(2)));
    let Some(Taken::Last(records)) = line.try_take(carrier) else {
        panic!("nothing to take");
    };
    let close = Message::Close {
        error: None,
        allow_reconnect: false,
    };
    assert_eq!(messages(&records).last(), Some(&close));
    assert_eq!(numbers(&records), [1]);
}

#[test]
fn a_second_carrier_has_what_the_first_did_not_take() {
    let line = line(false);
    let first = line.carry();
    line.send(event(1));
    let second = line.carry();
    assert_eq!(line.try_take(first), Some(Taken::Lost));
    assert_eq!(taken(&line, second), [1]);
}

#[test]
fn what_is_not_confirmed_is_sent_again() {
    let line = line(true);
    let first = line.carry();
    (1..=3).for_each(|number| {
        line.send(event(number));
    });
    assert_eq!(taken(&line, first), [1, 2, 3]);
    line.confirmed(1);
    line.send(event(4));
    let second = line.carry();
    let again = [json!("sequence 2"), json!(2), json!(3), json!(4)];
    assert_eq!(taken(&line, second), again);
    line.confirmed(4);
    let third = line.carry();
    assert_eq!(taken(&line, third), [json!("sequence 5")]);
}

#[tokio::test]
async fn a_taker_hears_of_what_comes_of_the_end_and_of_another() {
    let line = std::sync::Arc::new(line(false));
    let first = line.carry();
    assert!(
        matches!(line.take(first).await, Taken::Records(_)),
        "the handshake"
    );
    let take = |carrier| {
        let line = std::sync::Arc::clone(&line);
        tokio::spawn(async move { line.take(carrier).await })
    };
    let waits = take(first);
    tokio::task::yield_now().await;
    line.send(event(1));
    assert!(matches!(waits.await, Ok(Taken::Records(_))));
    let waits = take(first);
    tokio::task::yield_now().await;
    let second = line.carry();
    assert!(matches!(waits.await, Ok(Taken::Lost)));
    let waits = take(second);
    tokio::task::yield_now().await;
    line.cut();
    assert!(matches!(waits.await, Ok(Taken::Lost)));
}
