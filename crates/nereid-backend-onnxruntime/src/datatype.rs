//! Element types: ONNX Runtime's numbers and ours. Complex, 8-bit float and 4-bit types have no name in
//! the protocol.

use nereid_core::DataType;
use ort::sys::ONNXTensorElementDataType as Element;

/// ONNX Runtime's type for `datatype`.
pub(crate) fn element_type(datatype: DataType) -> Element {
    match datatype {
        DataType::Bool => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        DataType::Uint8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        DataType::Uint16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        DataType::Uint32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        DataType::Uint64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        DataType::Int8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        DataType::Int16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        DataType::Int32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        DataType::Int64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        DataType::Fp16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        DataType::Fp32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        DataType::Fp64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        DataType::Bytes => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
        DataType::Bf16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
    }
}

/// Our type for ONNX Runtime's number, which a newer library may have invented.
pub(crate) fn from_number(number: i32) -> Option<DataType> {
    DataType::ALL.into_iter().find(|datatype| element_type(*datatype) as i32 == number)
}

/// ONNX Runtime's word for `datatype`, as Triton's backend prints it.
pub(crate) fn onnx_name(datatype: DataType) -> &'static str {
    match datatype {
        DataType::Fp16 => "FLOAT16",
        DataType::Fp32 => "FLOAT",
        DataType::Fp64 => "DOUBLE",
        DataType::Bf16 => "BFLOAT16",
        DataType::Bytes => "STRING",
        other => other.protocol_name(),
    }
}
