//! `StreamDeployment`: the notifications of one deployment, at the client's own pace.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use hotswap_core::DeploymentId;
use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, SoakProgress};
use hotswap_signalr::HubError;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::live::feed::{Channel, Channels, Offset, ResumePosition, SOAK_PROGRESS};

/// The maximum number of items per read.
const PAGE_SIZE: usize = 64;

/// One stream. The channel stays open until it is dropped.
struct DeploymentStream {
    channels: Arc<Channels>,
    id: DeploymentId,
    channel: Arc<Channel>,
    epoch: Arc<str>,
    /// The offset of the last item.
    offset: Offset,
    /// The last progress of a soak that was sent.
    soak: Option<Arc<SoakProgress>>,
    /// `None` only while this is dropped.
    last_offset: Option<watch::Receiver<Offset>>,
}

/// Opens a stream. Its first item is the subscription; it completes after the last
/// notification of the deployment.
///
/// # Errors
/// [`Error::Unknown`] if there is no such deployment; others if the store fails.
pub(super) async fn stream_deployment(
    channels: Arc<Channels>,
    deployments: &Deployments,
    id: DeploymentId,
    resume: Option<ResumePosition>,
) -> Result<impl Stream<Item = Result<Value, HubError>> + Send + use<>, Error> {
    let (channel, subscription, last_offset) = loop {
        let channel = channels
            .get_or_open(id, deployments, resume.as_ref())
            .await?;
        // Its last subscriber may have left just now.
        if let Ok((subscription, last_offset)) = channel.watch(resume.as_ref()) {
            break (channel, subscription, last_offset);
        }
        tokio::task::yield_now().await;
    };
    let state = DeploymentStream {
        channels,
        id,
        channel,
        epoch: Arc::clone(&subscription.epoch),
        offset: subscription.start.offset,
        soak: None,
        last_offset: Some(last_offset),
    };
    let first = to_item("Subscribed", subscription.into_response());
    let rest = stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        let (items, is_last) = state.next().await;
        let next_state = (!is_last).then_some(state);
        Some((stream::iter(items).map(Ok), next_state))
    });
    Ok(stream::iter([Ok(first)]).chain(rest.flatten()))
}

impl DeploymentStream {
    /// The next items, and whether these are the last.
    async fn next(&mut self) -> (Vec<Value>, bool) {
        loop {
            if let Some(last_offset) = &mut self.last_offset {
                // Marked before the read, so that `changed` sees what comes after it.
                last_offset.mark_unchanged();
            }
            let notifications =
                self.channel
                    .notifications_after(&self.epoch, self.offset, PAGE_SIZE);
            let Some((notifications, is_last)) = notifications else {
                let first = self.restart();
                let is_gone = first.is_none();
                return (Vec::from_iter(first), is_gone);
            };
            if let Some(newest) = notifications.last() {
                self.offset = newest.offset;
            }
            let mut items: Vec<_> = notifications
                .iter()
                .map(|notification| {
                    let argument = notification.message.argument();
                    to_item(notification.target, argument.cloned().unwrap_or_default())
                })
                .collect();
            // Its place is behind the last notification.
            if notifications.len() < PAGE_SIZE
                && let Some((soak, argument)) =
                    (self.channel).soak_after((&self.epoch, self.offset), self.soak.as_ref())
            {
                self.soak = Some(soak);
                items.push(to_item(SOAK_PROGRESS, argument));
            }
            if is_last || !items.is_empty() {
                return (items, is_last);
            }
            let has_changed = match &mut self.last_offset {
                Some(last_offset) => last_offset.changed().await.is_ok(),
                None => false,
            };
            if !has_changed {
                return (Vec::new(), true);
            }
        }
    }

    /// Starts over with a snapshot: the client reads so slowly that notifications it missed
    /// were discarded, or the store has lost events. `None` if it has lost the deployment.
    fn restart(&mut self) -> Option<Value> {
        let (subscription, last_offset) = self.channel.watch(None).ok()?;
        self.epoch = Arc::clone(&subscription.epoch);
        self.offset = subscription.start.offset;
        self.last_offset = Some(last_offset);
        Some(to_item("Subscribed", subscription.into_response()))
    }
}

impl Drop for DeploymentStream {
    fn drop(&mut self) {
        // Before the check, which counts receivers.
        self.last_offset = None;
        self.channels.close_if_unused(self.id, &self.channel);
    }
}

fn to_item(target: &str, argument: Value) -> Value {
    json!({ "target": target, "argument": argument })
}
