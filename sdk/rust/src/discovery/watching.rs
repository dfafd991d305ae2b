//! The two ways to watch a registry: list it and wait for changes, or list it again and again.

use super::{Backoff, Context, Error, Instance, Snapshot};
use crate::Span;

/// The shortest pause after a registry has closed a watch, and between two lists.
const PAUSE: Span = Span::secs(1);

/// The longest pause after a registry has closed a watch.
const MAX_PAUSE: Span = Span::secs(30);

/// Lists in one call of [`poll`]. A call has a limited number of instructions.
const MAX_LISTS: u32 = 100;

/// A registry that can be listed, and then watched from what the list says on.
pub trait ListAndWatch {
    /// All instances of a service, with a cursor from which [`Self::wait`] can go on.
    ///
    /// # Errors
    /// Any.
    fn list(&mut self, context: &Context, service: &str) -> Result<Snapshot, Error>;

    /// Waits until something has changed after the cursor, at most for `patience`.
    ///
    /// # Errors
    /// Any. That the registry no longer knows the cursor is none: that is [`Waited::Changed`].
    fn wait(
        &mut self,
        context: &Context,
        service: &str,
        cursor: &str,
        patience: Span,
    ) -> Result<Waited, Error>;
}

/// What came of waiting for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// Something has changed, or the registry does not know what has.
    Changed,
    /// Nothing has changed in the time given.
    TimedOut,
    /// The registry has closed the watch. Nothing has changed up to this cursor; `None` if the
    /// registry did not say.
    Closed(Option<String>),
}

/// [`Backend::watch`](super::Backend::watch) for a registry that can be watched. Whatever ended
/// the wait, the list says what is there.
///
/// # Errors
/// Those of the registry.
pub fn list_and_watch(
    registry: &mut impl ListAndWatch,
    context: &Context,
    service: &str,
    cursor: Option<&str>,
    patience: Span,
) -> Result<Snapshot, Error> {
    let until = context.now().saturating_add(patience.as_millis());
    let left = || Span::millis(until.saturating_sub(context.now()));
    let mut cursor = cursor.map(str::to_owned);
    let mut backoff = Backoff::new(PAUSE, MAX_PAUSE);
    while let Some(from) = cursor.take() {
        if let Waited::Closed(reached) = registry.wait(context, service, &from, left())? {
            backoff.wait(context, left());
            cursor = reached.filter(|_| !left().is_zero());
        }
    }
    registry.list(context, service)
}

/// [`Backend::watch`](super::Backend::watch) for a registry that cannot be watched: lists it each
/// `interval`, and returns once the instances differ from those that the cursor stands for.
///
/// # Errors
/// Those of `list`.
pub fn poll(
    context: &Context,
    cursor: Option<&str>,
    patience: Span,
    interval: Span,
    mut list: impl FnMut() -> Result<Vec<Instance>, Error>,
) -> Result<Snapshot, Error> {
    let until = context.now().saturating_add(patience.as_millis());
    let left = || Span::millis(until.saturating_sub(context.now()));
    let mut lists = 0;
    loop {
        if cursor.is_some() {
            context.sleep(interval.max(PAUSE).min(left()));
        }
        let mut instances = list()?;
        lists += 1;
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        let found = fingerprint(&instances);
        if cursor != Some(&*found) || left().is_zero() || lists == MAX_LISTS {
            return Ok(Snapshot {
                instances,
                cursor: found,
            });
        }
    }
}

/// Tells instances apart (FNV-1a). The engine compares what it means.
fn fingerprint(instances: &[Instance]) -> String {
    let text = format!("{instances:?}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
