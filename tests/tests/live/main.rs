//! Every reader gets what it should, once and in order, whatever happens to readers and
//! servers.
//!
//! A [`Scenario`] says which events are written into the journals, when connections are cut or
//! stall, and when the server is restarted on the same folder. Eight readers live through it,
//! two for each [`WatchMethod`](reader::WatchMethod). At the end,
//! [`Expectations`](expectations::Expectations) compares what each received with the journals.
//!
//! `LIVE_CASES` sets how many scenarios run, `LIVE_SEED` which.

mod event_reader;
mod expectations;
mod expected_messages;
mod hub_reader;
mod journal_author;
mod reader;
mod scenario;
mod scenario_runner;
mod test_server;
mod truncating_stream;

use std::fmt::Display;
use std::str::FromStr;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::scenario::Scenario;

/// How many scenarios run, unless `LIVE_CASES` is set.
const DEFAULT_CASES: u32 = 24;
/// The seed that they are generated from, unless `LIVE_SEED` is set.
const DEFAULT_SEED: u64 = 1;

#[test]
fn every_reader_gets_what_it_should_once_and_in_order() {
    let cases = variable_or("LIVE_CASES", DEFAULT_CASES);
    let seed = variable_or("LIVE_SEED", DEFAULT_SEED);
    let config = Config {
        cases,
        failure_persistence: None,
        // Each attempt to shrink runs a whole scenario, and a failing one may run to its
        // time-out.
        max_shrink_iters: 200,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let result = runner.run(&Scenario::any(), |scenario| {
        scenario_runner::run(&scenario).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(failure) = result {
        panic!("with LIVE_SEED={seed}: {failure}");
    }
}

fn variable_or<T: FromStr<Err: Display>>(name: &str, default: T) -> T {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    let value = text.parse();
    value.unwrap_or_else(|error| panic!("{name} is {text:?}: {error}"))
}
