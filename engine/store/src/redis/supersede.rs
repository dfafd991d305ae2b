//! The part of a create that ends the deployments that the new one supersedes.

use hotswap_core::{DeploymentId, EventBody, Header, Lifecycle, encode_event};

use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, script};
use crate::supersede::{Superseding, keep_legal};

/// The deployments that a create ends, as arguments of its script.
pub(super) const NONE: [&str; 12] = ["", "0", "", "", "0", "0", "", "0", "", "", "0", "0"];

impl Redis {
    /// Adds to `args` what to append to the open deployment of the module and to the one that
    /// waits for it, as they are now.
    pub(super) async fn supersede_args(&self, args: Args, header: &Header) -> Result<Args, Error> {
        let ask = Args::new()
            .text(header.module.name.as_str())
            .text(header.environment.as_str());
        let found = self.inner.commands.read_list(&script::SUPERSEDED, ask);
        let found = found.await?;
        let superseding = Superseding::by(header);
        let args = self.add_part(args, &found, 0, superseding.open).await?;
        self.add_part(args, &found, 3, superseding.waiting).await
    }

    /// Adds those of the events that can follow.
    async fn add_part(
        &self,
        mut args: Args,
        found: &Reply,
        index: usize,
        mut bodies: Vec<EventBody>,
    ) -> Result<Args, Error> {
        if found.text(index)?.is_empty() {
            return Ok(NONE[..6].iter().fold(args, |args, text| args.text(text)));
        }
        let id: DeploymentId = found.parse(index, "the id of a deployment")?;
        let head = self
            .head_of(id, found.text(index + 1)?, found.bytes(index + 2)?)
            .await?;
        let lifecycle = keep_legal(head.lifecycle, &mut bodies);
        args = args
            .text(id.to_string())
            .number(head.next_seq)
            .text(lifecycle_json(lifecycle)?)
            .text(lifecycle.status().as_str())
            .flag(lifecycle.is_ended())
            .number(bodies.len() as u64);
        for body in &bodies {
            args = args.bytes(encode(body)?);
        }
        Ok(args)
    }
}

pub(super) fn lifecycle_json(lifecycle: Lifecycle) -> Result<String, Error> {
    serde_json::to_string(&lifecycle).map_err(|source| Error::Encode {
        what: "a lifecycle",
        source,
    })
}

pub(super) fn encode(body: &EventBody) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(256);
    encode_event(body, &mut bytes).map_err(|source| Error::Encode {
        what: "an event",
        source,
    })?;
    Ok(bytes)
}
