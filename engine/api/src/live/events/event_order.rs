use std::collections::HashMap;

use hotswap_core::{Damage, Deployment, DeploymentId, Event, IllegalTransition, Lifecycle};
use hotswap_runner::Deployments;
use hotswap_runner::deployments::Error;
use hotswap_store::Entry;

/// Finds the events of all deployments that can be read and cannot follow those before them.
#[derive(Debug, Default)]
pub(super) struct EventOrder {
    /// Where the open deployments are. `None` behind the damage of a journal: any event may follow
    /// there.
    places: HashMap<DeploymentId, Option<Place>>,
}

/// Where a deployment is after its last event.
#[derive(Debug, Clone, Copy)]
struct Place {
    lifecycle: Lifecycle,
    next_seq: u64,
}

impl EventOrder {
    /// Puts the reason in place of each event that cannot follow. `entries` continue those of the
    /// last call.
    ///
    /// Cancel safe, where the same entries are checked again.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn check(
        &mut self,
        deployments: &Deployments,
        entries: &mut [Entry],
    ) -> Result<(), Error> {
        for entry in &*entries {
            if let Ok(event) = &entry.event
                && event.seq > 0
                && !self.places.contains_key(&entry.deployment)
            {
                let place = place_before(deployments, entry.deployment, event.seq).await?;
                self.places.insert(entry.deployment, place);
            }
        }
        entries.iter_mut().for_each(|entry| self.check_entry(entry));
        Ok(())
    }

    fn check_entry(&mut self, entry: &mut Entry) {
        let place = self.places.remove(&entry.deployment).flatten();
        let next = match &entry.event {
            Ok(event) => follow(place, event).map_err(|why| Damage::illegal(event, &why)),
            Err(_) => Ok(None),
        };
        let place = match next {
            Ok(place) => place,
            Err(damage) => {
                entry.event = Err(damage);
                None
            }
        };
        if place.is_none_or(|place| !place.lifecycle.is_ended()) {
            self.places.insert(entry.deployment, place);
        }
    }
}

async fn place_before(
    deployments: &Deployments,
    id: DeploymentId,
    seq: u64,
) -> Result<Option<Place>, Error> {
    let lifecycle = match deployments.lifecycle_before(id, seq).await {
        // It was deleted meanwhile.
        Err(Error::Unknown(_)) => None,
        lifecycle => lifecycle?,
    };
    Ok(lifecycle.map(|lifecycle| Place {
        lifecycle,
        next_seq: seq,
    }))
}

/// Where the deployment is after an event. What follows a gap is not judged.
fn follow(place: Option<Place>, event: &Event) -> Result<Option<Place>, IllegalTransition> {
    let lifecycle = match place {
        _ if event.seq == 0 => Deployment::begin(event)?.lifecycle,
        Some(place) if place.next_seq == event.seq => place.lifecycle.next(&event.body)?,
        Some(_) | None => return Ok(None),
    };
    Ok(Some(Place {
        lifecycle,
        next_seq: event.seq + 1,
    }))
}
