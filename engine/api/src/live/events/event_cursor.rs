use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A place among bare events, as `id` and `Last-Event-ID` have it: the store's epoch, and a
/// number of that; for one deployment the event's own, for all its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    epoch: String,
    pub number: u64,
}

impl Place {
    pub fn new(epoch: &str, number: u64) -> Self {
        let epoch = epoch.to_owned();
        Self { epoch, number }
    }

    /// Whether it means something in that epoch.
    pub fn is_of(&self, epoch: &str) -> bool {
        self.epoch == epoch
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.number)
    }
}

impl FromStr for Place {
    type Err = Infallible;

    /// What cannot be read is a place of no epoch: its reader begins anew, and is told so.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let read = text.split_once(':').and_then(|(epoch, number)| {
            let number = number.parse().ok()?;
            Some(Self::new(epoch, number))
        });
        Ok(read.unwrap_or(Self::new("", 0)))
    }
}
