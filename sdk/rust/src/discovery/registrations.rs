use std::collections::BTreeMap;

use super::{Context, Document, Error, Health, HealthCheck, Registration};
use crate::Span;

/// A registry of keys and values. A key may live by a lease: it is gone once nobody keeps that alive.
/// For [`Registrations`].
pub trait KeyValueStore {
    /// What stands for a lease.
    type Lease;

    /// A lease that ends after this time, or a little later, unless it is kept alive.
    ///
    /// # Errors
    /// Any.
    fn grant(&mut self, context: &Context, ttl: Span) -> Result<Self::Lease, Error>;

    /// Restarts the time of a lease.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it has ended.
    fn keep_alive(&mut self, context: &Context, lease: &Self::Lease) -> Result<(), Error>;

    /// Ends a lease, and removes its keys.
    ///
    /// # Errors
    /// Any.
    fn revoke(&mut self, context: &Context, lease: &Self::Lease) -> Result<(), Error>;

    /// Writes a key, which lives by the lease if there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the lease has ended.
    fn put(
        &mut self,
        context: &Context,
        key: &str,
        value: &Document,
        lease: Option<&Self::Lease>,
    ) -> Result<(), Error>;

    /// Whether a key is there.
    ///
    /// # Errors
    /// Any.
    fn has(&mut self, context: &Context, key: &str) -> Result<bool, Error>;

    /// Removes a key. Succeeds if it is not there.
    ///
    /// # Errors
    /// Any.
    fn delete(&mut self, context: &Context, key: &str) -> Result<(), Error>;
}

/// The instances that were registered here, in a registry of keys and values: each is a [`Document`]
/// under a key, with a lease if it has a time to live. Does what [`Backend`](super::Backend) asks of
/// `register`, `heartbeat` and `deregister`.
#[derive(Debug)]
pub struct Registrations<L> {
    by_key: BTreeMap<String, Registered<L>>,
}

#[derive(Debug)]
struct Registered<L> {
    value: Document,
    lease: Option<L>,
}

impl<L> Default for Registrations<L> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
        }
    }
}

impl<L> Registrations<L> {
    /// Puts an instance under a key, in the place of one that was put there before.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a check that the registry would have to make, and those of the
    /// registry.
    pub fn register(
        &mut self,
        store: &mut impl KeyValueStore<Lease = L>,
        context: &Context,
        key: String,
        registration: &Registration,
    ) -> Result<(), Error> {
        let lease = match &registration.check {
            Some(HealthCheck::Ttl(span)) => Some(store.grant(context, Span::millis(*span))?),
            Some(HealthCheck::Http(_)) => {
                let text = "the registry asks no instance for its health: use a check with a TTL";
                return Err(Error::InvalidConfig(text.to_owned()));
            }
            Some(HealthCheck::Other(_)) | None => None,
        };
        let value = Document::of(registration);
        store.put(context, &key, &value, lease.as_ref())?;
        let replaced = self.by_key.insert(key, Registered { value, lease });
        if let Some(lease) = replaced.and_then(|old| old.lease) {
            // It would end by itself, so a failure is no harm.
            let _ = store.revoke(context, &lease);
        }
        Ok(())
    }

    /// Keeps an instance alive, and writes its health if that is another one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was not registered here or its lease has ended, and those of the
    /// registry.
    pub fn heartbeat(
        &mut self,
        store: &mut impl KeyValueStore<Lease = L>,
        context: &Context,
        key: &str,
        health: Health,
    ) -> Result<(), Error> {
        let registered = self.by_key.get_mut(key).ok_or(Error::NotFound)?;
        if let Some(lease) = &registered.lease {
            store.keep_alive(context, lease)?;
        }
        let value = registered.value.with_health(health);
        // Its lease may outlive a key that somebody has removed.
        if value != registered.value || !store.has(context, key)? {
            store.put(context, key, &value, registered.lease.as_ref())?;
            registered.value = value;
        }
        Ok(())
    }

    /// Removes an instance, whoever has registered it.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn deregister(
        &mut self,
        store: &mut impl KeyValueStore<Lease = L>,
        context: &Context,
        key: &str,
    ) -> Result<(), Error> {
        store.delete(context, key)?;
        let registered = self.by_key.remove(key);
        if let Some(lease) = registered.and_then(|registered| registered.lease) {
            // It would end by itself, so a failure is no harm.
            let _ = store.revoke(context, &lease);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::discovery::HttpCheck;
    use crate::discovery::testing::{ScriptedRegistry, registration};

    /// Keys with their values and leases, and the leases that have not ended.
    #[derive(Default)]
    struct Memory {
        keys: BTreeMap<String, (Document, Option<u32>)>,
        leases: BTreeSet<u32>,
        granted: u32,
    }

    impl KeyValueStore for Memory {
        type Lease = u32;

        fn grant(&mut self, _: &Context, ttl: Span) -> Result<u32, Error> {
            assert_eq!(ttl, Span::secs(15));
            self.granted += 1;
            self.leases.insert(self.granted);
            Ok(self.granted)
        }

        fn keep_alive(&mut self, _: &Context, lease: &u32) -> Result<(), Error> {
            let is_there = self.leases.contains(lease);
            is_there.then_some(()).ok_or(Error::NotFound)
        }

        fn revoke(&mut self, _: &Context, lease: &u32) -> Result<(), Error> {
            self.leases.remove(lease);
            self.keys.retain(|_, (_, own)| *own != Some(*lease));
            Ok(())
        }

        fn put(
            &mut self,
            _: &Context,
            key: &str,
            value: &Document,
            lease: Option<&u32>,
        ) -> Result<(), Error> {
            let entry = (value.clone(), lease.copied());
            self.keys.insert(key.to_owned(), entry);
            Ok(())
        }

        fn has(&mut self, _: &Context, key: &str) -> Result<bool, Error> {
            Ok(self.keys.contains_key(key))
        }

        fn delete(&mut self, _: &Context, key: &str) -> Result<(), Error> {
            self.keys.remove(key);
            Ok(())
        }
    }

    #[test]
    fn an_instance_lives_by_its_lease_and_is_put_again_where_somebody_has_removed_it() {
        let context = ScriptedRegistry::new().context();
        let (mut store, mut registrations) = (Memory::default(), Registrations::default());
        let node = registration("node-1");
        let key = || "node/node-1".to_owned();
        for _ in 0..2 {
            let registered = registrations.register(&mut store, &context, key(), &node);
            registered.expect("registered");
        }
        // The lease before is gone, and its end has not taken the key with it.
        assert_eq!(store.leases, [2].into());
        assert_eq!(store.keys[&key()].1, Some(2));
        let beat = |store: &mut Memory, registrations: &mut Registrations<u32>, health: Health| {
            registrations.heartbeat(store, &context, &key(), health)
        };
        beat(&mut store, &mut registrations, Health::Passing).expect("alive");
        let expected = Document::of(&node).with_health(Health::Passing);
        assert_eq!(store.keys[&key()].0, expected);
        store.keys.clear();
        beat(&mut store, &mut registrations, Health::Passing).expect("alive");
        assert_eq!(store.keys[&key()], (expected, Some(2)));
        store.leases.clear();
        let lost = beat(&mut store, &mut registrations, Health::Passing);
        assert_eq!(lost, Err(Error::NotFound));
        let removed = registrations.deregister(&mut store, &context, &key());
        removed.expect("removed");
        assert!(store.keys.is_empty());
        let lost = beat(&mut store, &mut registrations, Health::Passing);
        assert_eq!(lost, Err(Error::NotFound));
    }

    #[test]
    fn one_without_a_time_to_live_has_no_lease_and_one_to_be_asked_is_refused() {
        let context = ScriptedRegistry::new().context();
        let (mut store, mut registrations) = (Memory::default(), Registrations::default());
        let node = Registration {
            check: None,
            ..registration("node-1")
        };
        let registered = registrations.register(&mut store, &context, "a".to_owned(), &node);
        registered.expect("registered");
        assert_eq!(store.keys["a"].1, None);
        let check = HttpCheck {
            url: "http://10.0.0.1:9001/health/ready".to_owned(),
            interval: 1,
            timeout: 1,
        };
        let node = Registration {
            check: Some(HealthCheck::Http(check)),
            ..node
        };
        let refused = registrations.register(&mut store, &context, "b".to_owned(), &node);
        assert!(
            matches!(refused, Err(Error::InvalidConfig(_))),
            "{refused:?}"
        );
        assert_eq!(store.granted, 0);
    }
}
