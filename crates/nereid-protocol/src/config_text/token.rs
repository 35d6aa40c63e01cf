//! The tokens of the text format, and what is wrong with a text at a place.

use std::fmt;

/// One token. Numbers keep their spelling: which value they have depends on the field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A field name, an enum value, `true`, `inf`.
    Ident(&'a str),
    /// Digits: decimal, or octal after `0`, or hexadecimal after `0x`. Never signed.
    Int(&'a str),
    /// A number with a point, an exponent or an `f`; never signed.
    Float(&'a str),
    /// One quoted string with its escapes resolved: bytes, as escapes can spell any.
    Str(Vec<u8>),
    /// Any other single character.
    Symbol(char),
    /// The end of the text.
    End,
}

/// A message about the byte at `offset`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As much of a token as an error shows.
        const SHOWN: usize = 40;
        match self {
            Self::Ident(text) | Self::Int(text) | Self::Float(text) => write!(f, "'{text:.SHOWN$}'"),
            Self::Str(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                write!(f, "\"{}\"", text.chars().take(SHOWN).collect::<String>().escape_debug())
            }
            Self::Symbol(symbol) => write!(f, "'{}'", symbol.escape_debug()),
            Self::End => write!(f, "the end of the text"),
        }
    }
}
