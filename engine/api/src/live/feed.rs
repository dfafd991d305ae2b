//! Derives notifications from the journal and sends them to subscribers.
//!
//! A [`Channel`](channel::Channel) folds one deployment, [`AllDeployments`] folds the tail
//! of all journals, those of environments among them. Each has a [`Topic`](topic::Topic): its subscribers, and a replay buffer
//! for those that reconnect.

mod all_deployments;
mod channel;
mod channels;
mod notification;
mod offset;
mod replay_buffer;
mod retry;
mod soak_message;
mod tail;
mod topic;

pub(super) use all_deployments::AllDeployments;
pub(super) use channel::Channel;
pub(super) use channels::Channels;
pub(super) use offset::{Offset, ResumePosition};
pub(super) use replay_buffer::Retention;
pub(super) use soak_message::SOAK_PROGRESS;
pub(super) use topic::Subscription;
