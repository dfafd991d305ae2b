//! What leads an engine to Redis and to the nodes.

use std::time::Duration;

use hotswap_core::NodeError;
use hotswap_tests::RedisProxy;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::case::Fault;

/// How long an order tries to reach a node that does not hear the engine.
const PATIENCE: Duration = Duration::from_secs(1);

/// The links of one engine.
pub struct Links {
    pub redis: RedisProxy,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    /// The engine does not hear the nodes, nor they it.
    NodesCut,
    /// The engine does nothing.
    StandsStill,
    /// The engine does nothing any more.
    Dead,
}

impl Links {
    pub fn new(redis: RedisProxy) -> Self {
        Self {
            redis,
            state: watch::Sender::new(State::Up),
        }
    }

    /// Begins a fault.
    pub fn begin(&self, fault: Fault) {
        match fault {
            Fault::Killed => self.kill(),
            Fault::StoodStill => {
                self.redis.stall(true);
                self.state.send_replace(State::StandsStill);
            }
            Fault::CutOffFromRedis => self.redis.stall(true),
            Fault::CutOffFromNodes => {
                self.state.send_replace(State::NodesCut);
            }
            Fault::CutOffFromBoth => {
                self.redis.stall(true);
                self.state.send_replace(State::NodesCut);
            }
        }
    }

    /// Begins a fault once Redis has carried out the next append, whose answer does not arrive.
    pub fn begin_at_answer(&self, fault: Fault) {
        self.redis.stall_at_answer();
        if fault == Fault::CutOffFromBoth {
            self.state.send_replace(State::NodesCut);
        }
    }

    /// Ends every fault but death.
    pub fn mend(&self) {
        if self.is_dead() {
            return;
        }
        self.redis.stall(false);
        self.state.send_replace(State::Up);
    }

    /// As the end of a process: connections are closed, and nothing comes any more.
    pub fn kill(&self) {
        self.state.send_replace(State::Dead);
        self.redis.refuse(true);
        self.redis.disconnect();
        self.redis.stall(false);
    }

    pub fn is_dead(&self) -> bool {
        *self.state.borrow() == State::Dead
    }

    /// Waits until the engine does something.
    pub async fn runs(&self) {
        self.until(|state| matches!(state, State::Up | State::NodesCut))
            .await;
    }

    /// Waits until the nodes hear the engine.
    ///
    /// # Errors
    /// If they do not for too long.
    pub async fn nodes_hear(&self) -> Result<(), NodeError> {
        self.runs().await;
        let heard = self.until(|state| state != State::NodesCut);
        if timeout(PATIENCE, heard).await.is_err() {
            return Err(unreachable());
        }
        self.runs().await;
        Ok(())
    }

    /// Lets a request run that has been sent. Its answer waits while the engine stands still, and is
    /// lost where the nodes are cut off meanwhile.
    pub async fn request<T>(
        &self,
        request: impl Future<Output = Result<T, NodeError>>,
    ) -> Result<T, NodeError> {
        self.nodes_hear().await?;
        let answer = tokio::select! {
            answer = request => answer,
            () = self.until(|state| state == State::NodesCut) => Err(unreachable()),
            () = self.until(|state| state == State::Dead) => std::future::pending().await,
        };
        self.runs().await;
        answer
    }

    async fn until(&self, is_there: impl Fn(State) -> bool) {
        let mut state = self.state.subscribe();
        // The sender lives as long as this.
        let _ = state.wait_for(|state| is_there(*state)).await;
    }

    /// Whether the nodes hear the engine now.
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == State::Up
    }
}

fn unreachable() -> NodeError {
    NodeError::Unreachable("it is cut off".to_owned())
}
