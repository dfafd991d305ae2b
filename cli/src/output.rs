//! Data goes to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use console::Style;
use serde::Serialize;
use serde_json::Value;

/// How standard output is written.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether to print JSON.
    pub json: bool,
    /// Whether standard output is a terminal that a person looks at.
    pub terminal: bool,
    /// Whether to use colours on standard output.
    pub colours: bool,
}

impl Output {
    /// Follows these settings and standard output. `ci` is whether this is a job of a CI
    /// service.
    pub fn new(json: bool, no_color: bool, ci: bool) -> Self {
        // Some CI services give their jobs a terminal, at which nobody looks.
        let terminal = io::stdout().is_terminal() && !ci;
        Self {
            json,
            terminal,
            colours: terminal && !no_color,
        }
    }

    /// The width of the terminal, to which long lines are wrapped. Unlimited elsewhere.
    pub fn columns(&self) -> usize {
        if self.terminal {
            usize::from(console::Term::stdout().size().1)
        } else {
            usize::MAX
        }
    }

    /// Whether a person looks on, who can end a wait.
    pub fn is_attended(&self) -> bool {
        self.terminal && !self.json
    }

    /// Prints one line of data.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn line(&self, line: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
        Ok(())
    }

    /// Prints a value as JSON, indented.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        self.line(&serde_json::to_string_pretty(value)?)
    }

    /// Prints a value as JSON on one line.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn json_line(&self, value: &impl Serialize) -> Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// Prints a table whose columns are as wide as their longest cell.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn table<const N: usize>(&self, head: [&str; N], rows: &[[String; N]]) -> Result<()> {
        for line in table(head, rows, self.colours) {
            self.line(&line)?;
        }
        Ok(())
    }
}

/// Prints a value as JSON on standard output, where a failure to print it must not hide what
/// it tells.
pub fn print_json(value: &Value) {
    let _ = writeln!(io::stdout(), "{value:#}");
}

/// Prints a message on standard error. Ignores a closed standard error: the command can
/// still do its work.
pub fn print_message(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], colours: bool) -> Vec<String> {
    let width = |text: &str| console::measure_text_width(text);
    let mut widths = head.map(width);
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = width(cell).max(*column);
        }
    }
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, column)| {
            format!("{cell}{}", " ".repeat(column.saturating_sub(width(cell))))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(head);
    let head = if colours {
        Style::new()
            .bold()
            .force_styling(true)
            .apply_to(head)
            .to_string()
    } else {
        head
    };
    let rows = rows
        .iter()
        .map(|row| line(std::array::from_fn(|cell| row[cell].as_str())));
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [
            ["a".to_owned(), "running".to_owned()],
            ["long-name".to_owned(), "✔".to_owned()],
        ];
        assert_eq!(
            table(["ID", "STATUS"], &rows, false),
            ["ID         STATUS", "a          running", "long-name  ✔"]
        );
    }
}
