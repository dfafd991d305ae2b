use crate::Check;

/// The limits of a check, validated. Each is finite and not negative, and at least one of
/// `max` and `max_increase` is set.
#[derive(Debug, Clone)]
pub(super) struct CheckLimits {
    pub(super) max: Option<f64>,
    /// `None` also where there is no baseline: then only `max` is tested.
    pub(super) max_increase: Option<f64>,
    pub(super) min_increase: f64,
    /// The `max_increase` of the check, also where there is no baseline now.
    pub(super) asked_increase: Option<f64>,
}

impl CheckLimits {
    /// The limits of `check`.
    ///
    /// # Errors
    /// A sentence that says why the check cannot be judged. A limit that is NaN, infinite or
    /// negative is an error: to pass such a check would ignore it, and to fail it would blame
    /// the version for a fault of the strategy.
    pub(super) fn validate(check: &Check, has_baseline: bool) -> Result<Self, String> {
        let limits = [
            ("max", check.max),
            ("max-increase", check.max_increase),
            ("min-increase", check.min_increase),
        ];
        for (name, value) in limits {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(format!(
                    "{name} is {value}: use a finite number that is not negative"
                ));
            }
        }
        if check.max.is_none() && check.max_increase.is_none() {
            return Err("the check has no limit: set max, max-increase or both".to_owned());
        }
        let max_increase = check.max_increase.filter(|_| has_baseline);
        if check.max.is_none() && max_increase.is_none() {
            return Err(
                "no node runs the previous version, so there is nothing to compare with".to_owned(),
            );
        }
        Ok(Self {
            max: check.max,
            max_increase,
            min_increase: check.min_increase.unwrap_or(0.0),
            asked_increase: check.max_increase,
        })
    }
}
