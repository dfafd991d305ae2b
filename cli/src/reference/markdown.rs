use std::fmt::Write as _;

/// Appends a table. Cells may hold Markdown. A column without any text is left out.
pub(super) fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    let is_used = |column: &usize| rows.iter().any(|row| !row[*column].is_empty());
    let columns: Vec<usize> = (0..head.len()).filter(is_used).collect();
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(columns.iter().map(|&column| head[column]).collect()));
    out.push_str(&line(columns.iter().map(|_| "---").collect()));
    for row in rows {
        let cells: Vec<_> = columns
            .iter()
            .map(|&column| row[column].replace('|', "\\|"))
            .collect();
        out.push_str(&line(cells.iter().map(String::as_str).collect()));
    }
    out.push('\n');
}

/// Appends a heading and a paragraph.
pub(super) fn heading(out: &mut String, level: usize, title: &str, text: &str) {
    let _ = writeln!(out, "{} {title}\n", "#".repeat(level));
    if !text.is_empty() {
        let _ = writeln!(out, "{text}\n");
    }
}

/// The text as code; nothing for an empty text.
pub(super) fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{text}`")
    }
}

/// The text on one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
