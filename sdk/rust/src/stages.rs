//! Progress reports, stage by stage.

use crate::Control;

/// Reports stages one after the other. Each is worth the same share of 100.
/// [`Control::stages`] makes one.
///
/// ```
/// use hotswap_sdk::testing::ScriptedFleet;
///
/// let script = ScriptedFleet::new(3);
/// let control = script.control();
/// let mut stages = control.stages(3);
/// stages.begin("warm up");
/// stages.next("batch");
/// stages.next("batch");
/// assert_eq!(
///     script.stages(),
///     [
///         ("warm up".to_owned(), 0),
///         ("batch 2 of 3".to_owned(), 33),
///         ("batch 3 of 3".to_owned(), 66),
///     ]
/// );
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

    /// Begins the next stage, with this name.
    pub fn begin(&mut self, name: impl AsRef<str>) {
        let percent = (self.begun * 100 / self.total).min(100);
        self.control
            .progress(name, u8::try_from(percent).unwrap_or(100));
        self.begun += 1;
    }

    /// Begins the next stage, named after its number: `batch 2 of 5`.
    pub fn next(&mut self, noun: &str) {
        self.begin(format!("{noun} {} of {}", self.begun + 1, self.total));
    }
}
