//! Tests of the API as clients see it: a real server with a real engine and a real store, over
//! real connections. Only the nodes are simulated.
//!
//! The client of these tests checks every response against the OpenAPI document, whatever
//! the test is about.

mod backends;
mod busy_guests;
mod client;
mod connections;
mod cors;
mod damaged_journals;
mod damaged_records;
mod deployments;
mod desired_state;
mod discovery;
mod documented_statuses;
mod environments;
mod fixture;
mod fleet;
mod idempotency;
mod inputs;
mod live;
mod modules;
mod node_verbs;
mod nodes;
mod openapi;
mod problems;
mod ranges;
mod reruns;
mod roles;
mod selectors;
mod strategies;
mod supersedes;
