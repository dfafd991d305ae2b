use std::collections::VecDeque;

use hotswap_signalr::Capacity;

use super::offset::Offset;
use super::tell::Told;

/// The last messages, as many as are worth keeping.
#[derive(Debug)]
pub(super) struct Recent {
    told: VecDeque<Told>,
    bytes: usize,
    kept: Kept,
    /// Everything after this place is here.
    from: Offset,
    /// The place of the last message.
    last: Offset,
}

/// How many are worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub messages: usize,
    /// In JSON.
    pub bytes: usize,
}

impl Kept {
    /// Half of what may wait for one client: a replay leaves room for what happens
    /// meanwhile. Were it more, whoever came back for it would be closed again each time.
    pub fn of(capacity: &Capacity) -> Self {
        Self {
            messages: capacity.records / 2,
            bytes: capacity.bytes / 2,
        }
    }
}

impl Recent {
    /// Nothing yet, after this place.
    pub fn new(kept: Kept, from: Offset) -> Self {
        Self {
            told: VecDeque::new(),
            bytes: 0,
            kept,
            from,
            last: from,
        }
    }

    pub fn push(&mut self, told: Told) {
        self.last = told.offset;
        self.bytes += told.event.size();
        self.told.push_back(told);
        while (self.told.len() > self.kept.messages || self.bytes > self.kept.bytes)
            && let Some(first) = self.told.pop_front()
        {
            self.bytes -= first.event.size();
            self.from = first.offset;
        }
    }

    /// The place of the last message.
    pub fn last(&self) -> Offset {
        self.last
    }

    /// All messages after this place; nothing where some of them are not here any more, or
    /// nobody can have seen it.
    pub fn after(&self, seen: Offset) -> Option<impl Iterator<Item = &Told>> {
        let whole = self.from <= seen && seen <= self.last;
        let first = self.told.partition_point(|told| told.offset <= seen);
        whole.then(|| self.told.range(first..))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(messages: usize, bytes: usize) -> Kept {
        Kept { messages, bytes }
    }

    fn told(position: u64) -> Told {
        Told {
            offset: Offset::after(position),
            target: "x",
            event: hotswap_signalr::Event::new("x", json!(position)),
        }
    }

    fn positions(recent: &Recent, seen: u64) -> Option<Vec<String>> {
        let after = recent.after(Offset::after(seen))?;
        Some(after.map(|told| told.offset.to_string()).collect())
    }

    #[test]
    fn tells_all_or_nothing() {
        let mut recent = Recent::new(kept(3, usize::MAX), Offset::after(0));
        assert_eq!(positions(&recent, 0), Some(vec![]));
        for position in [2, 5, 6] {
            recent.push(told(position));
        }
        let all = ["2", "5", "6"].map(str::to_owned).to_vec();
        assert_eq!(positions(&recent, 0), Some(all));
        recent.push(told(9));
        assert_eq!(positions(&recent, 0), None, "2 is gone");
        assert_eq!(positions(&recent, 2).unwrap(), ["5", "6", "9"]);
        assert_eq!(positions(&recent, 6).unwrap(), ["9"]);
        assert_eq!(positions(&recent, 9), Some(vec![]));
        assert_eq!(positions(&recent, 10), None, "nobody was told that");
    }

    #[test]
    fn keeps_no_more_bytes_than_can_be_told_at_once() {
        let size = told(1).event.size();
        let mut recent = Recent::new(kept(usize::MAX, 2 * size), Offset::after(0));
        for position in [1, 2, 3] {
            recent.push(told(position));
        }
        assert_eq!(positions(&recent, 0), None, "1 is gone");
        assert_eq!(positions(&recent, 1).unwrap(), ["2", "3"]);
        let event = hotswap_signalr::Event::new("x", json!("x".repeat(2 * size)));
        let offset = Offset::after(4);
        let target = "x";
        recent.push(Told {
            offset,
            target,
            event,
        });
        assert_eq!(
            positions(&recent, 3),
            None,
            "4 is larger than all that is kept"
        );
        assert_eq!(positions(&recent, 4), Some(vec![]));
        recent.push(told(5));
        assert_eq!(positions(&recent, 4).unwrap(), ["5"]);
    }
}
