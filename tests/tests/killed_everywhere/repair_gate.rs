//! Holds repairs up, so that a test can take the environment away from an engine in the middle of
//! one.

use hotswap_core::{Action, ModuleName, Order};
use tokio::sync::watch;

/// Holds the repairs of one module: the first engine's after a node has staged the version, and
/// those of the others before their first order. Lets everything pass until it is closed.
#[derive(Default)]
pub struct RepairGate {
    state: watch::Sender<State>,
}

#[derive(Default, Clone)]
struct State {
    module: Option<ModuleName>,
    first: Option<u64>,
    other: Option<u64>,
    first_passes: bool,
    others_pass: bool,
}

impl RepairGate {
    /// Holds the repairs of a module from now on.
    pub fn close(&self, module: ModuleName) {
        self.state.send_replace(State {
            module: Some(module),
            ..State::default()
        });
    }

    /// Waits until an engine has staged, and returns its number.
    pub async fn first(&self) -> u64 {
        self.find(|state| state.first).await
    }

    /// Waits until another engine is about to send its first order, and returns its number.
    pub async fn other(&self) -> u64 {
        self.find(|state| state.other).await
    }

    /// Lets the first engine go on.
    pub fn release_first(&self) {
        self.state.send_modify(|state| state.first_passes = true);
    }

    /// Lets the others go on.
    pub fn release_others(&self) {
        self.state.send_modify(|state| state.others_pass = true);
    }

    /// Before an engine sends an order.
    pub async fn before(&self, engine: u64, order: &Order) {
        if self.is_held(order) {
            self.state.send_if_modified(|state| {
                let is_other = state.first.is_some_and(|first| first != engine);
                let is_news = is_other && state.other.is_none();
                if is_news {
                    state.other = Some(engine);
                }
                is_news
            });
            let passes =
                |state: &State| state.others_pass || state.first.is_none_or(|it| it == engine);
            self.until(passes).await;
        }
    }

    /// After a node has carried out an order of an engine.
    pub async fn after(&self, engine: u64, order: &Order) {
        if self.is_held(order) && matches!(order.action, Action::Stage(_)) {
            self.state.send_if_modified(|state| {
                let is_news = state.first.is_none();
                if is_news {
                    state.first = Some(engine);
                }
                is_news
            });
            let passes = |state: &State| state.first_passes || state.first != Some(engine);
            self.until(passes).await;
        }
    }

    fn is_held(&self, order: &Order) -> bool {
        let is_meant = self.state.borrow().module.as_ref() == Some(&order.module);
        is_meant && order.operation.starts_with("repair-")
    }

    async fn find(&self, engine: fn(&State) -> Option<u64>) -> u64 {
        let mut state = self.state.subscribe();
        loop {
            if let Some(engine) = engine(&state.borrow_and_update()) {
                return engine;
            }
            // The sender lives as long as this.
            let _ = state.changed().await;
        }
    }

    async fn until(&self, passes: impl Fn(&State) -> bool) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| passes(state)).await;
    }
}
