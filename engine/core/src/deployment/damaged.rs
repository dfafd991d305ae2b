//! The state of a deployment whose journal cannot be read from some event on.

use crate::{
    Call, Damage, Deployment, DeploymentId, Digest, Environment, Event, EventBody, Header,
    ModuleName, ModuleVersion, Requester, StrategyRef, Timestamp,
};

use super::end::terminated;

impl Deployment {
    /// The state of a deployment whose first event cannot be read. Only its id, its module,
    /// its environment and its time are known; all else is a placeholder.
    pub fn without_request(
        id: DeploymentId,
        module: ModuleName,
        environment: Environment,
        created_at: Timestamp,
        damage: Damage,
    ) -> Self {
        let header = unreadable_header(id, module, environment);
        Self {
            next_seq: damage.next_seq,
            damage: Some(damage),
            ..Self::requested(header, created_at)
        }
    }

    /// Notes that the journal cannot be read from here on. Continue with
    /// [`Self::apply_past_damage`].
    pub fn mark_damaged(&mut self, damage: Damage) {
        self.next_seq = damage.next_seq;
        self.question = None;
        self.due = None;
        self.open = None;
        self.damage = Some(damage);
    }

    /// Applies an event behind the damage of the journal: only what it tells of the end, and of
    /// the last probe.
    pub fn apply_past_damage(&mut self, event: &Event) {
        self.lifecycle = self.lifecycle.next_past_damage(&event.body);
        self.deadline.apply(event.at, &event.body);
        self.next_seq = event.seq + 1;
        self.updated_at = event.at;
        match &event.body {
            EventBody::Reverting { cause } => self.cause = Some(cause.clone()),
            EventBody::TerminationRequested { by, reason } => {
                self.cause = Some(terminated(by, reason.as_deref()));
            }
            EventBody::Ended {
                outcome,
                failures,
                not_updated,
            } => self.apply_ended(*outcome, failures, not_updated, event),
            EventBody::Called {
                request: Call::Probe { request, .. },
                ..
            } => self.last_probe = Some(request.clone().into()),
            EventBody::Requested(_)
            | EventBody::Gated { .. }
            | EventBody::Planned { .. }
            | EventBody::Called { .. }
            | EventBody::Answered { .. }
            | EventBody::Decided { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. }
            | EventBody::WritesLost { .. }
            | EventBody::Settling(_) => {}
        }
    }
}

fn unreadable_header(id: DeploymentId, module: ModuleName, environment: Environment) -> Header {
    let version = semver::Version::new(0, 0, 0);
    #[expect(clippy::expect_used, reason = "of a constant")]
    let name = "unknown".parse().expect("a valid name");
    let digest = Digest::from_bytes([0; 32]);
    let module = ModuleVersion {
        name: module,
        version: version.clone(),
        digest,
    };
    let strategy = StrategyRef {
        name,
        version: version.to_string(),
        digest,
        wit: version,
    };
    let requester = Requester {
        email: String::new(),
        subject: String::new(),
    };
    Header::new(id, module, environment, strategy, requester)
}
