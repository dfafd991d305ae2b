//! Golden journals: real runs of the built-in strategies, as the release that wrote them stored
//! them. Every later release must read them to the same state, and replay them.
//!
//! `cargo xtask golden` writes those of the present release; see `write.rs`.

#[allow(
    dead_code,
    reason = "only the program that writes the journals uses all of it"
)]
mod faults;
#[allow(
    dead_code,
    reason = "only the program that writes the journals uses all of it"
)]
mod files;
mod read;
#[allow(
    dead_code,
    reason = "only the program that writes the journals uses all of it"
)]
mod scenarios;
