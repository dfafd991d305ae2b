//! Progress, stage by stage.

use crate::Control;

/// Reports stages one after the other, each worth the same share of 100.
///
/// ```
/// use hotswap_sdk::Control;
///
/// fn rows(control: &Control, rows: &[&str]) {
///     let mut stages = control.stages(rows.len());
///     for _row in rows {
///         stages.next("row"); // "row 1 of 3" at 0 %, "row 2 of 3" at 33 % …
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Stages<'a> {
    control: &'a Control,
    begun: usize,
    total: usize,
}

impl<'a> Stages<'a> {
    pub(crate) fn new(control: &'a Control, total: usize) -> Self {
        Self {
            control,
            begun: 0,
            total: total.max(1),
        }
    }

    /// Begin the next stage, by its own name.
    pub fn begin(&mut self, name: impl AsRef<str>) {
        let percent = (self.begun * 100 / self.total).min(100);
        self.control
            .progress(name, u8::try_from(percent).unwrap_or(100));
        self.begun += 1;
    }

    /// Begin the next stage, by its number: `batch 2 of 5`.
    pub fn next(&mut self, noun: &str) {
        self.begin(format!("{noun} {} of {}", self.begun + 1, self.total));
    }
}
