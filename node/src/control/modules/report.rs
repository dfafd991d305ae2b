//! What the node says about its modules.

use hotswap_protocol::{ClientFaults, ModuleReport, Readiness, SlotFault, Traffic};

use super::Modules;
use crate::data::Route;

impl Modules {
    /// A sentence that says what is wrong with the modules. `None` if they are healthy.
    pub(crate) fn health_warning(&self) -> Option<String> {
        let table = self.routing_table().load();
        let mut warnings = Vec::new();
        for (module, route) in table.iter() {
            for fault in self.faults(module, route) {
                let (slot, version) = (fault.slot.as_str(), &fault.version.version);
                let reason = &fault.reason;
                warnings.push(format!(
                    "version {version} of module {module} ({slot}) is not loaded: {reason}"
                ));
            }
        }
        warnings.sort();
        let damaged = self.0.store.damaged_modules().into_iter();
        warnings.extend(damaged.map(|module| {
            format!("the record of module {module} was damaged: deploy the module again")
        }));
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    /// The slots of all modules, sorted by name.
    pub(crate) fn report(&self) -> Vec<ModuleReport> {
        let table = self.routing_table().load();
        let report = |(module, route): (&str, &std::sync::Arc<Route>)| {
            let slots = route.record.slots.clone();
            ModuleReport {
                module: module.to_owned(),
                active: slots.active,
                staged: slots.staged,
                previous: slots.previous,
                percent: slots.percent,
                faults: self.faults(module, route),
            }
        };
        let mut modules: Vec<_> = table.iter().map(report).collect();
        modules.sort_by(|a, b| a.module.cmp(&b.module));
        modules
    }

    /// Whether clients may be sent to the node, and how many of their requests are in flight.
    pub(crate) fn readiness(&self) -> Readiness {
        let reason = self.check_ready().err();
        let table = self.routing_table().load();
        let counters = table.iter().flat_map(|(_, route)| route.counters.iter());
        Readiness {
            ready: reason.is_none(),
            reason,
            in_flight: counters.map(|counters| counters.in_flight()).sum(),
        }
    }

    /// What clients sent, and what of it came to nothing because of them.
    pub(crate) fn traffic(&self) -> Traffic {
        let table = self.routing_table().load();
        let counters = table.iter().flat_map(|(_, route)| route.counters.iter());
        let client = counters.fold(ClientFaults::default(), |sum, counters| {
            let more = counters.client_faults();
            ClientFaults {
                left: sum.left + more.left,
                slow_uploads: sum.slow_uploads + more.slow_uploads,
                slow_readers: sum.slow_readers + more.slow_readers,
            }
        });
        Traffic {
            received: (table.iter())
                .map(|(_, route)| route.traffic.received())
                .sum(),
            malformed: self.rejected().malformed(),
            unroutable: self.rejected().unroutable(),
            client,
        }
    }

    /// The versions in the slots of a module that are not loaded.
    pub(crate) fn faults(&self, module: &str, route: &Route) -> Vec<SlotFault> {
        let fault = |(slot, version): (_, &hotswap_protocol::Version)| SlotFault {
            slot,
            version: version.clone(),
            reason: (self.0.faults.reason(module, version))
                .unwrap_or_else(|| "it is being loaded".to_owned()),
        };
        route.missing().map(fault).collect()
    }
}
