//! Golden journals: real runs of the built-in strategies, as the release that wrote them stored
//! them. Every later release must read them to the same state, and replay them.
//!
//! Write those of the present release into `tests/golden` with
//! `cargo test --workspace --test golden -- --ignored`.

mod faulty_fleet;
mod files;
mod generate;
mod read;
mod scenarios;
