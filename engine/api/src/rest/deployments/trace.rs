/// Whether a text is a W3C `traceparent` of version 00. Callers ignore other texts: a broken
/// trace is no reason to reject a deployment.
pub(super) fn is_trace_parent(text: &str) -> bool {
    let is_hex = |part: &str| {
        part.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<_> = text.split('-').collect();
    matches!(&*parts, [version, trace, parent, flags]
        if *version == "00" && trace.len() == 32 && parent.len() == 16 && flags.len() == 2
            && is_hex(trace) && is_hex(parent) && is_hex(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_parent_is_recognised() {
        assert!(is_trace_parent(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        for invalid in [
            "",
            "00-4b-00-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_trace_parent(invalid), "{invalid}");
        }
    }
}
