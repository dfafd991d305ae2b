//! Writes the golden journals of the present release into `tests/golden`: runs each scenario, and
//! copies its journal as the engine stored it.
//!
//! Run it with `cargo xtask golden`. Named scenarios alone: `cargo xtask golden NAME…`.

mod faults;
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
    let names: Vec<String> = std::env::args().skip(1).collect();
    generate::generate(&names).await
}
