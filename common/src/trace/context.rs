use std::fmt;
use std::str::FromStr;

/// The name of the header that carries a trace context.
pub const TRACEPARENT: &str = "traceparent";

/// The length of version 00, in bytes.
const LENGTH: usize = 55;

/// Which trace something belongs to, and which span caused it: a W3C `traceparent`.
///
/// Displayed and parsed as version 00 of the header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
}

/// A text is no `traceparent`. Ignore it: a broken trace is no reason to reject a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no W3C traceparent: use 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct InvalidTraceParent;

impl TraceContext {
    /// A new trace.
    pub fn new_root(sampled: impl FnOnce([u8; 16]) -> bool) -> Self {
        // Zero is not valid.
        let trace_id = fastrand::u128(1..).to_be_bytes();
        Self {
            trace_id,
            span_id: random_span_id(),
            sampled: sampled(trace_id),
        }
    }

    /// The same trace, with a new span.
    pub(super) fn new_child(self, sampled: bool) -> Self {
        Self {
            span_id: random_span_id(),
            sampled,
            ..self
        }
    }

    /// The same trace and span, with this decision on whether the trace is recorded.
    pub(super) fn sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }

    /// The same trace, with the span that everybody who knows `number` would name: another process
    /// can link to it without having been told.
    #[must_use]
    pub fn numbered(self, number: u64) -> Self {
        let half: [u8; 8] = std::array::from_fn(|index| self.trace_id[index + 8]);
        let span_id = mix(u64::from_be_bytes(half) ^ mix(number)).max(1);
        Self {
            span_id: span_id.to_be_bytes(),
            ..self
        }
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The ids as they stand in logs: of the trace, and of the span.
    pub fn ids(&self) -> (impl fmt::Display + use<>, impl fmt::Display + use<>) {
        (Hex(self.trace_id), Hex(self.span_id))
    }
}

/// Spreads a number over all bits: the finaliser of SplitMix64.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn random_span_id() -> [u8; 8] {
    fastrand::u64(1..).to_be_bytes()
}

struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Requests wait for this: no machinery of formats for each byte.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut put = |at: usize, bytes: &[u8]| {
            for (index, byte) in bytes.iter().enumerate() {
                text[at + 2 * index] = DIGITS[usize::from(byte >> 4)];
                text[at + 2 * index + 1] = DIGITS[usize::from(byte & 0xf)];
            }
        };
        put(3, &self.trace_id);
        put(36, &self.span_id);
        put(53, &[u8::from(self.sampled)]);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceParent;

    /// Reads version 00, and of later versions what version 00 knows.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(LENGTH).ok_or(InvalidTraceParent)?;
        let [version] = hex(&known[..2])?;
        let has_dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let may_end = match version {
            0 => rest.is_empty(),
            u8::MAX => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let trace_id: [u8; 16] = hex(&known[3..35])?;
        let span_id: [u8; 8] = hex(&known[36..52])?;
        let [flags] = hex(&known[53..])?;
        if !has_dashes || !may_end || trace_id == [0; 16] || span_id == [0; 8] {
            return Err(InvalidTraceParent);
        }
        Ok(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// Reads lower-case digits, two for each byte.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], InvalidTraceParent> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidTraceParent),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_and_written_alike() {
        let context: TraceContext = VALID.parse().unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), VALID);
        let (trace, span) = context.ids();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.to_string(), "00f067aa0ba902b7");
        for _ in 0..1000 {
            let root = TraceContext::new_root(|_| fastrand::bool());
            assert_eq!(root.to_string().parse(), Ok(root));
        }
        let later = VALID.replacen("00", "01", 1) + "-more";
        assert_eq!(later.parse(), Ok(context), "of a later version");
    }

    #[test]
    fn what_is_not_well_formed_is_no_context() {
        for invalid in [
            "",
            "00-4b-00-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            let parsed: Result<TraceContext, _> = invalid.parse();
            assert_eq!(parsed, Err(InvalidTraceParent), "{invalid}");
        }
    }

    #[test]
    fn a_number_names_the_same_span_everywhere() {
        let context: TraceContext = VALID.parse().unwrap();
        let elsewhere = context.new_child(true);
        assert_eq!(
            context.numbered(7).span_id(),
            elsewhere.numbered(7).span_id()
        );
        assert_ne!(context.numbered(7).span_id(), context.numbered(8).span_id());
        assert_eq!(context.numbered(7).trace_id(), context.trace_id());
    }
}
