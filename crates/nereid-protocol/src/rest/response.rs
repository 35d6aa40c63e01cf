//! An inference response: a JSON object, and binary tensors behind it; and the body of an error.
//!
//! The parts are handed out as they are, not joined, so that tensors are not copied.

use bytes::Bytes;

use super::datatype::Datatype;
use super::error::Error;
use super::json_write as json;
use super::outputs::Encoding;
use super::parameters::Parameter;

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The client's; left out when empty.
    pub id: &'a str,
    pub model_name: &'a str,
    /// The version that ran.
    pub model_version: u64,
    /// Left out when empty.
    pub parameters: &'a [(String, Parameter)],
    pub outputs: &'a [OutputView<'a>],
}

/// One output tensor to write.
#[derive(Debug, Clone, Copy)]
pub struct OutputView<'a> {
    pub name: &'a str,
    pub datatype: Datatype,
    pub shape: &'a [i64],
    /// Dense, row-major, little-endian.
    pub data: &'a Bytes,
    /// `None` when the data went to shared memory: only name, type and shape are written.
    pub encoding: Option<Encoding>,
}

/// A written response.
#[derive(Debug, Clone, Default)]
pub struct ResponseBody {
    pub json: Bytes,
    /// What follows the JSON; none of it is empty.
    pub binary: Vec<Bytes>,
}

impl ResponseBody {
    /// `Inference-Header-Content-Length`, which the response carries (and is `application/octet-stream`) only when
    /// binary data follows; otherwise it is `application/json`.
    pub fn header_length(&self) -> Option<usize> {
        (!self.binary.is_empty()).then_some(self.json.len())
    }

    /// Bytes of the whole body.
    pub fn content_length(&self) -> usize {
        self.json.len() + self.binary.iter().map(Bytes::len).sum::<usize>()
    }
}

/// Writes a response as Triton does (`FinalizeResponse`, `WriteDataToJson`): members in its order, no blanks, JSON
/// tensors as flat lists.
///
/// # Errors
/// A JSON output is FP16 or BF16, or its data does not fit its shape.
pub fn write_response(response: &Response<'_>) -> Result<ResponseBody, Error> {
    let mut out = Vec::with_capacity(capacity(response));
    let mut binary = Vec::new();
    out.push(b'{');
    if !response.id.is_empty() {
        out.extend_from_slice(b"\"id\":");
        json::string(&mut out, response.id.as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"model_name\":");
    json::string(&mut out, response.model_name.as_bytes());
    out.extend_from_slice(b",\"model_version\":\"");
    json::integer(&mut out, response.model_version);
    out.push(b'"');
    if !response.parameters.is_empty() {
        out.extend_from_slice(b",\"parameters\":{");
        list(&mut out, response.parameters, write_parameter);
        out.push(b'}');
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (i, output) in response.outputs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_output(&mut out, output)?;
        if output.encoding == Some(Encoding::Binary) && !output.data.is_empty() {
            binary.push(output.data.clone());
        }
    }
    out.extend_from_slice(b"]}");
    Ok(ResponseBody { json: out.into(), binary })
}

/// `{"error":"message"}`.
pub fn error_body(message: &str) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 16);
    out.extend_from_slice(b"{\"error\":");
    json::string(&mut out, message.as_bytes());
    out.push(b'}');
    out.into()
}

fn write_parameter(out: &mut Vec<u8>, (name, value): &(String, Parameter)) {
    json::string(out, name.as_bytes());
    out.push(b':');
    write_value(out, value);
}

pub(super) fn write_value(out: &mut Vec<u8>, value: &Parameter) {
    match value {
        Parameter::Bool(value) => json::boolean(out, *value),
        Parameter::Int(value) => json::integer(out, *value),
        Parameter::Double(value) => json::double(out, *value),
        Parameter::Text(value) => json::string(out, value.as_bytes()),
    }
}

fn write_output(out: &mut Vec<u8>, output: &OutputView<'_>) -> Result<(), Error> {
    out.extend_from_slice(b"{\"name\":");
    json::string(out, output.name.as_bytes());
    out.extend_from_slice(b",\"datatype\":\"");
    out.extend_from_slice(output.datatype.name().as_bytes());
    out.extend_from_slice(b"\",\"shape\":[");
    list(out, output.shape, |out, dim| json::integer(out, *dim));
    out.push(b']');
    match output.encoding {
        None => {}
        Some(Encoding::Binary) => {
            out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            json::integer(out, output.data.len());
            out.push(b'}');
        }
        Some(Encoding::Json) => {
            out.extend_from_slice(b",\"data\":[");
            write_data(out, output)?;
            out.push(b']');
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes the elements, with commas between and no brackets around.
pub(super) fn write_data(out: &mut Vec<u8>, output: &OutputView<'_>) -> Result<(), Error> {
    match output.datatype {
        Datatype::Bool => elements(out, output, |out, [byte]: [u8; 1]| json::boolean(out, byte != 0)),
        Datatype::Uint8 => elements(out, output, |out, bytes| json::integer(out, u8::from_le_bytes(bytes))),
        Datatype::Uint16 => elements(out, output, |out, bytes| json::integer(out, u16::from_le_bytes(bytes))),
        Datatype::Uint32 => elements(out, output, |out, bytes| json::integer(out, u32::from_le_bytes(bytes))),
        Datatype::Uint64 => elements(out, output, |out, bytes| json::integer(out, u64::from_le_bytes(bytes))),
        Datatype::Int8 => elements(out, output, |out, bytes| json::integer(out, i8::from_le_bytes(bytes))),
        Datatype::Int16 => elements(out, output, |out, bytes| json::integer(out, i16::from_le_bytes(bytes))),
        Datatype::Int32 => elements(out, output, |out, bytes| json::integer(out, i32::from_le_bytes(bytes))),
        Datatype::Int64 => elements(out, output, |out, bytes| json::integer(out, i64::from_le_bytes(bytes))),
        // Triton's JSON knows doubles only, so 0.1 in FP32 reads 0.10000000149011612.
        Datatype::Fp32 => {
            elements(out, output, |out, bytes| json::double(out, f32::from_le_bytes(bytes).into()))
        }
        Datatype::Fp64 => elements(out, output, |out, bytes| json::double(out, f64::from_le_bytes(bytes))),
        Datatype::Bytes => strings(out, output),
        // Triton does not say which output.
        Datatype::Fp16 | Datatype::Bf16 => Err(Error::invalid_arg(format!(
            "sending {} data via JSON is not supported. Please use the binary data format for output",
            output.datatype.name()
        ))),
    }
}

/// Writes elements of `N` bytes each.
fn elements<const N: usize>(
    out: &mut Vec<u8>,
    output: &OutputView<'_>,
    write: impl Fn(&mut Vec<u8>, [u8; N]),
) -> Result<(), Error> {
    let (chunks, rest) = output.data.as_chunks::<N>();
    if !rest.is_empty() || element_count(output.shape) != Some(chunks.len()) {
        return Err(Error::internal(format!(
            "Failed to write 'data' field: output tensor shape does not match size of output for '{}'",
            output.name
        )));
    }
    list(out, chunks, |out, bytes| write(out, *bytes));
    Ok(())
}

/// Writes length-prefixed elements.
fn strings(out: &mut Vec<u8>, output: &OutputView<'_>) -> Result<(), Error> {
    let mismatch = || {
        Error::internal(format!("output tensor shape does not match size of output for '{}'", output.name))
    };
    let count = element_count(output.shape).ok_or_else(mismatch)?;
    let mut rest = &output.data[..];
    for i in 0..count {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(mismatch)?;
        let (text, behind) =
            behind.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(mismatch)?;
        if i > 0 {
            out.push(b',');
        }
        json::string(out, text);
        rest = behind;
    }
    Ok(())
}

pub(super) fn element_count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))
}

/// Writes `items` with commas between.
fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

/// A guess at the size of the JSON, to allocate once.
pub(super) fn capacity(response: &Response<'_>) -> usize {
    let output = |output: &OutputView<'_>| {
        let data = match (output.encoding, output.datatype) {
            (Some(Encoding::Json), Datatype::Fp32) => output.data.len() * 6,
            (Some(Encoding::Json), _) => output.data.len() * 3,
            _ => 0,
        };
        96 + output.name.len() + 8 * output.shape.len() + data
    };
    128 + response.id.len() + response.model_name.len() + response.outputs.iter().map(output).sum::<usize>()
}
