//! Resource usage of this process, as the operating system reports it.

use rustix::time::{ClockId, clock_gettime};

/// CPU time that the process has used, in milliseconds.
pub(crate) fn cpu_millis() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(used.tv_nsec).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}

/// Resident memory of the process, in bytes. 0 if the system does not report it.
pub(crate) fn memory_bytes() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_increases_with_work() {
        let before = cpu_millis();
        let mut sum = 0_u64;
        while cpu_millis() < before + 5 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(memory_bytes() > 1 << 20);
    }
}
