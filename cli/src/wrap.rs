/// Breaks a text at spaces into lines of at most `columns`. Lines after the first begin with
/// `indent`. A single longer word stays whole.
pub fn wrap(text: &str, columns: usize, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    // Whether the line has more than leading spaces, so that it can end here.
    let mut has_word = false;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            let width = console::measure_text_width(&line) + 1;
            if has_word && width + console::measure_text_width(word) > columns {
                lines.push(std::mem::replace(&mut line, indent.to_owned()));
                has_word = false;
            } else if has_word || lines.is_empty() {
                line.push(' ');
            }
        }
        line.push_str(word);
        has_word |= !word.is_empty();
    }
    if has_word || lines.is_empty() {
        lines.push(line);
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_between_words_and_indents_what_follows() {
        assert_eq!(
            wrap("  ✘ fail: error-rate: 9.8 % of requests", 20, "    "),
            ["  ✘ fail:", "    error-rate: 9.8", "    % of requests"]
        );
    }

    #[test]
    fn a_text_that_fits_is_unchanged() {
        for text in ["", "a", "  a  b   c"] {
            assert_eq!(wrap(text, 10, "  "), [text]);
        }
    }

    #[test]
    fn a_longer_word_stays_whole() {
        assert_eq!(
            wrap("a 01890a5d-ac96-774b b", 8, "  "),
            ["a", "  01890a5d-ac96-774b", "  b"]
        );
    }

    #[test]
    fn no_line_is_too_wide() {
        let text = "one  two three ✔ four five  six";
        for columns in 7..40 {
            for line in wrap(text, columns, "  ") {
                assert!(console::measure_text_width(&line) <= columns, "{line}");
            }
        }
    }
}
