use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotswap_common::Secret;

use super::{ContractCheck, Subject, kind_of};
use crate::discovery::bindings::hotswap::discovery::types::{Error as RegistryError, Snapshot};
use crate::discovery::component::BackendSettings;
use crate::discovery::error::BackendError;

/// How long a watch waits for a change that does not come.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a watch may take besides its patience.
const SLACK: Duration = Duration::from_secs(10);

/// No registry has given it.
const WRONG: &str = "a-wrong-secret-of-the-check";

const LISTS: &str = "a watch without a cursor answers at once";
const DISTINCT: &str = "each instance has an id of its own, and an address";
const WAITS: &str = "a watch with a cursor ends after its patience";
const CONTINUES: &str = "another instance of the component goes on from a cursor";
const FORGETS: &str = "a cursor that the registry does not know is no error";
const REFUSED: &str = "a wrong secret is denied, and not repeated";

impl Subject<'_> {
    pub(super) async fn check_reading(&self) -> Vec<ContractCheck> {
        let first = self.list(None, Duration::ZERO).await;
        let Ok(first) = first else {
            let rest = [DISTINCT, WAITS, CONTINUES, FORGETS, REFUSED];
            let rest = rest.map(|rule| ContractCheck::skipped(rule, "the registry did not answer"));
            let failed = ContractCheck::new(LISTS, first.map(drop));
            return [failed].into_iter().chain(rest).collect();
        };
        let mut checks = vec![
            ContractCheck::new(LISTS, Ok(())),
            ContractCheck::new(DISTINCT, check_instances(&first)),
        ];
        // Each in an instance of its own.
        let cursor = Some(&*first.cursor);
        let waited = self.list(cursor, PATIENCE).await;
        checks.push(ContractCheck::new(
            WAITS,
            waited.as_ref().map(drop).map_err(Clone::clone),
        ));
        let went_on = waited.and_then(|found| check_same(&first, &found));
        checks.push(ContractCheck::new(CONTINUES, went_on));
        let forgotten = self
            .list(Some("a cursor of another registry"), PATIENCE)
            .await;
        let forgotten = forgotten.and_then(|found| check_same(&first, &found));
        checks.push(ContractCheck::new(FORGETS, forgotten));
        checks.push(self.check_wrong_secret().await);
        checks
    }

    async fn list(&self, cursor: Option<&str>, patience: Duration) -> Result<Snapshot, String> {
        let mut instance = self.start().await?;
        let started = Instant::now();
        let service = &*self.options.service;
        let found = self.watch(&mut instance, service, cursor, patience).await;
        let found = found.map_err(|error| error.to_string())?;
        let took = started.elapsed();
        match took <= patience + SLACK {
            true => Ok(found),
            false => Err(format!("it took {took:?} with a patience of {patience:?}")),
        }
    }

    async fn check_wrong_secret(&self) -> ContractCheck {
        if self.settings.secrets.is_empty() {
            return ContractCheck::skipped(REFUSED, "the settings have no secret");
        }
        let mut settings = BackendSettings::clone(self.settings);
        for secret in settings.secrets.values_mut() {
            *secret = Secret::new(WRONG).into();
        }
        let mut instance = match self.start_with(settings).await {
            Ok(instance) => instance,
            Err(reason) => return ContractCheck::new(REFUSED, Err(reason)),
        };
        let service = &*self.options.service;
        let watched = self.watch(&mut instance, service, None, Duration::ZERO);
        let kept = match watched.await {
            Err(error) if error.to_string().contains(WRONG) => {
                Err(format!("the secret is in its error: {error}"))
            }
            Err(BackendError::Registry(RegistryError::Denied(_))) => Ok(()),
            Err(BackendError::Registry(error)) => Err(format!(
                "it answered with the error {}, {}; it should be denied",
                kind_of(&error),
                BackendError::Registry(error.clone())
            )),
            Err(ended) => Err(ended.to_string()),
            Ok(_) => return ContractCheck::skipped(REFUSED, "the registry accepts any secret"),
        };
        ContractCheck::new(REFUSED, kept)
    }
}

fn check_instances(found: &Snapshot) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for instance in &found.instances {
        let id = &instance.id;
        if id.is_empty() || !ids.insert(id) {
            return Err(format!("the id '{id}' is empty or there twice"));
        }
        if instance.address.is_empty() {
            return Err(format!("{id} has no address"));
        }
    }
    Ok(())
}

/// Whether both have the same instances. A registry may change in between.
fn check_same(first: &Snapshot, second: &Snapshot) -> Result<(), String> {
    let ids = |found: &Snapshot| {
        let ids = found.instances.iter().map(|it| it.id.clone());
        ids.collect::<BTreeSet<_>>()
    };
    let (first, second) = (ids(first), ids(second));
    match first == second {
        true => Ok(()),
        false => Err(format!("it found {first:?} first and {second:?} then")),
    }
}
