//! Tests of whole nodes, with real components and real HTTP.

mod control;
mod disk;
mod fixture;
mod limits;
mod orders;
mod registration;
mod routing;
