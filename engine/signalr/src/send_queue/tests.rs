use serde_json::{Value, json};

use super::*;
use crate::protocol::Parser;

const SMALL: QueueCapacity = QueueCapacity {
    messages: 4,
    bytes: 1000,
};

fn send_queue(stateful_reconnect: bool) -> SendQueue {
    let buffer = stateful_reconnect.then(MessageBuffer::default);
    let queue = SendQueue::new(0, SMALL, buffer);
    queue.start(Protocol::Json, Bytes::from_static(b"{}\x1e"));
    queue
}

fn message(number: u64) -> OutboundMessage {
    OutboundMessage::new("event", json!(number))
}

fn progress(number: u64) -> OutboundMessage {
    OutboundMessage::replaceable("progress".to_owned(), "progress", json!(number))
}

/// All messages but the handshake response.
fn parse(encoded: &[Bytes]) -> Vec<Message> {
    let mut parser = Parser::new(Protocol::Json, usize::MAX);
    let messages = encoded.iter().filter(|bytes| &bytes[..] != b"{}\x1e");
    parser.feed(
        &messages
            .flat_map(|bytes| bytes.to_vec())
            .collect::<Vec<_>>(),
    );
    std::iter::from_fn(|| parser.next_message().unwrap()).collect()
}

/// The arguments of the invocations, and the Sequence messages.
fn arguments(encoded: &[Bytes]) -> Vec<Value> {
    let argument = |message| match message {
        Message::Invocation { mut arguments, .. } => arguments.pop(),
        Message::Sequence { sequence_id } => Some(json!(format!("sequence {sequence_id}"))),
        _ => None,
    };
    parse(encoded).into_iter().filter_map(argument).collect()
}

fn next_arguments(queue: &SendQueue, attachment: Attachment) -> Vec<Value> {
    match queue.try_next_batch(attachment) {
        Some(Batch::Messages(encoded) | Batch::Last(encoded)) => arguments(&encoded),
        Some(Batch::Detached) => panic!("detached"),
        None => Vec::new(),
    }
}

#[test]
fn messages_are_sent_once_and_in_order() {
    let queue = send_queue(false);
    let attachment = queue.attach();
    assert!((1..=3).all(|number| queue.send(message(number))));
    let Some(Batch::Messages(encoded)) = queue.try_next_batch(attachment) else {
        panic!("nothing to send");
    };
    assert_eq!(
        &encoded[0][..],
        b"{}\x1e",
        "the handshake response is first"
    );
    assert_eq!(arguments(&encoded), [1, 2, 3]);
    assert_eq!(queue.try_next_batch(attachment), None);
}

#[test]
fn only_replaceable_messages_are_replaced() {
    let queue = send_queue(false);
    let attachment = queue.attach();
    for message in [
        progress(1),
        message(10),
        progress(2),
        message(11),
        progress(3),
    ] {
        assert!(queue.send(message));
    }
    assert_eq!(next_arguments(&queue, attachment), [10, 11, 3]);
}

#[test]
fn exceeding_the_capacity_closes_with_allow_reconnect() {
    let queue = send_queue(false);
    let attachment = queue.attach();
    assert!((1..=4).all(|number| queue.send(message(number))));
    assert!(!queue.send(message(5)));
    assert!(queue.is_closed() && !queue.send(message(6)));
    let Some(Batch::Last(encoded)) = queue.try_next_batch(attachment) else {
        panic!("nothing to send");
    };
    let Some(Message::Close {
        error: Some(_),
        allow_reconnect: true,
    }) = parse(&encoded).pop()
    else {
        panic!("{encoded:?}");
    };
    assert_eq!(queue.try_next_batch(attachment), Some(Batch::Detached));
}

#[test]
fn bytes_are_limited_except_those_of_the_first_message() {
    let long = || OutboundMessage::new("event", json!("x".repeat(2000)));
    let queue = send_queue(false);
    assert!(queue.send(long()));
    assert!(queue.send(message(1)), "a short message follows");
    assert!(!queue.send(long()));
}

#[test]
fn close_is_sent_after_queued_messages() {
    let queue = send_queue(false);
    let attachment = queue.attach();
    queue.send(message(1));
    queue.close(Close {
        error: None,
        allow_reconnect: false,
    });
    assert!(!queue.send(message(2)));
    let Some(Batch::Last(encoded)) = queue.try_next_batch(attachment) else {
        panic!("nothing to send");
    };
    let close = Message::Close {
        error: None,
        allow_reconnect: false,
    };
    assert_eq!(parse(&encoded).last(), Some(&close));
    assert_eq!(arguments(&encoded), [1]);
}

#[test]
fn the_next_transport_gets_the_unsent_messages() {
    let queue = send_queue(false);
    let first = queue.attach();
    queue.send(message(1));
    let second = queue.attach();
    assert_eq!(queue.try_next_batch(first), Some(Batch::Detached));
    assert_eq!(next_arguments(&queue, second), [1]);
}

#[test]
fn unacknowledged_messages_are_sent_again() {
    let queue = send_queue(true);
    let first = queue.attach();
    (1..=3).for_each(|number| {
        queue.send(message(number));
    });
    assert_eq!(next_arguments(&queue, first), [1, 2, 3]);
    queue.acknowledge(1);
    queue.send(message(4));
    let second = queue.attach();
    let resent = [json!("sequence 2"), json!(2), json!(3), json!(4)];
    assert_eq!(next_arguments(&queue, second), resent);
    queue.acknowledge(4);
    let third = queue.attach();
    assert_eq!(next_arguments(&queue, third), [json!("sequence 5")]);
}

#[tokio::test]
async fn a_waiting_transport_wakes_for_messages_the_end_and_another_transport() {
    let queue = std::sync::Arc::new(send_queue(false));
    let first = queue.attach();
    assert!(
        matches!(queue.next_batch(first).await, Batch::Messages(_)),
        "the handshake response"
    );
    let next_batch = |attachment| {
        let queue = std::sync::Arc::clone(&queue);
        tokio::spawn(async move { queue.next_batch(attachment).await })
    };
    let waiting = next_batch(first);
    tokio::task::yield_now().await;
    queue.send(message(1));
    assert!(matches!(waiting.await, Ok(Batch::Messages(_))));
    let waiting = next_batch(first);
    tokio::task::yield_now().await;
    let second = queue.attach();
    assert!(matches!(waiting.await, Ok(Batch::Detached)));
    let waiting = next_batch(second);
    tokio::task::yield_now().await;
    queue.abort();
    assert!(matches!(waiting.await, Ok(Batch::Detached)));
}
