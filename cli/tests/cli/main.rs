//! The real program, from the outside.

mod dev;
mod program;
mod serve;
mod support;
