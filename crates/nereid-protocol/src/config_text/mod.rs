//! `config.pbtxt`: a model config in the text format of protocol buffers, read and printed.
//!
//! The grammar is that of protobuf's own parser, which Triton uses: `#` comments, `[ ]` lists of values and of
//! messages, `:` optional before a message or a list of messages, `{ }` and `< >`, adjacent strings joined,
//! fields separated by nothing, `,` or `;`. prost-reflect has a text parser too; it refuses `input [ { … } ]`
//! without the colon, the very form that most `config.pbtxt` files use, and keeps positions to itself.
//!
//! Whether a config makes sense (sizes, references between fields) is not looked at here.

mod lexer;
mod parser;
mod print;
mod token;

use crate::inference::ModelConfig;

pub use print::print;

/// Why a text is no model config, and where: `3:7: unknown field 'dimms' in ModelInput`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Error {
    /// The line of the offending token, from 1.
    pub line: usize,
    /// The column of the offending token in characters, from 1.
    pub column: usize,
    /// What is wrong, naming the field.
    pub message: String,
}

/// Reads a model config from the text of a `config.pbtxt`.
///
/// # Errors
/// Anything that protobuf refuses: an unknown field or enum value, a value of another type or out of range, a
/// field that is not repeated given twice, a second member of a oneof, text after the config.
pub fn parse(text: &str) -> Result<ModelConfig, Error> {
    parser::parse(text).map_err(|fault| {
        let before = text.get(..fault.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Error {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: fault.message,
        }
    })
}
