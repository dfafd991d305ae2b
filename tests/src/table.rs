use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One row of a bench's table: what was measured, the limit, and their ratio.
pub fn row(what: &str, measured: &str, limit: &str, ratio: f64, at_most: f64) {
    let verdict = if ratio <= at_most { "met" } else { "MISSED" };
    println!(
        "| {what:<46} | {measured:>16} | {limit:>26} | {ratio:>6.2} | {at_most:>6.2} | {verdict:<6} |"
    );
}

/// The head of the table; ratios at most as given in the fifth column are met.
pub fn head() {
    println!(
        "| {:<46} | {:>16} | {:>26} | {:>6} | {:>6} | {:<6} |",
        "what", "measured", "against", "ratio", "goal", ""
    );
    println!(
        "|{:-<48}|{:->18}|{:->28}|{:->8}|{:->8}|{:-<8}|",
        "", "", "", "", "", ""
    );
}

/// Runs this program again for each of `sections`, so that none has the memory and the
/// caches of another.
///
/// # Errors
/// Where a section fails.
pub fn apart(sections: &[&str]) -> Result<()> {
    let program = std::env::current_exe()?;
    for section in sections {
        let status = Command::new(&program).env("SECTION", section).status()?;
        ensure!(status.success(), "section {section} failed");
    }
    Ok(())
}

/// The section that this process is to run; none in the first process.
pub fn section() -> Option<String> {
    std::env::var("SECTION").ok()
}

/// The memory of this process, in bytes.
///
/// # Errors
/// Where the system does not tell it.
pub fn resident() -> Result<u64> {
    resident_of("self")
}

/// The memory of a process, in bytes: `VmRSS` of its `/proc/<process>/status`.
///
/// # Errors
/// Where the system does not tell it.
pub fn resident_of(process: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// The middle one of some measurements.
pub fn median(mut measured: Vec<f64>) -> f64 {
    measured.sort_by(f64::total_cmp);
    measured
        .get(measured.len() / 2)
        .copied()
        .unwrap_or(f64::NAN)
}
