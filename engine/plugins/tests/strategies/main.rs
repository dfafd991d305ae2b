//! What this crate guarantees, tested with real components.

mod attacks;
mod component;
mod fuel;
mod loading;
mod modules;
mod running;
mod script;
mod threads;
