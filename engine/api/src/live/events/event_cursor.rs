use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// The id of an event in a stream, as in `id` and `Last-Event-ID`. Written `epoch:number`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventCursor {
    /// The epoch of the store.
    epoch: String,
    /// For one deployment, the event's sequence number; for all deployments, its position in
    /// the store.
    pub number: u64,
}

impl EventCursor {
    pub fn new(epoch: &str, number: u64) -> Self {
        let epoch = epoch.to_owned();
        Self { epoch, number }
    }

    /// Whether the number is of the store with this epoch.
    pub fn is_of_epoch(&self, epoch: &str) -> bool {
        self.epoch == epoch
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.number)
    }
}

impl FromStr for EventCursor {
    type Err = Infallible;

    /// Text that is not a cursor becomes a cursor of no store: its reader starts over, and
    /// sends a reset first.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let parsed = text.split_once(':').and_then(|(epoch, number)| {
            let number = number.parse().ok()?;
            Some(Self::new(epoch, number))
        });
        Ok(parsed.unwrap_or(Self::new("", 0)))
    }
}
