use serde_json::Value;

/// The subscription starts with a snapshot.
#[track_caller]
pub fn assert_snapshot(subscription: &Value) {
    assert_eq!(subscription["recovered"], false, "{subscription}");
    assert!(subscription["snapshot"].is_object(), "{subscription}");
}

/// The subscription resumes at the position, without a snapshot.
#[track_caller]
pub fn assert_recovered(subscription: &Value, position: &Value) {
    let mut expected = position.clone();
    expected["recovered"] = true.into();
    assert_eq!(*subscription, expected);
}
