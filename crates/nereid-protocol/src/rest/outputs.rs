//! The `outputs` of a request: which ones the client wants and how.

use super::error::{Error, Syntax};
use super::inputs::text_of;
use super::json::Reader;
use super::tensor_parameters::{SharedMemory, TensorParameters};
use super::value::Value;

/// How a tensor that is sent over the wire is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// A flat list in the JSON.
    #[default]
    Json,
    /// Bytes behind the JSON.
    Binary,
}

/// One output that the client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    /// Of no matter when there is shared memory.
    pub encoding: Encoding,
    /// How many of the best classes to send instead of the tensor; 0 sends the tensor.
    pub classification: u32,
    /// Where to put the tensor instead of sending it.
    pub shared_memory: Option<SharedMemory>,
}

/// With the reader on the `[` of `outputs`: reads it and moves behind it.
///
/// Names may repeat; refusing that is for whoever knows the request's id.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Result<Vec<Output>, Error>, Syntax> {
    let mut outputs = Ok(Vec::new());
    let mut more = reader.enter_array();
    while more {
        match &mut outputs {
            Err(_) => reader.skip()?,
            Ok(list) => {
                let mut fields = Fields::default();
                fields.read(reader)?;
                match fields.settle() {
                    Ok(output) => list.push(output),
                    Err(error) => outputs = Err(error),
                }
            }
        }
        more = reader.next_element()?;
    }
    Ok(outputs)
}

/// The fields of an output as they stand.
#[derive(Debug, Default)]
struct Fields<'a> {
    name: Option<Value<'a>>,
    parameters: TensorParameters<'a>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), Syntax> {
        if reader.peek() != b'{' {
            return reader.skip();
        }
        let mut more = reader.enter_object()?;
        while more {
            let name = reader.name()?;
            match &*name.bytes() {
                b"name" if self.name.is_none() => self.name = Some(reader.value()?),
                b"parameters" => self.parameters.read(reader)?,
                _ => reader.skip()?,
            }
            more = reader.next_member()?;
        }
        Ok(())
    }

    /// Checks the fields in the order in which Triton does.
    fn settle(&self) -> Result<Output, Error> {
        let parameters = &self.parameters;
        no_conflict(parameters)?;
        let name = text_of("name", self.name)?;
        let classification = match parameters.classification {
            Some(value) => value.as_u64().map_err(|e| unable_to_set("classification", e))?,
            None => 0,
        };
        let shared_memory = parameters.shared_memory()?;
        let encoding = match parameters.binary_data {
            Some(value) if shared_memory.is_none() => {
                encoding(value.as_bool().map_err(|e| Error::unable_to_parse("binary_data", e))?)
            }
            _ => Encoding::Json,
        };
        let classification = u32::try_from(classification).unwrap_or(u32::MAX);
        Ok(Output { name, encoding, classification, shared_memory })
    }
}

pub(super) fn encoding(binary: bool) -> Encoding {
    if binary { Encoding::Binary } else { Encoding::Json }
}

fn no_conflict(parameters: &TensorParameters<'_>) -> Result<(), Error> {
    if parameters.shared_memory_region.is_none() {
        return Ok(());
    }
    if parameters.classification.is_some() {
        return Err(Error::invalid_arg("Output can't set both 'shared_memory_region' and 'classification'"));
    }
    match parameters.binary_data.map(|value| value.as_bool()) {
        None | Some(Ok(false)) => Ok(()),
        Some(Ok(true)) => {
            Err(Error::invalid_arg("Output can't set both 'shared_memory_region' and 'binary_data'"))
        }
        Some(Err(reason)) => Err(unable_to_set("binary_data", reason)),
    }
}

fn unable_to_set(field: &str, reason: &str) -> Error {
    Error::internal(format!("Unable to set '{field}': {reason}"))
}
