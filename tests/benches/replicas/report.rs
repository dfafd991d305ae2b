use hotswap_tests::bench::{print_header, print_row};

/// The table.
pub struct Report(());

impl Report {
    /// Prints the head of the table.
    pub fn new() -> Self {
        print_header();
        Self(())
    }

    /// Prints a row: a figure and its limit, both in `unit`.
    pub fn row(&mut self, what: &str, figure: f64, limit: f64, unit: &str) {
        let ratio = figure / limit;
        let (figure, against) = (format!("{figure:.1} {unit}"), format!("{limit:.1} {unit}"));
        print_row(what, &figure, &against, ratio, 1.0);
    }
}
