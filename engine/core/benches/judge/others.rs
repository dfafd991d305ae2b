//! The rules of other tools, as they are usually set up.

/// What one side did between two readings.
pub struct Sample {
    pub requests: u64,
    errors: u64,
    p95: f64,
    p99: f64,
    cpu: f64,
    memory: f64,
}

impl Sample {
    pub fn new<T>(nodes: &[T], measure: impl Fn(&T) -> (u64, u64, &[f64], f64, f64)) -> Self {
        let (mut requests, mut errors, mut cpu, mut memory) = (0, 0, 0.0, 0.0);
        let mut latencies = Vec::new();
        for node in nodes {
            let (of_node, failed, values, used, held) = measure(node);
            requests += of_node;
            errors += failed;
            latencies.extend_from_slice(values);
            cpu += used / nodes.len() as f64;
            memory += held / nodes.len() as f64;
        }
        latencies.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * latencies.len() as f64).ceil() as usize;
            latencies.get(rank.max(1) - 1).copied().unwrap_or(0.0)
        };
        Self {
            requests,
            errors,
            p95: at(0.95),
            p99: at(0.99),
            cpu,
            memory,
        }
    }

    fn error_rate(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }
}

/// Argo Rollouts: a success rate of at least 95 % in each reading, and `failureLimit: 3`, as in
/// the examples of its documentation.
#[derive(Default)]
pub struct Argo {
    failures: u32,
}

impl Argo {
    pub fn observe(&mut self, canary: &Sample) -> bool {
        self.failures += u32::from(canary.error_rate() > 0.05);
        self.failures > 3
    }
}

/// Flagger: a success rate of at least 99 %, 99 % of requests within 500 ms, and `threshold: 5`,
/// as in its tutorials.
#[derive(Default)]
pub struct Flagger {
    failures: u32,
}

impl Flagger {
    pub fn observe(&mut self, canary: &Sample) -> bool {
        let failed = canary.error_rate() > 0.01 || canary.p99 > 500.0;
        self.failures += u32::from(failed);
        self.failures >= 5
    }
}

/// Spinnaker's Kayenta: a Mann-Whitney test of each metric over the readings, at a confidence of
/// 98 %, at the end of a soak. With four metrics of equal weight and a score of 95 to pass, one
/// that is high fails.
#[derive(Default)]
pub struct Kayenta {
    canary: [Vec<f64>; 4],
    baseline: [Vec<f64>; 4],
}

impl Kayenta {
    pub fn observe(&mut self, canary: Sample, baseline: Sample) {
        for (metrics, sample) in [(&mut self.canary, canary), (&mut self.baseline, baseline)] {
            let values = [sample.error_rate(), sample.p95, sample.cpu, sample.memory];
            for (metric, value) in metrics.iter_mut().zip(values) {
                metric.push(value);
            }
        }
    }

    pub fn has_failed(&self) -> bool {
        let mut metrics = self.canary.iter().zip(&self.baseline);
        metrics.any(|(canary, baseline)| is_high(canary, baseline))
    }
}

/// Whether the confidence interval of the shift lies above a quarter of its estimate: the lower
/// root of the statistic is above it exactly where the statistic there is above its quantile.
fn is_high(canary: &[f64], baseline: &[f64]) -> bool {
    /// Of the standard normal distribution at 99 %.
    const Z: f64 = 2.326_348;
    let first = canary.first().copied().unwrap_or(0.0);
    if canary.iter().chain(baseline).all(|value| *value == first) {
        return false;
    }
    let mut shifts: Vec<f64> = canary
        .iter()
        .flat_map(|new| baseline.iter().map(move |old| new - old))
        .collect();
    let middle = shifts.len() / 2;
    let (_, estimate, _) = shifts.select_nth_unstable_by(middle, f64::total_cmp);
    let bound = 0.25 * estimate.abs();
    statistic(canary, baseline, bound) > Z
}

/// The normal statistic of Mann and Whitney with corrections for continuity and ties.
fn statistic(canary: &[f64], baseline: &[f64], shift: f64) -> f64 {
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let mut all: Vec<(f64, bool)> = canary.iter().map(|value| (value - shift, true)).collect();
    all.extend(baseline.iter().map(|value| (*value, false)));
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut start) = (0.0, 0.0, 0);
    while start < all.len() {
        let mut end = start + 1;
        while end < all.len() && all[end].0 == all[start].0 {
            end += 1;
        }
        let count = (end - start) as f64;
        let rank = (start + end + 1) as f64 / 2.0;
        let new = all[start..end].iter().filter(|(_, is_new)| *is_new).count();
        rank_sum += rank * new as f64;
        ties += count * count * count - count;
        start = end;
    }
    let distance = rank_sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let total = m + n;
    let variance = m * n / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    (distance - 0.5 * distance.signum()) / variance.sqrt()
}
