//! How journals begin and grow.

use hotswap_core::{Append, DeploymentId, EventBody, Fence, Header, Lifecycle, Timestamp};

use super::commands::random_word;
use super::error::Error;
use super::reply::{Args, Reply};
use super::supersede::{NONE, encode, lifecycle_json};
use super::{Redis, script};
use crate::{AppendError, CreateError, Head, Journal as _};

/// How often a create looks again where others change the same at the same time.
const MAX_ATTEMPTS: u32 = 32;

impl Redis {
    /// See [`Journal::create`](crate::Journal::create).
    pub(super) async fn create_journal(
        &self,
        header: Header,
        at: Timestamp,
    ) -> Result<(), CreateError> {
        if self.is_full().await {
            return Err(CreateError::Full);
        }
        let requested = EventBody::Requested(Box::new(header));
        let body = encode(&requested)?;
        let EventBody::Requested(header) = requested else {
            return Err(Error::Closed.into());
        };
        let (id, token) = (header.id, random_word());
        let key = header.idempotency.as_ref().map(|one| one.key.as_str());
        let selector = header.selector.as_ref().map(ToString::to_string);
        for _ in 0..MAX_ATTEMPTS {
            let args = Args::new()
                .text(id.to_string())
                .text(header.module.name.as_str())
                .text(header.environment.as_str())
                .text(lifecycle_json(Lifecycle::INITIAL)?)
                .text(Lifecycle::INITIAL.status().as_str())
                .number(at.millis())
                .text(&token)
                .text(&header.requester.subject)
                .optional(key)
                .flag(selector.is_some())
                .optional(selector.as_ref())
                .optional(header.supersedes)
                .optional(header.undo_from)
                .flag(header.brings_back())
                .bytes(&body);
            let args = match header.supersedes {
                Some(_) => self.supersede_args(args, &header).await?,
                None => NONE.iter().fold(args, |args, text| args.text(text)),
            };
            let reply = self.inner.commands.write(&script::CREATE, args).await?;
            let other = || reply.parse(1, "the id of a deployment");
            return match reply.word()? {
                "created" => {
                    let head = Head {
                        next_seq: 1,
                        lifecycle: Lifecycle::INITIAL,
                    };
                    self.inner.heads.put(id, head);
                    self.inner.witness.saw_position(reply.number(1)?);
                    Ok(())
                }
                "repeated" => Err(CreateError::Repeated(other()?)),
                "busy" => Err(CreateError::Busy(other()?)),
                "nothing" => Err(CreateError::NothingToSupersede(other()?)),
                "outdated" => Err(CreateError::NothingToUndo(other()?)),
                "exists" => Err(Error::Exists(id).into()),
                _ => continue,
            };
        }
        Err(Error::Contended.into())
    }

    /// See [`Journal::append`](crate::Journal::append). The script compares; which event may follow
    /// another is decided here, from where the journal ends as far as this engine knows.
    pub(super) async fn append_events(&self, append: Append) -> Result<Head, AppendError> {
        let id = append.deployment;
        let bodies = append.bodies.iter().map(encode);
        let bodies = bodies.collect::<Result<Vec<_>, _>>()?;
        if bodies.is_empty() {
            return self.compare(&append).await;
        }
        let known = self.inner.heads.get(id);
        let before = match known.filter(|head| head.next_seq == append.expected) {
            Some(head) => head,
            None => self.compare(&append).await?,
        };
        let after = append
            .bodies
            .iter()
            .try_fold(before.lifecycle, Lifecycle::append);
        let after = match after {
            Ok(after) => after,
            // The fence and the number are checked first.
            Err(illegal) => {
                self.compare(&append).await?;
                return Err(AppendError::IllegalTransition(illegal));
            }
        };
        let changed = after != before.lifecycle;
        let mut args = Args::new()
            .text(id.to_string())
            .number(append.expected)
            .optional(append.fence.map(|fence| fence.0))
            .number(append.at.millis())
            .text(random_word())
            .optional(changed.then(|| lifecycle_json(after)).transpose()?)
            .text(after.status().as_str())
            .flag(after.is_ended());
        for body in &bodies {
            args = args.bytes(body);
        }
        let reply = self.inner.commands.write(&script::APPEND, args).await?;
        if matches!(reply.word()?, "appended" | "repeated") {
            let head = Head {
                next_seq: append.expected + bodies.len() as u64,
                lifecycle: after,
            };
            self.inner.heads.put(id, head);
            self.inner.witness.saw_position(reply.number(1)?);
            return Ok(head);
        }
        Err(self.rejection(id, &reply).await?)
    }

    /// Compares number and fence, as an append of no events.
    async fn compare(&self, append: &Append) -> Result<Head, AppendError> {
        let args = Args::new()
            .text(append.deployment.to_string())
            .number(append.expected)
            .optional(append.fence.map(|fence| fence.0))
            .number(append.at.millis())
            .text("")
            .text("")
            .text("")
            .text("");
        let reply = self.inner.commands.write(&script::APPEND, args).await?;
        if reply.word()? != "same" {
            return Err(self.rejection(append.deployment, &reply).await?);
        }
        let head = self.head_of(append.deployment, reply.text(1)?, reply.bytes(2)?);
        let head = head.await?;
        self.inner.heads.put(append.deployment, head);
        Ok(head)
    }

    /// Why an append was rejected.
    async fn rejection(&self, id: DeploymentId, reply: &Reply) -> Result<AppendError, Error> {
        Ok(match reply.word()? {
            "fenced" => AppendError::Fenced(Fence(reply.number(1)?)),
            "conflict" => {
                let head = self.head_of(id, reply.text(1)?, reply.bytes(2)?).await?;
                self.inner.heads.put(id, head);
                AppendError::Conflict(head)
            }
            "unknown" => {
                self.forget(id);
                AppendError::Unknown(id)
            }
            _ => Error::Answer("the rejection of an append is unknown").into(),
        })
    }
}
