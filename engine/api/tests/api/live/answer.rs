//! What a subscription is answered with.

use serde_json::Value;

/// The state: nothing was missed, or too much.
#[track_caller]
pub fn is_anew(answer: &Value) {
    assert_eq!(answer["recovered"], false, "{answer}");
    assert!(answer["snapshot"].is_object(), "{answer}");
}

/// That all that came after the position will be told.
#[track_caller]
pub fn is_recovered(answer: &Value, position: &Value) {
    let mut expected = position.clone();
    expected["recovered"] = true.into();
    assert_eq!(*answer, expected);
}
