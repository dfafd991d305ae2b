//! Real nodes, real components, real HTTP.

mod control;
mod disk;
mod fixture;
mod limits;
mod orders;
mod registration;
mod routing;
