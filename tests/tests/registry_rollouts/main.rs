//! Rollouts by the real programs, to nodes that the engine finds in a real registry. The registries
//! themselves are tested by `discovery`: apart, so that both run at the same time.

mod contents;
mod example;
mod found;
mod http_checks;
mod rollouts;
mod source_feed;
