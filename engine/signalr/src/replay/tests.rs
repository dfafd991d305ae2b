use super::*;
use crate::message::Outcome;

fn call() -> Message {
    Message::Completion {
        id: "1".to_owned(),
        outcome: Outcome::Void,
    }
}

#[test]
fn what_came_before_is_not_acted_on_again() {
    let mut received = Received::new();
    assert!(received.is_new(&call()) && received.is_new(&call()));
    assert!(received.is_new(&Message::Ping), "does not count");
    assert_eq!(received.news(), Some(2));
    assert_eq!(received.news(), None);
    received.reconnected();
    assert!(
        !received.is_new(&call()),
        "nothing counts before the client says where"
    );
    assert!(received.is_new(&Message::Sequence { sequence: 2 }));
    received.begins_at(2).unwrap();
    assert!(!received.is_new(&call()), "number 2 was there");
    assert!(received.is_new(&call()));
    assert_eq!(received.news(), Some(3));
}

#[test]
fn a_client_cannot_leave_anything_out() {
    let mut received = Received::new();
    received.is_new(&call());
    received.reconnected();
    assert!(received.begins_at(3).is_err());
    assert!(received.begins_at(0).is_err());
    assert!(received.begins_at(2).is_ok());
}

#[test]
fn there_is_room_until_too_much_is_unconfirmed() {
    let mut replay = Replay::default();
    let record = Bytes::from(vec![0; BUFFER / 2]);
    for _ in 0..2 {
        assert!(replay.has_room());
        replay.sent(record.clone());
    }
    assert!(!replay.has_room());
    replay.confirmed(1);
    assert!(replay.has_room());
    replay.confirmed(100);
    assert_eq!(
        (replay.bytes, replay.confirmed),
        (0, 2),
        "not more than was sent"
    );
}
