//! The binary tensor extension, receiving side: what follows the JSON, cut in the order of the inputs, and the header
//! that says where the JSON ends.

use bytes::Bytes;

use super::error::Error;

/// The rest of a body behind its JSON.
#[derive(Debug)]
pub(super) struct BinaryParts<'b> {
    body: &'b Bytes,
    at: usize,
}

impl<'b> BinaryParts<'b> {
    /// Everything from byte `at` of `body` on.
    pub(super) fn behind_json(body: &'b Bytes, at: usize) -> Self {
        Self { body, at }
    }

    /// The next `size` bytes, without copying.
    pub(super) fn take(&mut self, size: u64, input: &str, model: &str) -> Result<Bytes, Error> {
        let left = self.body.len() - self.at;
        match usize::try_from(size) {
            Ok(size) if size <= left => {
                let start = self.at;
                self.at += size;
                Ok(self.body.slice(start..self.at))
            }
            _ => Err(Error::invalid_arg(format!(
                "unexpected size for input '{input}', expecting {} additional bytes for model '{model}'",
                size - left as u64
            ))),
        }
    }

    /// Nothing may be left over.
    pub(super) fn finish(&self, model: &str) -> Result<(), Error> {
        if self.at == self.body.len() {
            return Ok(());
        }
        Err(Error::invalid_arg(format!("unexpected additional input data for model '{model}'")))
    }
}

/// The value of `Inference-Header-Content-Length` as a length: how much of a body of `content_length` bytes is JSON.
///
/// 0 means that the body has no JSON and is the data of the model's one input. As in Triton 2.51, whose answers were
/// recorded, the leading integer of the text counts, and text without one counts as 0. (Triton's current sources
/// refuse such text.) Without the header the whole body is JSON.
///
/// # Errors
/// The length is negative or more than `content_length`.
pub fn header_length(value: &str, content_length: usize) -> Result<usize, Error> {
    let text = value.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    let length =
        digits.fold(0_usize, |n, digit| n.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if length > content_length || (negative && length > 0) {
        return Err(Error::invalid_arg(format!(
            "inference header size should be in range (0, {content_length}), got: {value}"
        )));
    }
    Ok(length)
}
