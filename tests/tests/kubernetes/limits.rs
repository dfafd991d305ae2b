//! What the limits of a container are for the program in it, on a real node.

use std::num::NonZero;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result};

use crate::release::Release;

/// The name of the engine's threads that drive deployments, one for each processor.
const DRIVER: &str = "driver";

fn driver_count(release: &Release) -> Result<usize> {
    let pod = release.pods("engine")?.pop().context("no engine")?;
    let threads = release.threads(&pod)?;
    Ok(threads.iter().filter(|name| *name == DRIVER).count())
}

#[test]
#[ignore = "needs a node: cargo xtask kubernetes"]
fn the_engine_has_as_many_processors_as_its_limit_says() -> Result<()> {
    let release = Release::install("limits", "engine: {resources: {limits: {cpu: 1}}}")?;
    assert_eq!(driver_count(&release)?, 1);

    // None of its own: those of the machine.
    release.upgrade(&["--set=engine.resources.limits.cpu=null"])?;
    let processors = available_parallelism().map_or(1, NonZero::get);
    assert_eq!(driver_count(&release)?, processors);
    Ok(())
}
