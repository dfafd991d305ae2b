//! A picture on the terminal that takes the place of the one before.

use std::io::{self, Write as _};

use console::Term;

/// The lines that stand on the terminal now.
pub struct Screen {
    term: Term,
    drawn: usize,
}

impl Screen {
    /// Nothing is drawn yet; the cursor goes while something is.
    pub fn new() -> Self {
        let term = Term::stdout();
        let _ = term.hide_cursor();
        Self { term, drawn: 0 }
    }

    /// Lines that there is room for, with one for the cursor.
    pub fn rows(&self) -> usize {
        usize::from(self.term.size().0).saturating_sub(1).max(10)
    }

    /// Draws the picture in the place of the one before. It is written at once, and
    /// each line over the old one, so that nothing flickers.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        // What has scrolled away could not be drawn over.
        let lines = &lines[..lines.len().min(self.rows())];
        self.put(lines, usize::from(self.term.size().1).max(20))
    }

    fn put(&mut self, lines: &[String], columns: usize) -> io::Result<()> {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        for line in lines {
            // A line that wraps would be two when the next picture goes up over it.
            text.push_str(&console::truncate_str(line, columns, "…"));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        self.term.write_all(text.as_bytes())?;
        self.term.flush()
    }

    /// Draws the last picture, with its long lines whole: nothing goes over it.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub fn finish(mut self, lines: &[String]) -> io::Result<()> {
        self.put(lines, usize::MAX)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.term.show_cursor();
    }
}
