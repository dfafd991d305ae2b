use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Secret;

/// A secret that may be replaced by a new one while the program runs. Cheap to clone; clones share
/// the secret.
#[derive(Debug, Clone)]
pub struct CurrentSecret(Arc<ArcSwap<Secret>>);

impl CurrentSecret {
    /// The secret as it is now.
    pub fn get(&self) -> Arc<Secret> {
        self.0.load_full()
    }

    /// Replaces the secret from now on.
    pub fn replace(&self, secret: Secret) {
        self.0.store(Arc::new(secret));
    }
}

impl From<Secret> for CurrentSecret {
    fn from(secret: Secret) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(secret)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_the_new_secret_and_no_debug_text_shows_it() {
        let secret = CurrentSecret::from(Secret::new("first"));
        let clone = secret.clone();
        secret.replace(Secret::new("second"));
        assert!(clone.get().matches("second"));
        assert!(!format!("{clone:?}").contains("second"));
    }
}
