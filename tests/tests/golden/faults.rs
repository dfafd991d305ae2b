use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{Action, NodeError, NodeId, Order};
use hotswap_fleet::Fleet;
use hotswap_tests::FleetInterceptor;

/// Lets one of the nodes refuse chosen orders.
#[derive(Default)]
pub struct Faults(Mutex<Option<Fault>>);

/// The orders that a node refuses.
#[derive(Clone)]
pub struct Fault {
    pub node: &'static str,
    pub refuses: fn(&Action) -> bool,
}

impl Faults {
    pub fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn refuses(&self, node: &NodeId, action: &Action) -> bool {
        let fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fault
            .as_ref()
            .is_some_and(|fault| fault.node == node.as_str() && (fault.refuses)(action))
    }
}

#[async_trait]
impl FleetInterceptor for Faults {
    async fn order(
        &self,
        fleet: &dyn Fleet,
        node: &NodeId,
        order: &Order,
    ) -> Result<(), NodeError> {
        if self.refuses(node, &order.action) {
            return Err(NodeError::Refused("the disk is full".to_owned()));
        }
        fleet.order(node, order).await
    }
}
