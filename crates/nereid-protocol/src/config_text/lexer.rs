//! Text to tokens: white space and comments dropped, strings unescaped. Knows no field.

use super::token::{Fault, Token};

/// Reads one token after another from a text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte where it starts.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), Fault> {
        self.skip_blank();
        let start = self.at;
        let Some(first) = self.text[start..].chars().next() else { return Ok((start, Token::End)) };
        let token = match first {
            'a'..='z' | 'A'..='Z' | '_' => Token::Ident(self.take_while(is_word)),
            '0'..='9' => self.number()?,
            '.' if self.byte(1).is_some_and(|b| b.is_ascii_digit()) => self.number()?,
            '"' | '\'' => Token::Str(self.string(first)?),
            symbol => {
                self.at += symbol.len_utf8();
                Token::Symbol(symbol)
            }
        };
        Ok((start, token))
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c));
            if self.byte(0) != Some(b'#') {
                return;
            }
            self.take_while(|b| b != b'\n');
        }
    }

    fn number(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let hex = self.byte(0) == Some(b'0') && matches!(self.byte(1), Some(b'x' | b'X'));
        let mut float = false;
        if hex {
            self.at += 2;
            self.take_while(|b| b.is_ascii_hexdigit());
        } else {
            self.take_while(|b| b.is_ascii_digit());
            if self.byte(0) == Some(b'.') {
                float = true;
                self.at += 1;
                self.take_while(|b| b.is_ascii_digit());
            }
            if matches!(self.byte(0), Some(b'e' | b'E')) {
                float = true;
                self.at += if matches!(self.byte(1), Some(b'+' | b'-')) { 2 } else { 1 };
                if self.take_while(|b| b.is_ascii_digit()).is_empty() {
                    return Err(Fault::new(start, "an exponent needs digits"));
                }
            }
        }
        let spelling = &self.text[start..self.at];
        if !hex && matches!(self.byte(0), Some(b'f' | b'F')) {
            float = true;
            self.at += 1;
        }
        let tail = self.take_while(is_word);
        if !tail.is_empty() {
            let whole = &self.text[start..self.at];
            return Err(Fault::new(start, format!("'{whole:.40}' is neither a number nor a name")));
        }
        if float {
            return Ok(Token::Float(spelling));
        }
        // 0 alone is zero; 0 with digits after it is octal, where 8 and 9 do not exist.
        if !hex && spelling.len() > 1 && spelling.starts_with('0') && spelling.contains(['8', '9']) {
            return Err(Fault::new(start, format!("'{spelling:.40}' starts with 0 and is no octal number")));
        }
        if hex && spelling.len() == 2 {
            return Err(Fault::new(start, "'0x' needs hexadecimal digits"));
        }
        Ok(Token::Int(spelling))
    }

    fn string(&mut self, quote: char) -> Result<Vec<u8>, Fault> {
        let open = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let plain = self.take_while(|b| b != quote as u8 && b != b'\\' && b != b'\n' && b != 0);
            bytes.extend_from_slice(plain.as_bytes());
            match self.byte(0) {
                Some(b'\\') => self.escape(&mut bytes)?,
                Some(b'\n') => return Err(Fault::new(self.at, "a string ends on the line it begins")),
                Some(0) => return Err(Fault::new(self.at, "a NUL in a string must be written '\\0'")),
                Some(_) => {
                    self.at += 1;
                    return Ok(bytes);
                }
                None => return Err(Fault::new(open, "this string is never closed")),
            }
        }
    }

    /// One escape, from its backslash on.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.at;
        let invalid = || Fault::new(start, "no such escape in a string");
        let letter = self.byte(1).ok_or_else(invalid)?;
        self.at += 2;
        let byte = match letter {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'\\' | b'\'' | b'"' | b'?' => letter,
            b'0'..=b'7' => {
                self.at -= 1;
                let code = self.digits(3, 8).ok_or_else(invalid)?;
                u8::try_from(code).map_err(|_| Fault::new(start, "an octal escape goes up to \\377"))?
            }
            b'x' | b'X' => u8::try_from(self.digits(2, 16).ok_or_else(invalid)?).map_err(|_| invalid())?,
            b'u' | b'U' => {
                let count = if letter == b'u' { 4 } else { 8 };
                let digits = self.at;
                let code =
                    self.digits(count, 16).filter(|_| self.at - digits == count).ok_or_else(invalid)?;
                let character = char::from_u32(code)
                    .ok_or_else(|| Fault::new(start, "this escape is no Unicode character"))?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(invalid()),
        };
        bytes.push(byte);
        Ok(())
    }

    /// Up to `most` digits of a base as a number; `None` where there is not one.
    fn digits(&mut self, most: usize, radix: u32) -> Option<u32> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take(most).take_while(|&&b| char::from(b).is_digit(radix)).count();
        let digits = &self.text[self.at..self.at + count];
        self.at += count;
        u32::from_str_radix(digits, radix).ok()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Moves over the bytes that `keep` accepts. Stops never inside a character: only ASCII is refused,
    /// or everything else is.
    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        self.at += rest.iter().position(|&b| !keep(b)).unwrap_or(rest.len());
        &self.text[start..self.at]
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
