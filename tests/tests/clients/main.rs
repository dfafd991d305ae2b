//! The real official clients against the real program.

mod chromium;
mod examples;
mod node;
mod proxy;
mod python;
mod stateful;
mod tokens;
mod told;
