//! JSON strings: checked in place while reading, unescaped only when asked. Bytes above 0x7f pass unseen.

use std::borrow::Cow;

use super::error::{Syntax, SyntaxKind};
use super::json::Reader;

/// A string as it stands between its quotes, already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Str<'a> {
    raw: &'a [u8],
    escapes: usize,
}

impl<'a> Str<'a> {
    #[inline]
    /// The bytes it stands for; need not be UTF-8.
    pub(super) fn bytes(&self) -> Cow<'a, [u8]> {
        if self.escapes > 0 { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// The text it stands for; what is not UTF-8 becomes U+FFFD.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl<'a> Reader<'a> {
    /// On the opening quote: reads the string and moves behind it.
    pub(super) fn string(&mut self) -> Result<Str<'a>, Syntax> {
        let start = self.at + 1;
        let mut escapes = 0;
        self.at = start;
        loop {
            self.at = plain_end(self.text, self.at);
            match self.peek() {
                b'"' => {
                    let raw = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(Str { raw, escapes });
                }
                b'\\' => {
                    self.check_escape()?;
                    escapes += 1;
                }
                0 => return Syntax::at(SyntaxKind::StringUnclosed, self.at),
                // A control character; RapidJSON has no better words for it.
                _ => return Syntax::at(SyntaxKind::StringEscape, self.at),
            }
        }
    }

    /// On a backslash: moves behind the escape.
    fn check_escape(&mut self) -> Result<(), Syntax> {
        let start = self.at;
        match self.byte(start + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                return Ok(());
            }
            b'u' => {}
            _ => return Syntax::at(SyntaxKind::StringEscape, start),
        }
        let Some(unit) = hex4(self.text, start + 2) else {
            return Syntax::at(SyntaxKind::StringHex, start);
        };
        self.at += 6;
        match unit {
            0xd800..=0xdbff if self.byte(self.at) == b'\\' && self.byte(self.at + 1) == b'u' => {
                match hex4(self.text, self.at + 2) {
                    None => return Syntax::at(SyntaxKind::StringHex, start),
                    Some(0xdc00..=0xdfff) => self.at += 6,
                    Some(_) => return Syntax::at(SyntaxKind::StringSurrogate, start),
                }
            }
            0xd800..=0xdbff => return Syntax::at(SyntaxKind::StringSurrogate, start),
            _ => {} // also a low surrogate alone
        }
        Ok(())
    }
}

/// The offset of the next quote, backslash, control character or the end.
#[inline]
fn plain_end(text: &[u8], mut at: usize) -> usize {
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special_bytes(u64::from_le_bytes(*eight));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(byte) = text.get(at)
        && !matches!(byte, b'"' | b'\\' | 0..0x20)
    {
        at += 1;
    }
    at
}

/// The high bit of each byte that is a quote, a backslash or below 0x20. Only the lowest set bit is reliable.
fn special_bytes(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(eight ^ (ONES * b'"' as u64));
    let backslash = zero(eight ^ (ONES * b'\\' as u64));
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (quote | backslash | control) & HIGH
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// Replaces the escapes of a checked string.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len()); // escapes only ever shrink
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte != b'\\' {
            out.push(*byte);
            at += 1;
            continue;
        }
        let escape = raw.get(at + 1).copied().unwrap_or(b'\\');
        at += 2;
        out.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut point = hex4(raw, at).unwrap_or(0);
                at += 4;
                if let 0xd800..=0xdbff = point {
                    let low = hex4(raw, at + 2).unwrap_or(0xdc00);
                    at += 6;
                    point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
                }
                push_utf8(&mut out, point);
                continue;
            }
            other => other,
        });
    }
    out
}

/// A low surrogate alone becomes the three bytes that UTF-8 would have for it, as in RapidJSON.
fn push_utf8(out: &mut Vec<u8>, point: u32) {
    match char::from_u32(point) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            out.extend([0xe0 | point >> 12, 0x80 | point >> 6 & 0x3f, 0x80 | point & 0x3f].map(|b| b as u8))
        }
    }
}
