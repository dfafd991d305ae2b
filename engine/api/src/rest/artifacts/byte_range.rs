/// The part of an artifact that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// All of it. Also where the header is not understood: RFC 9110 lets a server ignore it.
    Whole,
    /// From `first` to `last`, both included.
    Part { first: u64, last: u64 },
    /// There is nothing at this place.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads the header `Range` of a request for something of `size` bytes. Of several parts
    /// none is understood.
    pub(super) fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(range) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((first, last)) = range.split_once('-') else {
            return Self::Whole;
        };
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last),
            (Some(first), None) if last.trim().is_empty() => (first, u64::MAX),
            (None, Some(length)) if first.trim().is_empty() => {
                if length == 0 {
                    return Self::Unsatisfiable;
                }
                (size.saturating_sub(length), u64::MAX)
            }
            _ => return Self::Whole,
        };
        if first >= size {
            return Self::Unsatisfiable;
        }
        let last = last.min(size - 1);
        Self::Part { first, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, last: u64) -> ByteRange {
        ByteRange::Part { first, last }
    }

    #[test]
    fn a_range_is_read_as_rfc_9110_says() {
        for (header, expected) in [
            ("bytes=0-", part(0, 99)),
            ("bytes=7-", part(7, 99)),
            ("bytes=7-7", part(7, 7)),
            ("bytes=7-500", part(7, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-500", part(0, 99)),
            ("bytes=100-", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=9-7", ByteRange::Whole),
            ("bytes=1-2,4-5", ByteRange::Whole),
            ("bytes=", ByteRange::Whole),
            ("bytes=x-", ByteRange::Whole),
            ("lines=1-2", ByteRange::Whole),
        ] {
            assert_eq!(ByteRange::parse(Some(header), 100), expected, "{header}");
        }
        assert_eq!(ByteRange::parse(None, 100), ByteRange::Whole);
        assert_eq!(
            ByteRange::parse(Some("bytes=0-"), 0),
            ByteRange::Unsatisfiable
        );
    }
}
