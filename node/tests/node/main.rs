//! Tests of whole nodes, with real components and real HTTP.

mod broken_slots;
mod client_faults;
mod control;
mod disk;
mod fake_engine;
mod fetching;
mod fixture;
mod identity;
mod inputs;
mod limits;
mod module_metrics;
mod orders;
mod polling;
mod readiness;
mod registration;
mod routing;
mod synthetic;
