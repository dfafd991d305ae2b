//! What scripts are given, and what they answer.

use redis::Value;

use super::error::Error;

/// The arguments of a script.
#[derive(Debug, Default, Clone)]
pub(super) struct Args(Vec<Vec<u8>>);

impl Args {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn text(self, text: impl AsRef<str>) -> Self {
        self.bytes(text.as_ref())
    }

    /// Empty where there is none.
    pub(super) fn optional(self, text: Option<impl ToString>) -> Self {
        self.text(text.map(|text| text.to_string()).unwrap_or_default())
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.text(number.to_string())
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.text(if flag { "1" } else { "0" })
    }

    pub(super) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push(bytes.as_ref().to_vec());
        self
    }

    pub(super) fn into_fields(self) -> Vec<Vec<u8>> {
        self.0
    }

    pub(super) fn as_slice(&self) -> &[Vec<u8>] {
        &self.0
    }
}

/// An answer: a list of texts; some may be missing.
#[derive(Debug)]
pub(super) struct Reply(Vec<Option<Vec<u8>>>);

impl Reply {
    /// `None` where the script returned nothing.
    pub(super) fn optional(value: Value) -> Result<Option<Self>, Error> {
        match value {
            Value::Nil | Value::Boolean(false) => Ok(None),
            Value::Array(values) => {
                let texts = values.into_iter().map(text);
                texts
                    .collect::<Result<_, _>>()
                    .map(|texts| Some(Self(texts)))
            }
            single => Ok(Some(Self(vec![text(single)?]))),
        }
    }

    pub(super) fn of(value: Value) -> Result<Self, Error> {
        Self::optional(value)?.ok_or(Error::Answer("it is empty"))
    }

    /// One text, or nothing.
    pub(super) fn single(value: Value) -> Result<Option<Vec<u8>>, Error> {
        text(value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is such an element.
    pub(super) fn has(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(Option::is_some)
    }

    pub(super) fn bytes(&self, index: usize) -> Result<&[u8], Error> {
        let found = self.0.get(index).and_then(Option::as_deref);
        found.ok_or(Error::Answer("an element is missing"))
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, Error> {
        str::from_utf8(self.bytes(index)?).map_err(|_| Error::Answer("an element is no text"))
    }

    /// What came of the command.
    pub(super) fn word(&self) -> Result<&str, Error> {
        self.text(0)
    }

    pub(super) fn number(&self, index: usize) -> Result<u64, Error> {
        let number = self.text(index)?.parse();
        number.map_err(|_| Error::Answer("an element is no number"))
    }

    /// Reads an id, a name or a version.
    pub(super) fn parse<T>(&self, index: usize, what: &'static str) -> Result<T, Error>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        self.text(index)?.parse().map_err(|error| Error::Decode {
            what,
            source: Box::new(error),
        })
    }

    /// Reads all elements alike.
    pub(super) fn parse_all<T>(&self, what: &'static str) -> Result<Vec<T>, Error>
    where
        T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        (0..self.len())
            .map(|index| self.parse(index, what))
            .collect()
    }
}

fn text(value: Value) -> Result<Option<Vec<u8>>, Error> {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Double(number) => Ok(Some(format!("{number:.0}").into_bytes())),
        _ => Err(Error::Answer("an element is no text")),
    }
}
