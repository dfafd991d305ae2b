use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// Size of a character, in pixels, at a font size of 14.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 19.0;
/// Space around the text, in pixels.
const MARGIN: f32 = 16.0;
const BACKGROUND: &str = "#0d1117";
const FOREGROUND: &str = "#e6edf3";
/// The sixteen colours of a terminal: dark, then bright.
const PALETTE: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4",
    "#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];

/// The screen as an SVG document. Empty rows at the end are left out.
pub fn render(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let mut rows: Vec<Vec<Run>> = (0..rows).map(|row| runs(screen, row, columns)).collect();
    while rows.last().is_some_and(Vec::is_empty) {
        rows.pop();
    }
    let width = f32::from(columns).mul_add(WIDTH, 2.0 * MARGIN);
    let height = (rows.len() as f32).mul_add(HEIGHT, 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"A canary rollout, watched in a terminal\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"14\" fill=\"{FOREGROUND}\">\n"
    );
    for (number, row) in rows.iter().enumerate() {
        let y = (number as f32 + 0.75).mul_add(HEIGHT, MARGIN);
        for run in row {
            let x = f32::from(run.column).mul_add(WIDTH, MARGIN);
            let length = run.columns as f32 * WIDTH;
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{}>{}</text>",
                run.style,
                escape(&run.text)
            );
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Neighbouring characters of one style.
struct Run {
    column: u16,
    columns: usize,
    style: String,
    text: String,
}

fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column) else {
            continue;
        };
        let text = if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
        let style = style(cell);
        match runs.last_mut() {
            Some(run) if run.style == style => {
                run.text.push_str(text);
                run.columns += 1;
            }
            _ => runs.push(Run {
                column,
                columns: 1,
                style,
                text: text.to_owned(),
            }),
        }
    }
    for run in &mut runs {
        let trimmed = run.text.trim_end().len();
        run.columns -= run.text[trimmed..].chars().count();
        run.text.truncate(trimmed);
    }
    runs.retain(|run| !run.text.is_empty());
    runs
}

/// The attributes of a cell's text element; empty for plain text.
fn style(cell: &Cell) -> String {
    let mut style = match cell.fgcolor() {
        Color::Default => String::new(),
        Color::Idx(index) => match PALETTE.get(usize::from(index)) {
            Some(colour) => format!(" fill=\"{colour}\""),
            None => String::new(),
        },
        Color::Rgb(red, green, blue) => format!(" fill=\"#{red:02x}{green:02x}{blue:02x}\""),
    };
    if cell.bold() {
        style.push_str(" font-weight=\"bold\"");
    }
    if cell.dim() {
        style.push_str(" opacity=\"0.65\"");
    }
    style
}

/// Spaces become non-breaking ones: viewers collapse ordinary spaces.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace(' ', "\u{a0}")
}
