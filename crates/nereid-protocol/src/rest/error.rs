//! The errors of this module: a code that the frontend turns into an HTTP status, and the message clients see.

use std::fmt;

use thiserror::Error as ThisError;

/// Which of Triton's codes an [`Error`] has. Over HTTP they are 400, 500 and 501.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request contradicts itself or asks for what does not exist.
    InvalidArg,
    /// Broken JSON or a field of the wrong JSON type: Triton calls these internal, and clients see status 500.
    Internal,
    /// Understood, but not served.
    Unsupported,
}

/// Why a request was not understood or a response not written. `Display` is the message alone.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{message}")]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
}

impl Error {
    pub(super) fn invalid_arg(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidArg, message: message.into() }
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, message: message.into() }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, message: message.into() }
    }

    /// `Unable to parse 'field': reason`, as Triton words an accessor's failure.
    pub fn unable_to_parse(field: &str, reason: impl fmt::Display) -> Self {
        Self::internal(format!("Unable to parse '{field}': {reason}"))
    }
}

/// What is wrong with the JSON itself, in the words of the parser that Triton uses.
///
/// A whole word, because results with a part of one are copied in odd pieces, which costs more than reading a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum SyntaxKind {
    DocumentEmpty,
    RootNotSingular,
    ValueInvalid,
    ObjectMissName,
    ObjectMissColon,
    ObjectMissComma,
    ArrayMissComma,
    StringHex,
    StringSurrogate,
    StringEscape,
    StringUnclosed,
    NumberTooBig,
    NumberMissFraction,
    NumberMissExponent,
}

/// A syntax error and the offset, in bytes from the start of the JSON, at which it was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) kind: SyntaxKind,
    pub(super) at: usize,
}

impl Syntax {
    /// An error to return at once.
    pub(super) fn at<T>(kind: SyntaxKind, at: usize) -> Result<T, Self> {
        Err(Self { kind, at })
    }

    fn text(self) -> &'static str {
        match self.kind {
            SyntaxKind::DocumentEmpty => "The document is empty.",
            SyntaxKind::RootNotSingular => "The document root must not be followed by other values.",
            SyntaxKind::ValueInvalid => "Invalid value.",
            SyntaxKind::ObjectMissName => "Missing a name for object member.",
            SyntaxKind::ObjectMissColon => "Missing a colon after a name of object member.",
            SyntaxKind::ObjectMissComma => "Missing a comma or '}' after an object member.",
            SyntaxKind::ArrayMissComma => "Missing a comma or ']' after an array element.",
            SyntaxKind::StringHex => "Incorrect hex digit after \\u escape in string.",
            SyntaxKind::StringSurrogate => "The surrogate pair in string is invalid.",
            SyntaxKind::StringEscape => "Invalid escape character in string.",
            SyntaxKind::StringUnclosed => "Missing a closing quotation mark in string.",
            SyntaxKind::NumberTooBig => "Number too big to be stored in double.",
            SyntaxKind::NumberMissFraction => "Miss fraction part in number.",
            SyntaxKind::NumberMissExponent => "Miss exponent in number.",
        }
    }
}

impl From<Syntax> for Error {
    fn from(syntax: Syntax) -> Self {
        let text = syntax.text();
        Self::internal(format!("failed to parse the request JSON buffer: {text} at {}", syntax.at))
    }
}
