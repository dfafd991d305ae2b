use super::TraceContext;

/// Decides which traces are recorded. All programs with the same ratio decide alike, because the
/// trace's id decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The ids below are recorded, of all 63-bit numbers.
    bound: u64,
    /// Whether what the caller decided counts.
    parent_based: bool,
}

impl Sampler {
    /// Records this share of the traces, from 0 to 1. With `parent_based`, the caller decides for
    /// traces that it began.
    pub fn new(ratio: f64, parent_based: bool) -> Self {
        // As the SDKs of OpenTelemetry do it.
        let bound = ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64;
        Self {
            bound: bound as u64,
            parent_based,
        }
    }

    /// Whether a trace that begins here is recorded.
    pub(super) fn samples_root(&self, trace_id: [u8; 16]) -> bool {
        let half: [u8; 8] = std::array::from_fn(|index| trace_id[index + 8]);
        u64::from_be_bytes(half) >> 1 < self.bound
    }

    /// Whether a trace that somebody else began is recorded.
    pub(super) fn samples(&self, parent: TraceContext) -> bool {
        if self.parent_based {
            parent.is_sampled()
        } else {
            self.samples_root(parent.trace_id())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_traces_is_the_ratio() {
        for (ratio, range) in [(0.0, 0..=0), (0.1, 800..=1200), (1.0, 10_000..=10_000)] {
            let sampler = Sampler::new(ratio, true);
            let sampled = (0..10_000).filter(|_| {
                let root = TraceContext::new_root(|id| sampler.samples_root(id));
                root.is_sampled()
            });
            let count = sampled.count();
            assert!(range.contains(&count), "{ratio}: {count}");
        }
    }

    #[test]
    fn the_caller_decides_where_it_may() {
        let sampled = TraceContext::new_root(|_| true);
        assert!(Sampler::new(0.0, true).samples(sampled));
        assert!(!Sampler::new(0.0, false).samples(sampled));
        let unsampled = TraceContext::new_root(|_| false);
        assert!(!Sampler::new(1.0, true).samples(unsampled));
        assert!(Sampler::new(1.0, false).samples(unsampled));
    }
}
