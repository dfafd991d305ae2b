use hotswap_tests::bench::judge;

use crate::server_kind::ServerKind;

/// One row of the table: a figure for each server.
pub struct Row<'a> {
    /// What was measured.
    pub what: &'a str,
    /// The unit of the figures. Less is better.
    pub unit: &'a str,
    /// How many decimals are printed.
    pub decimals: usize,
    /// The goal: the most that HotSwap may need.
    pub at_most: Option<f64>,
    /// The figures of the servers that ran.
    pub figures: &'a [(ServerKind, f64)],
}

/// Prints the head of the table. Ratios below 1 are in favour of HotSwap.
pub fn print_header() {
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
    /// Prints the row.
    pub fn print(&self) {
        let (what, at_most) = (self.what, self.at_most.map(|limit| self.cell(limit)));
        let [hotswap, ws, socket_io] = ServerKind::ALL.map(|kind| self.figure(kind));
        let [to_ws, to_socket_io] = [ws, socket_io].map(|other| match (hotswap, other) {
            (Some(hotswap), Some(other)) if other > 0.0 => format!("{:.2}", hotswap / other),
            _ => "-".to_owned(),
        });
        let verdict = match (hotswap, self.at_most) {
            (Some(hotswap), Some(limit)) => judge(what, hotswap, limit),
            _ => "",
        };
        let [hotswap, ws, socket_io] = [hotswap, ws, socket_io]
            .map(|figure| figure.map_or("-".to_owned(), |it| self.cell(it)));
        let at_most = at_most.unwrap_or_default();
        println!(
            "| {what:<44} | {hotswap:>11} | {ws:>11} | {socket_io:>11} | {to_ws:>7} | {to_socket_io:>9} | {at_most:>11} | {verdict:<6} |"
        );
    }

    fn figure(&self, kind: ServerKind) -> Option<f64> {
        let mut all = self.figures.iter();
        all.find(|(of, _)| *of == kind).map(|(_, figure)| *figure)
    }

    fn cell(&self, figure: f64) -> String {
        let (decimals, unit) = (self.decimals, self.unit);
        format!("{figure:.decimals$} {unit}").trim_end().to_owned()
    }
}
