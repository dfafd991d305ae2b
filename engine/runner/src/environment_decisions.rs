//! When something is decided in an environment.

use hotswap_store::EnvironmentAppended;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Returns once something was decided in an environment, or may have been. A repair decides nothing.
/// Never returns where the journal is gone. Cancel safe.
pub(crate) async fn next_decision(appended: &mut Receiver<EnvironmentAppended>) {
    loop {
        match appended.recv().await {
            Ok(appended) if !appended.decides => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
