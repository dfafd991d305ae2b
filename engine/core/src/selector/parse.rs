//! The grammar of selectors.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{Operator, Requirement, Selector};
use crate::{LabelKey, LabelValue, ParseError};

/// Why a text is no selector. Its `Display` says where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// It has no condition.
    #[error("a selector has at least one condition, such as zone=eu; leave it out for all nodes")]
    Empty,
    /// It is longer than [`Selector::MAX_BYTES`].
    #[error("the selector has {0} bytes, and {max} are allowed; give the nodes a label of their own, and select that", max = Selector::MAX_BYTES)]
    TooLong(usize),
    /// It is not written as a selector.
    #[error(
        "at character {position} of the selector: {expected}, not {found}; write conditions such \
         as zone=eu, tier!=edge, zone in (eu,us), gpu or !gpu, with commas between them"
    )]
    Syntax {
        /// The place, from 1.
        position: usize,
        /// What is expected there.
        expected: &'static str,
        /// What was found there.
        found: String,
    },
    /// A key or a value is not valid.
    #[error("at character {position} of the selector: {source}")]
    Label {
        /// The place, from 1.
        position: usize,
        /// What is wrong.
        source: ParseError,
    },
}

/// A token and where it begins, in characters from 1.
type Placed<'a> = (usize, Token<'a>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// What may be a key, a value, `in` or `notin`.
    Word(&'a str),
    Equals,
    NotEquals,
    Not,
    Comma,
    Open,
    Close,
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) => {
                let start: String = text.chars().take(80).collect();
                write!(f, "'{start}'")
            }
            Self::Equals => f.write_str("'='"),
            Self::NotEquals => f.write_str("'!='"),
            Self::Not => f.write_str("'!'"),
            Self::Comma => f.write_str("','"),
            Self::Open => f.write_str("'('"),
            Self::Close => f.write_str("')'"),
            Self::End => f.write_str("the end"),
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Selector, SelectorError> {
    if text.len() > Selector::MAX_BYTES {
        return Err(SelectorError::TooLong(text.len()));
    }
    if text.trim().is_empty() {
        return Err(SelectorError::Empty);
    }
    let tokens = tokens(text);
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
    };
    let mut requirements = vec![parser.requirement()?];
    loop {
        match parser.take() {
            (_, Token::Comma) => requirements.push(parser.requirement()?),
            (_, Token::End) => break,
            found => return Err(syntax(found, "a comma must stand here, or nothing")),
        }
    }
    let selector = Selector::new(requirements);
    // It can be longer than it was written, by a space.
    let length = selector.to_string().len();
    if length > Selector::MAX_BYTES {
        return Err(SelectorError::TooLong(length));
    }
    Ok(selector)
}

/// Ends with [`Token::End`].
fn tokens(text: &str) -> Vec<Placed<'_>> {
    let is_special = |letter: char| letter.is_whitespace() || "=!,()".contains(letter);
    let mut tokens = Vec::new();
    let (mut rest, mut position) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let pairs = [("==", Token::Equals), ("!=", Token::NotEquals)];
        let pair = pairs.into_iter().find(|(sign, _)| rest.starts_with(sign));
        let (token, length) = match (pair, first) {
            (Some((sign, token)), _) => (Some(token), sign.len()),
            (None, '=') => (Some(Token::Equals), 1),
            (None, '!') => (Some(Token::Not), 1),
            (None, ',') => (Some(Token::Comma), 1),
            (None, '(') => (Some(Token::Open), 1),
            (None, ')') => (Some(Token::Close), 1),
            (None, space) if space.is_whitespace() => (None, space.len_utf8()),
            (None, _) => {
                let length = rest.find(is_special).unwrap_or(rest.len());
                (Some(Token::Word(&rest[..length])), length)
            }
        };
        tokens.extend(token.map(|token| (position, token)));
        position += rest[..length].chars().count();
        rest = &rest[length..];
    }
    tokens.push((position, Token::End));
    tokens
}

struct Parser<'a> {
    /// Ends with [`Token::End`], which is never taken further than.
    tokens: &'a [Placed<'a>],
    next: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Placed<'a> {
        self.tokens[self.next]
    }

    fn take(&mut self) -> Placed<'a> {
        let token = self.peek();
        if token.1 != Token::End {
            self.next += 1;
        }
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.peek().1 == Token::Not {
            self.take();
            let key = self.key()?;
            let operator = Operator::DoesNotExist;
            return Ok(Requirement { key, operator });
        }
        let key = self.key()?;
        let operator = match self.peek().1 {
            Token::Comma | Token::End => Operator::Exists,
            Token::Equals => {
                self.take();
                Operator::In(BTreeSet::from([self.value()?]))
            }
            Token::NotEquals => {
                self.take();
                Operator::NotIn(BTreeSet::from([self.value()?]))
            }
            Token::Word("in") => {
                self.take();
                Operator::In(self.values()?)
            }
            Token::Word("notin") => {
                self.take();
                Operator::NotIn(self.values()?)
            }
            _ => {
                let expected = "=, !=, in, notin or a comma must stand here";
                return Err(syntax(self.take(), expected));
            }
        };
        Ok(Requirement { key, operator })
    }

    fn key(&mut self) -> Result<LabelKey, SelectorError> {
        match self.take() {
            (position, Token::Word(text)) => label(position, text),
            found => Err(syntax(found, "the key of a label must stand here")),
        }
    }

    /// A value, which may be empty.
    fn value(&mut self) -> Result<LabelValue, SelectorError> {
        match self.peek() {
            (position, Token::Word(text)) => {
                self.take();
                label(position, text)
            }
            (position, _) => label(position, ""),
        }
    }

    /// `(x,y)`.
    fn values(&mut self) -> Result<BTreeSet<LabelValue>, SelectorError> {
        match self.take() {
            (_, Token::Open) => {}
            found => return Err(syntax(found, "values in parentheses must stand here")),
        }
        let mut values = BTreeSet::from([self.value()?]);
        loop {
            match self.take() {
                (_, Token::Comma) => drop(values.insert(self.value()?)),
                (_, Token::Close) => return Ok(values),
                found => return Err(syntax(found, "a comma or ')' must stand here")),
            }
        }
    }
}

fn label<T: FromStr<Err = ParseError>>(position: usize, text: &str) -> Result<T, SelectorError> {
    text.parse()
        .map_err(|source| SelectorError::Label { position, source })
}

fn syntax((position, found): Placed<'_>, expected: &'static str) -> SelectorError {
    SelectorError::Syntax {
        position,
        expected,
        found: found.to_string(),
    }
}
