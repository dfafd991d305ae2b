use crate::dialect::Dialect;

/// One row of the table: a figure of each server.
pub struct Row<'a> {
    /// What was measured.
    pub what: &'a str,
    /// In which unit; less is better.
    pub unit: &'a str,
    /// How exactly it is told.
    pub decimals: usize,
    /// The most that ours may need.
    pub at_most: Option<f64>,
    /// Of the servers that ran.
    pub figures: &'a [(Dialect, f64)],
}

/// The head of the table; ratios below 1 are in our favour.
pub fn head() {
    println!(
        "| {:<44} | {:>11} | {:>11} | {:>11} | {:>7} | {:>9} | {:>11} | {:<6} |",
        "what", "ours", "ws", "socket.io", "/ ws", "/ sock.io", "at most", ""
    );
    println!(
        "|{:-<46}|{:->13}|{:->13}|{:->13}|{:->9}|{:->11}|{:->13}|{:-<8}|",
        "", "", "", "", "", "", "", ""
    );
}

impl Row<'_> {
    /// Prints it.
    pub fn print(&self) {
        let (what, at_most) = (self.what, self.at_most.map(|limit| self.cell(limit)));
        let [ours, ws, socket_io] = Dialect::ALL.map(|dialect| self.figure(dialect));
        let [to_ws, to_socket_io] = [ws, socket_io].map(|other| match (ours, other) {
            (Some(ours), Some(other)) if other > 0.0 => format!("{:.2}", ours / other),
            _ => "-".to_owned(),
        });
        let verdict = match (ours, self.at_most) {
            (Some(ours), Some(limit)) if ours <= limit => "met",
            (Some(_), Some(_)) => "MISSED",
            _ => "",
        };
        let [ours, ws, socket_io] =
            [ours, ws, socket_io].map(|figure| figure.map_or("-".to_owned(), |it| self.cell(it)));
        let at_most = at_most.unwrap_or_default();
        println!(
            "| {what:<44} | {ours:>11} | {ws:>11} | {socket_io:>11} | {to_ws:>7} | {to_socket_io:>9} | {at_most:>11} | {verdict:<6} |"
        );
    }

    fn figure(&self, dialect: Dialect) -> Option<f64> {
        let mut all = self.figures.iter();
        all.find(|(of, _)| *of == dialect)
            .map(|(_, figure)| *figure)
    }

    fn cell(&self, figure: f64) -> String {
        let (decimals, unit) = (self.decimals, self.unit);
        format!("{figure:.decimals$} {unit}").trim_end().to_owned()
    }
}
