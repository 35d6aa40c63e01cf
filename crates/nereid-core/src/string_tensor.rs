//! The wire form of BYTES tensors: each element is a little-endian `u32` length and that many bytes.

use bytes::{BufMut, BytesMut};

const LENGTH_BYTES: usize = 4;

/// What is wrong with a BYTES buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The buffer ends inside a length indicator, of which `available` bytes are there.
    Indicator { available: usize },
    /// The last element claims `expected` bytes, `available` are there.
    Data { expected: usize, available: usize },
}

/// Walks the elements of a BYTES buffer; ends after the first malformed one.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

/// Iterates over the elements of `data`.
pub fn elements(data: &[u8]) -> Elements<'_> {
    Elements { rest: data }
}

impl<'a> Elements<'a> {
    /// The bytes not yet walked.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn fail(&mut self, malformed: Malformed) -> Option<Result<&'a [u8], Malformed>> {
        self.rest = &[];
        Some(Err(malformed))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((length, rest)) = self.rest.split_first_chunk::<LENGTH_BYTES>() else {
            return self.fail(Malformed::Indicator { available: self.rest.len() });
        };
        let expected = u32::from_le_bytes(*length) as usize;
        match rest.split_at_checked(expected) {
            Some((element, rest)) => {
                self.rest = rest;
                Some(Ok(element))
            }
            None => self.fail(Malformed::Data { expected, available: rest.len() }),
        }
    }
}

/// Appends one element to a BYTES buffer. Elements of 4 GiB or more cannot be expressed; they are cut.
pub fn push(buffer: &mut BytesMut, element: &[u8]) {
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    buffer.put_u32_le(length);
    buffer.put_slice(&element[..length as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_with_nul_and_non_utf8() {
        let mut buffer = BytesMut::new();
        let all: [&[u8]; 4] = [b"a\0b", b"", b"\xff\xfe", b"z"];
        for element in all {
            push(&mut buffer, element);
        }
        assert_eq!(elements(&buffer).collect::<Result<Vec<_>, _>>().unwrap(), all);
        assert_eq!(elements(&[]).count(), 0);
    }

    #[test]
    fn malformed_buffers_end_the_walk() {
        for (data, expected) in [
            (&[1, 0][..], Malformed::Indicator { available: 2 }),
            (&[9, 0, 0, 0, b'x'], Malformed::Data { expected: 9, available: 1 }),
        ] {
            let mut walk = elements(data);
            assert_eq!(walk.next(), Some(Err(expected)));
            assert_eq!(walk.next(), None);
        }
    }
}
