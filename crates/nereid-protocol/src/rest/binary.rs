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
/// 0 means that the body has no JSON and is the data of the model's one input. The leading integer of the text counts,
/// whatever follows it (`GetInferenceHeaderLength` in http_server.cc). Without the header the whole body is JSON.
///
/// # Errors
/// The text does not begin with an integer, the integer needs more than 32 bits, or it is negative or more than
/// `content_length`.
pub fn header_length(value: &str, content_length: usize) -> Result<usize, Error> {
    let text = value.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::invalid_arg(format!(
            "Unable to parse Inference-Header-Content-Length, got: {value}"
        )));
    }
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    let size = digits.fold(0_i64, |n, digit| n.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    let Ok(length) = i32::try_from(if negative { -size } else { size }) else {
        return Err(Error::invalid_arg(format!(
            "Unable to parse Inference-Header-Content-Length, value is out of range [ {}, {} ], got: {value}",
            i32::MIN,
            i32::MAX
        )));
    };
    usize::try_from(length).ok().filter(|length| *length <= content_length).ok_or_else(|| {
        Error::invalid_arg(format!(
            "inference header size should be in range (0, {content_length}), got: {value}"
        ))
    })
}
