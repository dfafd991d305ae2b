//! The API as clients see it: a real server before a real engine with a real store, over
//! real connections. Only the nodes are made up.
//!
//! The client of these tests checks every answer against the OpenAPI document, whatever
//! the test is about.

mod client;
mod connections;
mod cors;
mod deployments;
mod document;
mod every_answer;
mod failures;
mod fixture;
mod fleet;
mod live;
mod modules;
mod nodes;
mod roles;
mod strategies;
