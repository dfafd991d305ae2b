//! Snapshots: stored beside a journal, and never looked into.

use hotswap_core::DeploymentId;
use hotswap_store::{Journal, NewSnapshot, Snapshot};

use super::{StoreFixture, append_at_end, create, failure, success};

fn snapshot(deployment: DeploymentId, format: u32, next_seq: u64, text: &str) -> NewSnapshot {
    NewSnapshot {
        deployment,
        format,
        next_seq,
        ended: false,
        summary: format!("summary {text}").into_bytes(),
        state: format!("state {text}").into_bytes(),
    }
}

fn stored(format: u32, next_seq: u64, body: &str) -> Option<Snapshot> {
    Some(Snapshot {
        format,
        next_seq,
        body: body.as_bytes().to_vec(),
    })
}

pub async fn a_snapshot_is_replaced_by_a_newer_one_or_one_of_another_format<S: StoreFixture>() {
    let fixture = S::new();
    let mut store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    assert_eq!(store.snapshot(id).await.unwrap(), None);
    for (put, expected) in [
        (snapshot(id, 1, 5, "a"), stored(1, 5, "state a")),
        (snapshot(id, 1, 4, "older"), stored(1, 5, "state a")),
        // Of the same events: it repairs one that cannot be read.
        (snapshot(id, 1, 5, "b"), stored(1, 5, "state b")),
        (snapshot(id, 1, 9, "c"), stored(1, 9, "state c")),
        (snapshot(id, 2, 3, "d"), stored(2, 3, "state d")),
        (snapshot(id, 1, 2, "e"), stored(1, 2, "state e")),
        (
            snapshot(id, u32::MAX, u64::MAX, ""),
            stored(u32::MAX, u64::MAX, "state "),
        ),
    ] {
        store.put_snapshot(put).await.unwrap();
        assert_eq!(store.snapshot(id).await.unwrap(), expected);
        fixture.close(store).await;
        store = fixture.open().await;
        assert_eq!(store.snapshot(id).await.unwrap(), expected);
    }
    // Of a deployment that is not there, maybe because it was deleted meanwhile.
    let unknown = DeploymentId::generate();
    store
        .put_snapshot(snapshot(unknown, 1, 5, "a"))
        .await
        .unwrap();
    assert_eq!(store.snapshot(unknown).await.unwrap(), None);
    fixture.close(store).await;
}

pub async fn summaries_are_returned_in_the_order_that_was_asked_for<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let mut ids = Vec::new();
    for module in ["a", "b", "c"] {
        ids.push(create(&store, module, "production").await);
    }
    for (number, id) in ids.iter().enumerate().skip(1) {
        let text = number.to_string();
        store
            .put_snapshot(snapshot(*id, 1, 1, &text))
            .await
            .unwrap();
    }
    let asked = [ids[2], DeploymentId::generate(), ids[0], ids[1], ids[2]];
    let expected = [
        stored(1, 1, "summary 2"),
        None,
        None,
        stored(1, 1, "summary 1"),
        stored(1, 1, "summary 2"),
    ];
    assert_eq!(store.summaries(&asked).await.unwrap(), expected);
    assert_eq!(store.summaries(&[]).await.unwrap(), []);
    fixture.close(store).await;
}

pub async fn ended_deployments_without_a_snapshot_of_their_end_are_listed<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let mut ids = Vec::new();
    for module in ["a", "b", "c", "d", "e"] {
        ids.push(create(&store, module, "production").await);
    }
    let [open, early, other_format, whole, none] = ids[..] else {
        panic!("five deployments");
    };
    store.put_snapshot(snapshot(open, 7, 1, "")).await.unwrap();
    store.put_snapshot(snapshot(early, 7, 1, "")).await.unwrap();
    for (id, format) in [(other_format, 6), (whole, 7)] {
        append_at_end(&store, id, &success()).await;
        let ended = NewSnapshot {
            ended: true,
            ..snapshot(id, format, 4, "")
        };
        store.put_snapshot(ended).await.unwrap();
    }
    append_at_end(&store, early, &failure()).await;
    append_at_end(&store, none, &failure()).await;
    let missing = async |format, before, limit| {
        let missing = store.ended_without_snapshot(format, before, limit).await;
        missing.unwrap()
    };
    assert_eq!(missing(7, None, 9).await, [none, other_format, early]);
    assert_eq!(missing(7, None, 2).await, [none, other_format]);
    assert_eq!(missing(7, Some(other_format), 9).await, [early]);
    assert_eq!(missing(6, None, 9).await, [none, whole, early]);
    let unknown = Some(DeploymentId::generate());
    assert_eq!(missing(7, unknown, 9).await, []);
    fixture.close(store).await;
}
