//! The real program, from the outside.

mod apply;
mod compiled;
mod contexts;
mod debug;
mod desired_state;
mod dev;
mod discovery;
mod exit_codes;
mod inputs;
mod json;
mod lost_answers;
mod node_verbs;
mod program;
mod selectors;
mod serve;
mod server;
mod steering;
mod store_password;
mod support;
mod terminal;
mod tls;
mod waits;
mod wrong_servers;
