//! What the crate promises about strategies, on components that are run.

mod attacks;
mod component;
mod loading;
mod modules;
mod running;
mod script;
