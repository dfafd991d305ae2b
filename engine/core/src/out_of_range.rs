use std::fmt::Display;
use std::ops::RangeInclusive;

/// A value that is outside its range. Its `Display` names the key, the value and the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; use {first} to {last}")]
pub struct OutOfRange {
    /// The name of the value, as the configuration spells it.
    pub key: &'static str,
    value: String,
    first: String,
    last: String,
}

impl OutOfRange {
    /// Checks that `value` is in `range`.
    ///
    /// # Errors
    /// [`OutOfRange`] if it is not. `show` makes the texts of the value and of the range.
    pub fn check<T: PartialOrd, D: Display>(
        key: &'static str,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> D,
    ) -> Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        let range = show(range.start())..=show(range.end());
        Err(Self::new(key, &show(&value), &range))
    }

    /// The error of a value that is not in `range`.
    pub fn new<D: Display>(key: &'static str, value: &D, range: &RangeInclusive<D>) -> Self {
        Self {
            key,
            value: value.to_string(),
            first: range.start().to_string(),
            last: range.end().to_string(),
        }
    }
}
