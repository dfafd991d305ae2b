//! Writes the golden journals of the present release into `tests/golden`: runs each scenario, and
//! copies its journal as the engine stored it.
//!
//! Run it with `cargo xtask golden`.

mod faulty_fleet;
#[allow(
    dead_code,
    reason = "only the test that reads the journals uses all of it"
)]
mod files;
mod generate;
#[allow(
    dead_code,
    reason = "only the test that reads the journals uses all of it"
)]
mod scenarios;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    generate::generate().await
}
