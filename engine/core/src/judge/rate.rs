use super::limits::Limits;
use super::side::Side;
use super::{Outcome, Seen, tail, words};

/// An error rate that must not be missed: enough was seen where this share, on the new
/// version alone, would have been found.
const NOTICEABLE: f64 = 0.10;

/// Requests of each side below which even the plainest difference says little of the rest.
const LEAST: u64 = 50;

/// Judges the share of requests that failed.
pub(super) fn test(canary: &Side, baseline: &Side, limits: &Limits) -> (Seen, Vec<Outcome>) {
    let (new, old) = (Rate::of(canary), Rate::of(baseline));
    let seen = Seen {
        canary: new.share(),
        baseline: old.share(),
        canary_samples: new.requests,
        baseline_samples: old.requests,
    };
    let absolute = limits.max.map(|max| against_max(new, max, limits));
    let relative = limits
        .max_increase
        .map(|increase| against_baseline(new, old, increase, limits));
    (seen, absolute.into_iter().chain(relative).collect())
}

/// Requests of one side, and how many of them failed.
#[derive(Clone, Copy)]
struct Rate {
    requests: u64,
    errors: u64,
}

impl Rate {
    /// The counters are not read at one instant: an error may be counted before its request.
    fn of(side: &Side) -> Self {
        Self {
            requests: side.requests,
            errors: side.errors.min(side.requests),
        }
    }

    fn share(self) -> Option<f64> {
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }

    fn told(self) -> String {
        format!(
            "{} of {} requests failed ({})",
            words::count(self.errors),
            words::count(self.requests),
            words::percent(self.share().unwrap_or(0.0))
        )
    }
}

fn against_max(new: Rate, max: f64, limits: &Limits) -> Outcome {
    let told = new.told();
    let allowed = words::percent(max);
    if tail::binomial(new.requests, max, new.errors) < limits.chance {
        return Outcome::Broken(format!(
            "{told}: more than the {allowed} allowed, and {}",
            limits.certainty()
        ));
    }
    let needed = needed_for_max(max, limits.chance);
    if new.requests < needed {
        return Outcome::TooFew(format!(
            "the new version answered {}; {} are needed to tell",
            words::requests(new.requests),
            words::count(needed)
        ));
    }
    Outcome::Held(format!(
        "{told}: no certain sign of more than the {allowed} allowed"
    ))
}

/// The fewest requests in which a rate [`NOTICEABLE`] above `max` would be found. Where
/// there is no room for such a rate, a limit can hardly be broken, and the floor suffices.
fn needed_for_max(max: f64, chance: f64) -> u64 {
    let bad = max + NOTICEABLE;
    if bad >= 1.0 {
        return LEAST;
    }
    let found = |n: u64| tail::binomial(n, max, (n as f64 * bad).floor() as u64) < chance;
    // At the widest spread, a half, the answer is below 400: the end is never reached.
    (LEAST..1_000).find(|&n| found(n)).unwrap_or(1_000)
}

/// The conditional test of two Poisson rates (Przyborowski and Wilenski, "Homogeneity of
/// results in testing samples from Poisson series", 1940): given the errors of both
/// sides together, those of the new version are at most binomial with `share` where its
/// rate is at most `1 + increase` times the other.
fn against_baseline(new: Rate, old: Rate, increase: f64, limits: &Limits) -> Outcome {
    let told = format!(
        "{} against {} of {} ({}) on the version before",
        new.told(),
        words::count(old.errors),
        words::count(old.requests),
        words::percent(old.share().unwrap_or(0.0))
    );
    let allowed = words::percent(increase);
    let share = share_of_errors(new, old, increase);
    let together = new.errors.saturating_add(old.errors);
    let broken = tail::binomial(together, share, new.errors) < limits.chance;
    let rise = new.share().unwrap_or(0.0) - old.share().unwrap_or(0.0);
    if broken && rise >= limits.min_increase {
        return Outcome::Broken(format!(
            "{told}: more than the {allowed} rise allowed, and {}",
            limits.certainty()
        ));
    }
    if let Some(needed) = needed(new, old, share, limits.chance) {
        return Outcome::TooFew(needed);
    }
    if broken {
        return Outcome::Held(format!(
            "{told}: a rise of less than {}, which is never a failure",
            words::percent(limits.min_increase)
        ));
    }
    Outcome::Held(format!(
        "{told}: no certain sign of more than the {allowed} rise allowed"
    ))
}

/// The share of all errors that the new version may have; 1 where nothing was seen of the old.
fn share_of_errors(new: Rate, old: Rate, increase: f64) -> f64 {
    if old.requests == 0 {
        return 1.0;
    }
    // So written, an increase without end is a share of all.
    let weight = (1.0 + increase) * new.requests as f64;
    1.0 / (1.0 + old.requests as f64 / weight)
}

/// The sentence that says how many requests are needed, where that is more than were
/// seen. With no error on the old version, k on the new one are found where share^k is
/// below the chance; [`NOTICEABLE`] makes them of so many requests. The split between
/// the sides is taken to stay as it is.
fn needed(new: Rate, old: Rate, share: f64, chance: f64) -> Option<String> {
    let seen = format!(
        "the new version answered {} and the version before {}",
        words::requests(new.requests),
        words::count(old.requests)
    );
    if new.requests == 0 || old.requests == 0 || share <= 0.0 || share >= 1.0 {
        let least = format!("at least {LEAST} of each are needed to tell");
        return Some(format!("{seen}; {least}"));
    }
    let errors = (chance.ln() / share.ln()).ceil();
    let (n1, n0) = (new.requests as f64, old.requests as f64);
    let least = LEAST as f64;
    let times = (errors / NOTICEABLE / n1).max(least / n1).max(least / n0);
    (times > 1.0).then(|| {
        let of = |n: f64| words::count((n * times).ceil() as u64);
        let (n1, n0) = (of(n1), of(n0));
        format!("{seen}; as they are split, {n1} and {n0} are needed to tell")
    })
}
