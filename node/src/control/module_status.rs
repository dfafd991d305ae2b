//! What the node says of a module.

use std::sync::Arc;

use hotswap_protocol::ModuleStatus;

use super::ControlContext;
use crate::data::{Route, VersionCounters};
use crate::process;

/// The slots, counters and faults of a module.
pub(super) fn module_status(context: &ControlContext, module: &str, route: &Route) -> ModuleStatus {
    let record = &route.record;
    let slots = record.slots.clone();
    // In this order, so that versions never count more than was received since an earlier status.
    let finished = route.traffic.finished();
    let now = context.modules.now();
    let held: Vec<_> = record.slots.versions().collect();
    let version = |counters: &Arc<VersionCounters>| {
        let mut status = counters.status();
        // The others are compared with nothing any more, and a status must not grow with them.
        if !held.contains(&&status.version) {
            status.metrics = Vec::new();
        }
        if slots.active.as_ref() == Some(&status.version) {
            status.lifetime = record.serving.of_active(now);
        } else if slots.previous.as_ref() == Some(&status.version) {
            status.lifetime = record.serving.of_previous();
        }
        status
    };
    let versions = route.counters.iter().map(version).collect();
    let received = route.traffic.received();
    ModuleStatus {
        module: module.to_owned(),
        active: slots.active,
        staged: slots.staged,
        previous: slots.previous,
        percent: slots.percent,
        fence: record.fence,
        boot: context.boot.clone(),
        cpu_millis: process::cpu_millis(),
        starts: Some(context.starts),
        received: Some(received),
        finished: Some(finished),
        versions,
        faults: context.modules.faults(module, route),
    }
}
