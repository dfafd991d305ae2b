use std::io::{self, Write as _};

use console::Term;

/// A picture on the terminal, which the next one replaces.
pub struct Screen {
    term: Term,
    drawn_lines: usize,
}

impl Screen {
    /// Draws nothing yet. Hides the cursor until the screen is dropped.
    pub fn new() -> Self {
        let term = Term::stdout();
        let _ = term.hide_cursor();
        Self {
            term,
            drawn_lines: 0,
        }
    }

    /// The lines that a picture may have: all but one, which the cursor needs.
    pub fn rows(&self) -> usize {
        usize::from(self.term.size().0).saturating_sub(1).max(10)
    }

    /// The columns that a line may have.
    pub fn columns(&self) -> usize {
        usize::from(self.term.size().1).max(20)
    }

    /// Replaces the picture. Everything is written at once, and each line over the old one,
    /// so that nothing flickers.
    ///
    /// # Errors
    /// Where the terminal is closed.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        // Lines that have scrolled away cannot be replaced.
        let lines = &lines[..lines.len().min(self.rows())];
        self.write(lines, self.columns())
    }

    /// Draws the last picture, with all its lines.
    ///
    /// # Errors
    /// Where the terminal is closed.
    pub fn finish(mut self, lines: &[String]) -> io::Result<()> {
        self.write(lines, usize::MAX)
    }

    fn write(&mut self, lines: &[String], columns: usize) -> io::Result<()> {
        let mut text = String::new();
        if self.drawn_lines > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn_lines));
        }
        for line in lines {
            // A line that the terminal wraps would count as two when the next picture
            // replaces it. Only a single word can be that long.
            text.push_str(&console::truncate_str(line, columns, "…"));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn_lines = lines.len();
        self.term.write_all(text.as_bytes())?;
        self.term.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.term.show_cursor();
    }
}
