//! A client of the hub of deployments (SignalR over a WebSocket), on whichever engine answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hotswap_tests::HubClient;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{History, lock};

/// A connection that does not begin for so long is given up, and one without a message is left for
/// another engine.
const SILENCE: Duration = Duration::from_secs(10);

/// The notifications that it got, in this order.
pub type Notified = Arc<Mutex<Vec<Notification>>>;

/// A notification that is never left out for a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The position in the store of the event that it is about.
    pub position: u64,
    /// The name of the client's handler.
    pub target: String,
    /// The deployment, if it is about one.
    pub deployment: String,
    /// The status of the deployment, where the notification says it.
    pub status: String,
}

/// Those that are checked: for each event it is known from the journals whether there is one.
const CHECKED: [&str; 5] = [
    "DeploymentStarted",
    "DeploymentStatusChanged",
    "DeploymentCompleted",
    "DeploymentFailed",
    "EnvironmentChanged",
];

/// Follows all deployments until it is dropped. Cancels `begun` once it is subscribed.
pub async fn follow(
    history: Arc<History>,
    mut rng: Rng,
    notified: Notified,
    begun: CancellationToken,
) -> Result<()> {
    let mut position = Value::Null;
    let mut last = (0, 0);
    loop {
        sleep(Duration::from_millis(rng.u64(..200))).await;
        let Some(url) = history.url(&mut rng) else {
            continue;
        };
        let subscribing = async {
            let mut client = HubClient::connect_at(&url, "deployments").await?;
            let answer = client.subscribe_to_all(&position).await?;
            anyhow::Ok((client, answer))
        };
        let Ok(Ok((mut client, answer))) = timeout(SILENCE, subscribing).await else {
            continue;
        };
        let is_first = position.is_null();
        ensure!(
            answer["recovered"] == !is_first,
            "after {position}: {answer}"
        );
        position = json!({ "epoch": answer["epoch"], "offset": answer["offset"] });
        begun.cancel();
        for _ in 0..rng.usize(1..60) {
            let Ok(Ok((target, argument))) = timeout(SILENCE, client.next()).await else {
                break;
            };
            let offset = argument["offset"].as_str().context("no offset")?;
            ensure!(argument["epoch"] == position["epoch"], "{argument}");
            position["offset"] = offset.into();
            if !CHECKED.contains(&target.as_str()) {
                continue;
            }
            let place = parse(offset)?;
            ensure!(place > last, "{place:?} after {last:?}: {argument}");
            last = place;
            let text = |name: &str| argument[name].as_str().unwrap_or_default().to_owned();
            lock(&notified).push(Notification {
                position: place.0,
                target,
                deployment: text("executionId"),
                status: text("status"),
            });
        }
    }
}

/// The position of the event, and the place among its notifications: the last has no number.
fn parse(offset: &str) -> Result<(u64, u64)> {
    let (position, part) = match offset.split_once('.') {
        Some((position, part)) => (position, part.parse()?),
        None => (offset, u64::MAX),
    };
    Ok((position.parse()?, part))
}
