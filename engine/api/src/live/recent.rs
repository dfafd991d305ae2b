use std::collections::VecDeque;

use super::offset::Offset;
use super::tell::Told;

/// The last messages, as many as are worth keeping.
#[derive(Debug)]
pub(super) struct Recent {
    told: VecDeque<Told>,
    most: usize,
    /// Everything after this place is here.
    from: Offset,
    /// The place of the last message.
    last: Offset,
}

impl Recent {
    /// Nothing yet, after this place.
    pub fn new(most: usize, from: Offset) -> Self {
        Self {
            told: VecDeque::new(),
            most,
            from,
            last: from,
        }
    }

    pub fn push(&mut self, told: Told) {
        self.last = told.offset;
        self.told.push_back(told);
        if self.told.len() > self.most
            && let Some(first) = self.told.pop_front()
        {
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
        let mut recent = Recent::new(3, Offset::after(0));
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
}
