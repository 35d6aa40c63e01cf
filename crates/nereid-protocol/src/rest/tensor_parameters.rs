//! The `parameters` object of an input or output: where its data is, or how to send it.

use super::error::{Error, Syntax};
use super::json::Reader;
use super::value::Value;

/// A piece of a shared memory region that the client registered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemory {
    pub region: String,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Bytes of the piece.
    pub byte_size: u64,
}

/// The parameters that mean something, as they stand; others are ignored, as in Triton.
#[derive(Debug, Default)]
pub(super) struct TensorParameters<'a> {
    seen: bool,
    pub(super) binary_data_size: Option<Value<'a>>,
    pub(super) shared_memory_region: Option<Value<'a>>,
    pub(super) shared_memory_offset: Option<Value<'a>>,
    pub(super) shared_memory_byte_size: Option<Value<'a>>,
    pub(super) binary_data: Option<Value<'a>>,
    pub(super) classification: Option<Value<'a>>,
}

impl<'a> TensorParameters<'a> {
    /// With the reader on the value of `parameters`: reads it and moves behind it. What is no object has no
    /// parameters; of two `parameters` Triton sees the first.
    pub(super) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), Syntax> {
        if std::mem::replace(&mut self.seen, true) || reader.peek() != b'{' {
            return reader.skip();
        }
        let mut more = reader.enter_object()?;
        while more {
            let name = reader.name()?;
            let slot = match &*name.bytes() {
                b"binary_data_size" => Some(&mut self.binary_data_size),
                b"shared_memory_region" => Some(&mut self.shared_memory_region),
                b"shared_memory_offset" => Some(&mut self.shared_memory_offset),
                b"shared_memory_byte_size" => Some(&mut self.shared_memory_byte_size),
                b"binary_data" => Some(&mut self.binary_data),
                b"classification" => Some(&mut self.classification),
                _ => None,
            };
            let value = reader.value()?;
            if let Some(slot) = slot {
                slot.get_or_insert(value); // of equal names Triton sees the first
            }
            more = reader.next_member()?;
        }
        Ok(())
    }

    /// The shared memory, if there is a region; offset and size are checked in any case, as in Triton.
    pub(super) fn shared_memory(&self) -> Result<Option<SharedMemory>, Error> {
        let region = match &self.shared_memory_region {
            Some(value) => {
                Some(value.as_str().map_err(|e| Error::unable_to_parse("shared_memory_region", e))?)
            }
            None => None,
        };
        let number = |name, value: &Option<Value<'_>>| match value {
            Some(value) => value.as_u64().map_err(|e| Error::unable_to_parse(name, e)),
            None => Ok(0),
        };
        let offset = number("shared_memory_offset", &self.shared_memory_offset)?;
        let byte_size = number("shared_memory_byte_size", &self.shared_memory_byte_size)?;
        Ok(region.map(|region| SharedMemory { region: region.text(), offset, byte_size }))
    }
}
