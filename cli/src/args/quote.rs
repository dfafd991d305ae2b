//! Quotes of what a user typed, in errors.

/// The most characters of an argument that an error repeats.
const MAX_QUOTE: usize = 80;

/// The start of a text, which may be an argument of a hundred thousand characters.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"ü".repeat(80)), "ü".repeat(80));
        assert_eq!(shorten(&"ü".repeat(81)), format!("{}…", "ü".repeat(80)));
    }
}
