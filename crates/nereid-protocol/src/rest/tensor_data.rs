//! The JSON form of a tensor, nested or flat, into the dense little-endian bytes that a model reads.
//!
//! Elements go straight into the buffer, row by row; nesting is followed, never compared with the shape.
//! Memory follows the text that was read. What is wrong is remembered and the rest only skipped, because
//! broken JSON further on counts first.

use super::datatype::Datatype;
use super::error::{Error, Syntax};
use super::json::Reader;
use super::number::{self, Number};
use super::value::{NO_BOOL, NO_INT, NO_NUMBER, NO_STRING, NO_UINT};

/// Arrays inside one another that Triton follows (`HTTP_MAX_JSON_NESTING_DEPTH`).
const MAX_DEPTH: usize = 100;

/// What `data` held.
#[derive(Debug, Default)]
pub(super) struct TensorData {
    bytes: Vec<u8>,
    /// Elements before the fault, if there is one.
    count: usize,
    /// For BYTES: what the elements take with their length prefixes, also where that is too much to keep.
    string_bytes: u64,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nested too deep.
    Depth,
    /// An element of the wrong JSON type.
    Type,
    /// More than any tensor may have; no shape that is allowed fits.
    Size,
}

/// How much to keep, and what to expect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Largest tensor, in bytes.
    pub(super) max_bytes: usize,
    /// Elements that the shape promises, as far as it is known.
    pub(super) expected: usize,
}

/// Whether tensors of `datatype` can be JSON.
pub(super) fn is_readable(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Fp16 | Datatype::Bf16)
}

/// With the reader on the `[` of `data`, or on a lone element: reads it and moves behind it. `datatype` must be readable.
pub(super) fn read(
    reader: &mut Reader<'_>,
    datatype: Datatype,
    budget: Budget,
) -> Result<TensorData, Syntax> {
    let mut data = TensorData::default();
    if let Some(size) = datatype.size_bytes() {
        // Two characters are the least that an element takes, so the text bounds what the shape asks for.
        let elements = budget.expected.min((reader.text.len() - reader.at) / 2);
        data.bytes.reserve_exact((elements * size).min(budget.max_bytes));
    }
    let mut source = Source { reader, data: &mut data, max_bytes: budget.max_bytes };
    match datatype {
        Datatype::Bool => source.bools()?,
        Datatype::Uint8 => source.unsigned(|value| (value as u8).to_le_bytes())?,
        Datatype::Uint16 => source.unsigned(|value| (value as u16).to_le_bytes())?,
        Datatype::Uint32 => source.unsigned(|value| (value as u32).to_le_bytes())?,
        Datatype::Uint64 => source.unsigned(u64::to_le_bytes)?,
        Datatype::Int8 => source.signed(|value| (value as i8).to_le_bytes())?,
        Datatype::Int16 => source.signed(|value| (value as i16).to_le_bytes())?,
        Datatype::Int32 => source.signed(|value| (value as i32).to_le_bytes())?,
        Datatype::Int64 => source.signed(i64::to_le_bytes)?,
        Datatype::Fp32 => source.float(|value| (value as f32).to_le_bytes())?,
        Datatype::Fp64 => source.float(f64::to_le_bytes)?,
        Datatype::Bytes => source.strings()?,
        Datatype::Fp16 | Datatype::Bf16 => source.reader.skip()?,
    }
    Ok(data)
}

struct Source<'r, 'a> {
    reader: &'r mut Reader<'a>,
    data: &'r mut TensorData,
    max_bytes: usize,
}

impl<'a> Source<'_, 'a> {
    fn unsigned<const N: usize>(&mut self, cast: impl Fn(u64) -> [u8; N]) -> Result<(), Syntax> {
        self.numbers(|number| number.as_u64().map(&cast))
    }

    fn signed<const N: usize>(&mut self, cast: impl Fn(i64) -> [u8; N]) -> Result<(), Syntax> {
        self.numbers(|number| number.as_i64().map(&cast))
    }

    fn float<const N: usize>(&mut self, cast: impl Fn(f64) -> [u8; N]) -> Result<(), Syntax> {
        self.numbers(|number| Some(cast(number.as_f64())))
    }

    fn bools(&mut self) -> Result<(), Syntax> {
        self.elements(|text, at, out| {
            let mut reader = Reader { text, at };
            let value = reader.value()?.as_bool();
            out.extend(value.ok().map(u8::from));
            Ok((value.is_ok(), reader.at))
        })
    }

    fn numbers<const N: usize>(&mut self, cast: impl Fn(Number) -> Option<[u8; N]>) -> Result<(), Syntax> {
        self.elements(|text, at, out| {
            let (number, end) = match text.get(at) {
                Some(b'0'..=b'9' | b'-' | b'N' | b'I') => number::read(text, at)?,
                _ => {
                    let mut reader = Reader { text, at };
                    reader.skip()?;
                    return Ok((false, reader.at));
                }
            };
            let bytes = cast(number);
            if let Some(bytes) = bytes {
                out.extend_from_slice(&bytes);
            }
            Ok((bytes.is_some(), end))
        })
    }

    fn strings(&mut self) -> Result<(), Syntax> {
        let max_bytes = self.max_bytes as u64;
        let mut total = 0_u64;
        self.elements(|text, at, out| {
            let mut reader = Reader { text, at };
            let Ok(string) = reader.value()?.as_str() else { return Ok((false, reader.at)) };
            let string = string.bytes();
            total += string.len() as u64 + 4;
            if total > max_bytes {
                *out = Vec::new(); // refused in the end, but a fault further on has precedence
            } else if let Ok(length) = u32::try_from(string.len()) {
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&string);
            }
            Ok((true, reader.at))
        })?;
        self.data.string_bytes = total;
        Ok(())
    }

    /// Walks the arrays. `element` is given the offset of what is no array, and gives the one behind it and whether
    /// it is of the type. The offset is a local, not the reader's, so that it can stay in a register.
    #[inline(always)]
    fn elements(
        &mut self,
        mut element: impl FnMut(&'a [u8], usize, &mut Vec<u8>) -> Result<(bool, usize), Syntax>,
    ) -> Result<(), Syntax> {
        let Self { reader, data, max_bytes } = self;
        let text = reader.text;
        if reader.peek() != b'[' {
            let (right, end) = element(text, reader.at, &mut data.bytes)?;
            reader.at = end;
            data.count = usize::from(right);
            data.fault = (!right).then_some(Fault::Type);
            return Ok(());
        }
        let mut depth = 1;
        if !reader.enter_array() {
            return Ok(());
        }
        let mut at = reader.at;
        let fault = loop {
            if depth >= MAX_DEPTH {
                reader.at = at;
                reader.skip()?;
                break Fault::Depth;
            }
            if text.get(at) == Some(&b'[') {
                reader.at = at;
                let entered = reader.enter_array();
                at = reader.at;
                if entered {
                    depth += 1;
                    continue;
                }
            } else {
                let (right, end) = element(text, at, &mut data.bytes)?;
                at = end;
                if !right || data.bytes.len() > *max_bytes {
                    reader.at = at;
                    break if right { Fault::Size } else { Fault::Type };
                }
                data.count += 1;
            }
            // The usual thing between two numbers, without the reader.
            if let Some([b',', next, ..]) = text.get(at..)
                && *next > b' '
            {
                at += 1;
                continue;
            }
            reader.at = at;
            while !reader.next_element()? {
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            }
            at = reader.at;
        };
        data.fault = Some(fault);
        reader.leave_arrays(depth)
    }
}

impl TensorData {
    /// Bytes of a BYTES tensor; Triton counts them before it looks at any limit.
    pub(super) fn string_bytes(&self) -> Result<u64, Error> {
        match self.fault {
            Some(Fault::Depth) => Err(Error::invalid_arg(too_deep())),
            Some(Fault::Type) => {
                Err(Error::internal(format!("Unable to parse JSON bytes array: {NO_STRING}")))
            }
            Some(Fault::Size) | None => Ok(self.string_bytes),
        }
    }

    /// The tensor, if it has `expected` elements; of strings the count is the model's to check.
    pub(super) fn into_bytes(self, datatype: Datatype, expected: usize) -> Result<Vec<u8>, Error> {
        if datatype == Datatype::Bytes {
            return Ok(self.bytes);
        }
        // Triton stops at whichever comes first: an element too many or one that is at fault.
        let reason = match self.fault {
            Some(Fault::Depth) if self.count <= expected => {
                return Err(Error {
                    message: format!("Unable to parse 'data': {}", too_deep()),
                    ..Error::invalid_arg("")
                });
            }
            Some(Fault::Type) if self.count < expected => match datatype {
                Datatype::Bool => NO_BOOL,
                Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 | Datatype::Uint64 => NO_UINT,
                Datatype::Int8 | Datatype::Int16 | Datatype::Int32 | Datatype::Int64 => NO_INT,
                _ => NO_NUMBER,
            },
            None if self.count == expected => return Ok(self.bytes),
            None if self.count < expected => {
                return Err(Error::internal("Failed to parse 'data' field: shape does not match true shape"));
            }
            _ => "Shape does not match true shape of 'data' field",
        };
        Err(Error::unable_to_parse("data", reason))
    }
}

fn too_deep() -> String {
    format!("JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})")
}
