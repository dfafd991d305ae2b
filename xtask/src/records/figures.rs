//! Figures that were measured, and where.

use super::{prose, rank};

/// How a part names where its figures come from.
const SOURCES: [&str; 2] = ["--bench ", "benches/"];
/// Units in which cells of tables have figures.
const UNITS: [&str; 6] = ["µs", "ms", "s", "%", "KiB", "MiB"];
/// Cells of a part's tables that have figures: fewer are limits, rather than what was measured.
const TABLE: usize = 3;

/// The parts of a record that have figures and name no bench: a table of them, or a time in
/// microseconds, which nobody decides on.
///
/// What stands between a heading and the next one is a part. Figures in other units may be limits and
/// intervals, so prose may have them.
pub(super) fn without_bench(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (heading, lines) in parts(text) {
        let names_bench = |line: &&str| SOURCES.iter().any(|source| line.contains(source));
        let is_table = |line: &&&str| line.trim_start().starts_with('|');
        let cells = lines.iter().filter(is_table).flat_map(|row| row.split('|'));
        let is_measured = cells.filter(|cell| is_figure(cell)).count() >= TABLE
            || lines.iter().any(|line| has_figure(line, "µs"));
        if is_measured && !lines.iter().any(names_bench) {
            problems.push(format!(
                "`{heading}` has figures that were measured, and names no bench (`--bench NAME`)"
            ));
        }
    }
    problems
}

/// Each heading with the lines up to the next one.
fn parts(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut parts = vec![("", Vec::new())];
    for (_, line) in prose(text) {
        if rank(line).is_some() {
            parts.push((line, Vec::new()));
        } else if let Some((_, lines)) = parts.last_mut() {
            lines.push(line);
        }
    }
    parts
}

/// Whether a cell holds a figure with its unit.
fn is_figure(cell: &str) -> bool {
    UNITS.iter().any(|unit| has_figure(cell, unit))
}

/// Whether a text has a number right before this unit.
fn has_figure(text: &str, unit: &str) -> bool {
    text.match_indices(unit).any(|(at, _)| {
        let (before, after) = text.split_at(at);
        let after = after.strip_prefix(unit).unwrap_or_default();
        let ends = !after.starts_with(|next: char| next.is_alphanumeric());
        ends && before
            .trim_end()
            .ends_with(|last: char| last.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_need_a_bench_in_their_part() {
        let table = "| a step | 1.2 ms | 40 % |\n| another | 3 ms | - |\n";
        let with = format!("## A\n\nBy `cargo bench --bench durable`:\n\n{table}");
        assert_eq!(without_bench(&with), Vec::<String>::new());
        let elsewhere = format!("## A\n\nBy `--bench durable`.\n\n### B\n\n{table}");
        let found = without_bench(&elsewhere);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("`### B`"), "{found:?}");
        let prose = "## A\n\n- A step takes 178 to 192 µs.\n";
        assert_eq!(without_bench(prose).len(), 1);
        let named = format!("{prose}\nSee `tests/benches/durable.rs`.\n");
        assert_eq!(without_bench(&named), Vec::<String>::new());
    }

    #[test]
    fn limits_are_no_figures_that_were_measured() {
        let text = "## A\n\nIt waits for 30 s, and asks every 50 ms.\n\n| a limit | 4 MiB |\n\
                    | another | 10 models |\n```\n| 1 ms | 2 ms | 3 ms |\n```\n";
        assert_eq!(without_bench(text), Vec::<String>::new());
    }
}
