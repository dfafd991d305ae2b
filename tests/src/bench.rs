use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The unit of times in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The rows of this process that missed their goals.
static MISSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Prints the head of the table. A row meets its goal if its ratio is at most the goal.
pub fn print_header() {
    println!(
        "| {:<46} | {:>16} | {:>26} | {:>6} | {:>6} | {:<6} |",
        "what", "measured", "against", "ratio", "goal", ""
    );
    println!(
        "|{:-<48}|{:->18}|{:->28}|{:->8}|{:->8}|{:-<8}|",
        "", "", "", "", "", ""
    );
}

/// Prints one row: what was measured, what it is compared with, and their ratio. End the bench
/// with [`check_goals`].
pub fn print_row(what: &str, measured: &str, limit: &str, ratio: f64, goal: f64) {
    let verdict = judge(what, ratio, goal);
    println!(
        "| {what:<46} | {measured:>16} | {limit:>26} | {ratio:>6.2} | {goal:>6.2} | {verdict:<6} |"
    );
}

/// Whether a figure meets its goal, in a word for the table. One that misses it, or that is no
/// number, is remembered for [`check_goals`].
pub fn judge(what: &str, figure: f64, goal: f64) -> &'static str {
    if figure <= goal {
        return "met";
    }
    let mut missed = MISSED.lock().unwrap_or_else(PoisonError::into_inner);
    missed.push(format!(
        "{what}: {figure:.2}, and at most {goal:.2} is allowed"
    ));
    "MISSED"
}

/// The end of every bench, after all rows.
///
/// # Errors
/// Names the rows that missed their goals, so that the program fails.
pub fn check_goals() -> Result<()> {
    let missed = MISSED.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// Runs this program once for each of `sections`, also after one that failed. A process for each,
/// so that no section inherits the memory and the caches of another.
///
/// # Errors
/// Names the sections that failed.
pub fn run_each_section(sections: &[&str]) -> Result<()> {
    let program = std::env::current_exe()?;
    let mut failed = Vec::new();
    for section in sections {
        let status = Command::new(&program).env("SECTION", section).status()?;
        if !status.success() {
            failed.push(*section);
        }
    }
    ensure!(failed.is_empty(), "sections failed: {}", failed.join(", "));
    Ok(())
}

/// The section that this process shall run. `None` in the first process.
pub fn current_section() -> Option<String> {
    std::env::var("SECTION").ok()
}

/// The resident memory of this process, in bytes.
///
/// # Errors
/// If the system does not report it.
pub fn resident_memory() -> Result<u64> {
    resident_memory_of("self")
}

/// The resident memory of a process, in bytes.
///
/// # Errors
/// If the system does not report it.
pub fn resident_memory_of(process: &str) -> Result<u64> {
    read_memory(process, "VmRSS")
}

/// The most resident memory that this process has had so far, in bytes.
///
/// # Errors
/// If the system does not report it.
pub fn peak_memory() -> Result<u64> {
    read_memory("self", "VmHWM")
}

/// A field of `/proc/<process>/status` in kilobytes, as bytes.
fn read_memory(process: &str, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let lines = status.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = values
        .next()
        .and_then(|value| value.split_whitespace().next())
        .with_context(|| format!("no {field}"))?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// Raises the limit of open files for this process, and for those that it starts, which inherit it.
///
/// # Errors
/// If the system does not allow so many.
pub fn raise_open_files(needed: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    ensure!(
        enough(maximum),
        "a process may open {} files, but this bench needs {needed}: raise `ulimit -Hn`",
        maximum.unwrap_or_default()
    );
    if !enough(current) {
        let current = maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    }
    Ok(())
}

/// The CPU time that another process has used so far, of all its threads, in seconds.
///
/// # Errors
/// If the system does not report it.
pub fn cpu_seconds_of(process: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold any character, so parse after it. Field 3 is the state;
    // utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) / TICKS_PER_SECOND),
        _ => bail!("no times in {stat}"),
    }
}

/// The CPU time that this process has used so far, of all its threads.
pub fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Sends a request `times` times, one after the other. Returns the microseconds of one.
///
/// # Errors
/// If one fails or is refused, or if the body of the request cannot be sent again.
pub async fn micros_per_request(request: &reqwest::RequestBuilder, times: u32) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        let request = request.try_clone().context("a body that is a stream")?;
        request.send().await?.error_for_status()?.bytes().await?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(times))
}

/// The median of the ratios of each round, so that what slows a whole round down cancels out.
pub fn median_ratio(with: &[f64], without: &[f64]) -> f64 {
    let rounds = with.iter().zip(without);
    median(rounds.map(|(with, without)| with / without).collect())
}

/// The median; the upper one of two. NaN for no samples.
pub fn median(samples: Vec<f64>) -> f64 {
    quantile(&samples, 0.5)
}

/// The sample below which this share of them lies. NaN for no samples.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let place = (samples.len() as f64 * share) as usize;
    samples.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_fails_once_a_row_has_missed_its_goal() {
        print_row("at its goal", "", "", 1.0, 1.0);
        check_goals().expect("all goals are met");
        print_row("beyond it", "", "", 1.1, 1.0);
        print_row("not measured", "", "", f64::NAN, 1.0);
        let missed = check_goals().expect_err("two are missed").to_string();
        assert!(
            missed.contains("beyond it: 1.10, and at most 1.00"),
            "{missed}"
        );
        assert!(missed.contains("not measured"), "{missed}");
        assert!(!missed.contains("at its goal"), "{missed}");
    }
}
