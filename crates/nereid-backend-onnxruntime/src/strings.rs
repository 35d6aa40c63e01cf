//! BYTES tensors: the wire form to ONNX Runtime's strings and back, any bytes included. Triton's backend
//! cuts strings at a NUL; here lengths are passed.

use bytes::{Bytes, BytesMut};
use nereid_core::{Error, Result, shape, string_tensor};
use ort::sys::ONNXTensorElementDataType;

use crate::error::check;
use crate::raw::Value;
use crate::runtime::Runtime;

/// A string tensor of shape `dims` with the elements of `data`.
///
/// # Errors
/// `Internal` if the elements are not as many as `dims` says, or ONNX Runtime's own.
pub(crate) fn to_value(runtime: &Runtime, data: &[u8], dims: &[i64]) -> Result<Value> {
    let api = runtime.api;
    let value = Value::create(|out| {
        let (allocator, element) =
            (runtime.allocator.as_ptr(), ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
        // SAFETY: the allocator is never released, `dims` lives, `out` is a place for the pointer.
        unsafe { (api.CreateTensorAsOrtValue)(allocator, dims.as_ptr(), dims.len(), element, out) }
    })?;
    let expected = shape::element_count(dims).ok_or_else(wrong_count)?;
    let mut count = 0;
    for element in string_tensor::elements(data) {
        let element = element.ok().filter(|_| count < expected).ok_or_else(wrong_count)?;
        let mut buffer = std::ptr::null_mut();
        // SAFETY: the value lives and has more than `count` elements.
        check(api, unsafe {
            (api.GetResizedStringTensorElementBuffer)(value.as_ptr(), count, element.len(), &mut buffer)
        })?;
        // SAFETY: the buffer has room for the element, and is the value's own.
        unsafe { std::ptr::copy_nonoverlapping(element.as_ptr(), buffer.cast(), element.len()) };
        count += 1;
    }
    if count == expected { Ok(value) } else { Err(wrong_count()) }
}

/// Reusable room for the strings of one output.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    content: Vec<u8>,
    offsets: Vec<usize>,
}

impl Scratch {
    /// The `count` strings of `value` in the wire form.
    ///
    /// # Errors
    /// ONNX Runtime's own.
    pub(crate) fn read(&mut self, runtime: &Runtime, value: &Value, count: usize) -> Result<Bytes> {
        if count == 0 {
            return Ok(Bytes::new());
        }
        let api = runtime.api;
        let mut length = 0;
        // SAFETY: the value lives and is a string tensor.
        check(api, unsafe { (api.GetStringTensorDataLength)(value.as_ptr(), &mut length) })?;
        self.content.resize(length, 0);
        self.offsets.resize(count, 0);
        let (content, offsets) = (self.content.as_mut_ptr().cast(), self.offsets.as_mut_ptr());
        // SAFETY: both buffers have the lengths given, which are checked against the tensor's.
        check(api, unsafe { (api.GetStringTensorContent)(value.as_ptr(), content, length, offsets, count) })?;
        let mut wire = BytesMut::with_capacity(length + count * size_of::<u32>());
        let ends = self.offsets[1..].iter().copied().chain([length]);
        for (start, end) in self.offsets.iter().zip(ends) {
            string_tensor::push(&mut wire, &self.content[*start..end]);
        }
        Ok(wire.freeze())
    }
}

fn wrong_count() -> Error {
    Error::internal("string tensor has another number of elements than its shape says")
}
