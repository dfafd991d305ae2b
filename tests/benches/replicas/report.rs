use anyhow::{Result, ensure};
use hotswap_tests::bench::{print_header, print_row};

/// The table, and the promises that were missed.
pub struct Report {
    missed: Vec<String>,
}

impl Report {
    /// Prints the head of the table.
    pub fn new() -> Self {
        print_header();
        Self { missed: Vec::new() }
    }

    /// Prints a row: a figure and its limit, both in `unit`.
    pub fn row(&mut self, what: &str, figure: f64, limit: f64, unit: &str) {
        let ratio = figure / limit;
        let (figure, against) = (format!("{figure:.1} {unit}"), format!("{limit:.1} {unit}"));
        print_row(what, &figure, &against, ratio, 1.0);
        if ratio.is_nan() || ratio > 1.0 {
            self.missed
                .push(format!("{what}: {figure}, limit {against}"));
        }
    }

    /// # Errors
    /// If a promise was missed.
    pub fn check(&self) -> Result<()> {
        ensure!(self.missed.is_empty(), "missed: {}", self.missed.join("; "));
        Ok(())
    }
}
