//! Whatever happens to readers and servers, each reader gets what it should, once and in
//! order.
//!
//! A [`Story`] says what is written into the journals, when connections are cut or stall,
//! and when the server is ended and started again on the same folder. Eight readers live
//! through it, two for each way to watch. At the end the [`Account`] of each is held
//! against the journals.
//!
//! `LIVE_CASES` and `LIVE_SEED` choose how many stories, and which.

mod account;
mod author;
mod bare;
mod brittle;
mod hub;
mod model;
mod played;
mod reader;
mod served;
mod story;

use std::fmt::Display;
use std::str::FromStr;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::story::Story;

/// Stories, unless asked otherwise.
const CASES: u32 = 24;
/// What they are made up from, unless asked otherwise.
const SEED: u64 = 1;

#[test]
fn every_reader_gets_what_it_should_once_and_in_order() {
    let (cases, seed) = (asked("LIVE_CASES", CASES), asked("LIVE_SEED", SEED));
    let config = Config {
        cases,
        failure_persistence: None,
        // Each is a story that is played; and one that fails does so in its own time.
        max_shrink_iters: 200,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let played = runner.run(&Story::any(), |story| {
        played::play(&story).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(failed) = played {
        panic!("of seed {seed}: {failed}");
    }
}

fn asked<T: FromStr<Err: Display>>(name: &str, otherwise: T) -> T {
    let Ok(asked) = std::env::var(name) else {
        return otherwise;
    };
    let read = asked.parse();
    read.unwrap_or_else(|error| panic!("{name} is {asked:?}: {error}"))
}
