use bytes::Bytes;

use super::message_buffer::CAPACITY;
use super::*;
use crate::protocol::{CompletionResult, Message};

fn counted_message() -> Message {
    Message::Completion {
        invocation_id: "1".to_owned(),
        result: CompletionResult::Void,
    }
}

#[test]
fn resent_messages_are_not_processed_again() {
    let mut received = ReceivedSequence::new();
    assert!(received.should_process(&counted_message()));
    assert!(received.should_process(&counted_message()));
    assert!(
        received.should_process(&Message::Ping),
        "pings are not counted"
    );
    assert_eq!(received.next_ack(), Some(2));
    assert_eq!(received.next_ack(), None);
    received.on_reconnect();
    assert!(
        !received.should_process(&counted_message()),
        "the Sequence message has to come first"
    );
    assert!(received.should_process(&Message::Sequence { sequence_id: 2 }));
    received.reset(2).unwrap();
    assert!(
        !received.should_process(&counted_message()),
        "number 2 was processed before"
    );
    assert!(received.should_process(&counted_message()));
    assert_eq!(received.next_ack(), Some(3));
}

#[test]
fn a_client_cannot_skip_messages() {
    let mut received = ReceivedSequence::new();
    received.should_process(&counted_message());
    received.on_reconnect();
    assert!(received.reset(3).is_err());
    assert!(received.reset(0).is_err());
    assert!(received.reset(2).is_ok());
}

#[test]
fn the_message_buffer_has_space_until_too_much_is_unacknowledged() {
    let mut buffer = MessageBuffer::default();
    let encoded = Bytes::from(vec![0; CAPACITY / 2]);
    for _ in 0..2 {
        assert!(buffer.has_space());
        buffer.push(encoded.clone());
    }
    assert!(!buffer.has_space());
    buffer.acknowledge(1);
    assert!(buffer.has_space());
    buffer.acknowledge(100);
    assert_eq!(
        (buffer.bytes, buffer.acknowledged),
        (0, 2),
        "no more than was sent"
    );
}
