//! The `inputs` of a request: each one's fields, checked in Triton's order, with its data.
//!
//! An input is settled as soon as its object ends. After the first refusal the rest is only skipped, and
//! the refusal waits until the whole text is known to be JSON.

use std::collections::HashSet;

use bytes::Bytes;

use super::binary::BinaryParts;
use super::datatype::Datatype;
use super::error::{Error, Syntax};
use super::json::Reader;
use super::shape::{self, ElementCount};
use super::tensor_data::{self, Budget, TensorData};
use super::tensor_parameters::{SharedMemory, TensorParameters};
use super::value::{NO_ARRAY, NO_UINT, Value, no_member};

/// One input tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    /// `None` for a name that is no type. Triton lets it pass here and calls it `<invalid>` when the model's type
    /// differs.
    pub datatype: Option<Datatype>,
    /// As sent; dimensions above `i64::MAX` wrap to negative ones, as in Triton.
    pub shape: Vec<i64>,
    pub data: InputData,
}

/// Where the data of an input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputData {
    /// Dense, row-major, little-endian; a slice of the body when it came in binary.
    /// Not compared with the shape when it came in binary or as strings.
    Bytes(Bytes),
    SharedMemory(SharedMemory),
}

/// What settling an input needs besides its fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'c> {
    /// For messages.
    pub(super) model: &'c str,
    /// Largest tensor that may come as JSON.
    pub(super) max_input_bytes: usize,
}

/// Why the inputs of a request are refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Error(Error),
    /// A second input of this name; the message needs the id, which may come later.
    Duplicate(String),
}

impl Refusal {
    /// The error of the request `id`.
    pub(super) fn of_request(self, id: &str) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Duplicate(name) => {
                let id = if id.is_empty() { "<id_unknown>" } else { id };
                Error::invalid_arg(format!("[request id: {id}] input '{name}' already exists in request"))
            }
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// With the reader on the `[` of `inputs`: reads it and moves behind it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    binary: &mut BinaryParts<'_>,
    context: Context<'_>,
) -> Result<Result<Vec<Input>, Refusal>, Syntax> {
    let mut inputs = Ok(Vec::new());
    let mut names = Names::default();
    let mut more = reader.enter_array();
    while more {
        match &mut inputs {
            Err(_) => reader.skip()?,
            Ok(list) => {
                let mut fields = Fields::default();
                fields.read(reader, context)?;
                let is_new = |name: &str| names.insert(list, name);
                match fields.settle(reader.text, binary, context, is_new) {
                    Ok(input) => list.push(input),
                    Err(error) => inputs = Err(error),
                }
            }
        }
        more = reader.next_element()?;
    }
    Ok(inputs)
}

/// The names of the inputs so far; they are compared one by one as long as they are few.
#[derive(Debug, Default)]
struct Names(HashSet<String>);

impl Names {
    const FEW: usize = 16;

    /// Whether `name` is none of those of `inputs`. What has been asked for once counts from then on.
    fn insert(&mut self, inputs: &[Input], name: &str) -> bool {
        if inputs.len() < Self::FEW {
            return inputs.iter().all(|input| input.name != name);
        }
        if self.0.is_empty() {
            self.0.extend(inputs.iter().map(|input| input.name.clone()));
        }
        self.0.insert(name.to_owned())
    }
}

/// The fields of an input as they stand.
#[derive(Debug, Default)]
struct Fields<'a> {
    name: Option<Value<'a>>,
    datatype: Option<Value<'a>>,
    shape: Option<Result<Vec<i64>, &'static str>>,
    data: Option<Data<'a>>,
    parameters: TensorParameters<'a>,
}

#[derive(Debug)]
enum Data<'a> {
    /// Read on the way, because the datatype came first.
    Tensor(TensorData),
    /// To be read when the datatype is known.
    Later(Value<'a>),
}

impl<'a> Fields<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, context: Context<'_>) -> Result<(), Syntax> {
        if reader.peek() != b'{' {
            return reader.skip();
        }
        let mut more = reader.enter_object()?;
        while more {
            let name = reader.name()?;
            // Of equal names Triton sees the first.
            match &*name.bytes() {
                b"name" if self.name.is_none() => self.name = Some(reader.value()?),
                b"datatype" if self.datatype.is_none() => self.datatype = Some(reader.value()?),
                b"shape" if self.shape.is_none() => self.shape = Some(read_shape(reader)?),
                b"parameters" => self.parameters.read(reader)?,
                b"data" if self.data.is_none() => self.data = Some(self.read_data(reader, context)?),
                _ => reader.skip()?,
            }
            more = reader.next_member()?;
        }
        Ok(())
    }

    fn read_data(&self, reader: &mut Reader<'a>, context: Context<'_>) -> Result<Data<'a>, Syntax> {
        let readable = self.datatype().filter(|datatype| tensor_data::is_readable(*datatype));
        Ok(match readable {
            Some(datatype) if reader.peek() == b'[' => {
                Data::Tensor(tensor_data::read(reader, datatype, self.budget(context))?)
            }
            _ => Data::Later(reader.value()?),
        })
    }

    fn datatype(&self) -> Option<Datatype> {
        Datatype::from_name(&self.datatype?.as_str().ok()?.bytes())
    }

    fn budget(&self, context: Context<'_>) -> Budget {
        let expected = match &self.shape {
            Some(Ok(shape)) => match shape::element_count(shape) {
                ElementCount::Known(count) => usize::try_from(count).unwrap_or(usize::MAX),
                _ => 0,
            },
            _ => 0,
        };
        Budget { max_bytes: context.max_input_bytes, expected }
    }

    /// Checks the fields in the order in which Triton does.
    fn settle(
        mut self,
        text: &'a [u8],
        binary: &mut BinaryParts<'_>,
        context: Context<'_>,
        is_new: impl FnOnce(&str) -> bool,
    ) -> Result<Input, Refusal> {
        self.one_source()?;
        let name = text_of("name", self.name)?;
        let datatype_name = self.datatype.ok_or_else(|| no_member("datatype"));
        let datatype_name = datatype_name.and_then(|value| Ok(value.as_str()?));
        datatype_name.map_err(|reason| Error::unable_to_parse("datatype", reason))?;
        let datatype = self.datatype();
        let budget = self.budget(context);
        let shape = match self.shape.take() {
            Some(Ok(shape)) => shape,
            Some(Err(reason)) => return Err(Error::unable_to_parse("shape", reason).into()),
            None => return Err(Error::unable_to_parse("shape", no_member("shape")).into()),
        };
        if !is_new(&name) {
            return Err(Refusal::Duplicate(name)); // before its data is looked at
        }
        let data = if let Some(size) = self.parameters.binary_data_size {
            let size = size.as_u64().map_err(|e| Error::unable_to_parse("binary_data_size", e))?;
            InputData::Bytes(binary.take(size, &name, context.model)?)
        } else if let Some(shared_memory) = self.parameters.shared_memory()? {
            InputData::SharedMemory(shared_memory)
        } else {
            let tensor = JsonTensor { name: &name, datatype, shape: &shape, data: self.data.take(), budget };
            InputData::Bytes(tensor.settle(text)?)
        };
        Ok(Input { name, datatype, shape, data })
    }

    fn one_source(&self) -> Result<(), Error> {
        let sources = [
            (self.data.is_some(), " 'data'"),
            (self.parameters.binary_data_size.is_some(), " 'binary_data_size'"),
            (self.parameters.shared_memory_region.is_some(), " 'shared_memory_region'"),
        ];
        let found = match sources.iter().filter(|(set, _)| *set).count() {
            1 => return Ok(()),
            0 => " no field is set".to_owned(),
            _ => {
                sources.iter().filter(|(set, _)| *set).fold(" set".to_owned(), |text, (_, name)| text + name)
            }
        };
        Err(Error::invalid_arg(format!(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', \
             'shared_memory_region' in 'parameters'. But{found}"
        )))
    }
}

/// An input whose data is in the JSON.
struct JsonTensor<'t, 'a> {
    name: &'t str,
    datatype: Option<Datatype>,
    shape: &'t [i64],
    data: Option<Data<'a>>,
    budget: Budget,
}

impl<'a> JsonTensor<'_, 'a> {
    fn settle(self, text: &'a [u8]) -> Result<Bytes, Error> {
        let Self { name, datatype, shape, data, budget } = self;
        let elements = match shape::element_count(shape) {
            ElementCount::Known(0) => return Ok(Bytes::new()), // whatever `data` is
            ElementCount::Known(count) => count,
            ElementCount::Variable => -1,
            ElementCount::Invalid => {
                return Err(Error::invalid_arg(format!(
                    "invalid shape for input '{name}': shape {} contains one or more invalid dimensions",
                    shape::Dims(shape)
                )));
            }
            ElementCount::Overflow => {
                return Err(Error::invalid_arg(format!(
                    "invalid shape for input '{name}': shape {} causes total element count to exceed maximum size \
                     of {}",
                    shape::Dims(shape),
                    i64::MAX
                )));
            }
        };
        let tensor = match (datatype, data) {
            (_, Some(Data::Tensor(tensor))) => tensor,
            (Some(datatype), Some(Data::Later(Value::Array(at)))) if tensor_data::is_readable(datatype) => {
                tensor_data::read(&mut Reader { text, at }, datatype, budget)?
            }
            (_, Some(Data::Later(Value::Array(_)))) => TensorData::default(),
            (_, Some(Data::Later(_))) => return Err(Error::unable_to_parse("data", NO_ARRAY)),
            (_, None) => return Err(Error::unable_to_parse("data", no_member("data"))),
        };
        let byte_size = match datatype {
            Some(Datatype::Bytes) => tensor.string_bytes()?,
            _ => dense_byte_size(name, datatype, elements)?,
        };
        if byte_size > budget.max_bytes as u64 {
            return Err(Error::invalid_arg(format!(
                "JSON input '{name}' has a byte_size ({byte_size} bytes) that exceeds the maximum allowed value of \
                 {} bytes. Use --http-max-input-size to increase the limit.",
                budget.max_bytes
            )));
        }
        match datatype {
            None => Err(Error::invalid_arg(format!("invalid datatype for input {name}"))),
            Some(datatype) if !tensor_data::is_readable(datatype) => Err(Error::invalid_arg(format!(
                "receiving {} data via JSON is not supported. Please use the binary data format for input {name}",
                datatype.name()
            ))),
            // Triton's buffer for no strings is none.
            Some(Datatype::Bytes) if byte_size == 0 => {
                Err(Error::internal("Failed to parse 'data' field: output buffer unavailable"))
            }
            Some(datatype) => {
                let expected = usize::try_from(elements).unwrap_or(usize::MAX);
                Ok(tensor.into_bytes(datatype, expected)?.into())
            }
        }
    }
}

/// Bytes that the shape asks for. A shape with a variable dimension (-1 elements) wraps to a huge one, as in Triton.
fn dense_byte_size(name: &str, datatype: Option<Datatype>, elements: i64) -> Result<u64, Error> {
    let size = datatype.and_then(Datatype::size_bytes).unwrap_or(0) as i64;
    match elements.checked_mul(size) {
        Some(bytes) => Ok(bytes as u64),
        None => Err(Error::invalid_arg(format!(
            "byte size overflow for input '{name}': element count ({elements}) * data type size ({size}) exceeds \
             maximum allowed size ({})",
            i64::MAX
        ))),
    }
}

/// The text of a member that must be a string.
pub(super) fn text_of(field: &str, value: Option<Value<'_>>) -> Result<String, Error> {
    let value = value.ok_or_else(|| Error::unable_to_parse(field, no_member(field)))?;
    value.as_str().map(|string| string.text()).map_err(|reason| Error::unable_to_parse(field, reason))
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Result<Vec<i64>, &'static str>, Syntax> {
    if reader.peek() != b'[' {
        reader.skip()?;
        return Ok(Err(NO_ARRAY));
    }
    let mut shape = Ok(Vec::new());
    let mut more = reader.enter_array();
    while more {
        match (reader.value()?.as_u64(), &mut shape) {
            (Ok(dim), Ok(dims)) => dims.push(dim as i64),
            (Err(_), Ok(_)) => shape = Err(NO_UINT),
            (_, Err(_)) => {}
        }
        more = reader.next_element()?;
    }
    Ok(shape)
}
