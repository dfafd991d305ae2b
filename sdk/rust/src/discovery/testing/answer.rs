use serde::Serialize;

/// An answer of a [`ScriptedRegistry`](super::ScriptedRegistry).
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) chunks: Vec<Vec<u8>>,
    /// Whether the body ends. If not, the next read waits in vain.
    pub(super) ends: bool,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            chunks: Vec::new(),
            ends: true,
        }
    }

    /// An answer with JSON.
    ///
    /// # Panics
    /// If the value cannot be written as JSON.
    #[must_use]
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        Self::text(status, serde_json::to_string(body).expect("it is JSON"))
    }

    /// An answer with a text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            chunks: vec![body.into().into_bytes()],
            ..Self::status(status)
        }
    }

    /// An answer whose body brings these values, one a line, and does not end.
    ///
    /// # Panics
    /// If a value cannot be written as JSON.
    #[must_use]
    pub fn stream(lines: &[serde_json::Value]) -> Self {
        Self {
            chunks: lines
                .iter()
                .map(|line| format!("{line}\n").into_bytes())
                .collect(),
            ends: false,
            ..Self::status(200)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        let name = name.to_ascii_lowercase();
        self.headers.push((name, value.to_string()));
        self
    }
}
