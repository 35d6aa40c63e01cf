//! TensorRT's element types among Triton's.

use nereid_core::DataType;
use nereid_tensorrt::TensorDataType;

/// Triton's name for `datatype`; `None` where a config has none: FP8, FP4, INT4 and E8M0.
pub(crate) fn of_engine(datatype: TensorDataType) -> Option<DataType> {
    Some(match datatype {
        TensorDataType::Float => DataType::Fp32,
        TensorDataType::Half => DataType::Fp16,
        TensorDataType::Bf16 => DataType::Bf16,
        TensorDataType::Int8 => DataType::Int8,
        TensorDataType::Uint8 => DataType::Uint8,
        TensorDataType::Int32 => DataType::Int32,
        TensorDataType::Int64 => DataType::Int64,
        TensorDataType::Bool => DataType::Bool,
        TensorDataType::Fp8 | TensorDataType::Int4 | TensorDataType::Fp4 | TensorDataType::E8m0 => {
            return None;
        }
    })
}

/// Whether an engine can have tensors of `datatype` at all.
pub(crate) fn is_known(datatype: DataType) -> bool {
    TensorDataType::ALL.into_iter().any(|engine| of_engine(engine) == Some(datatype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let names: Vec<_> =
            TensorDataType::ALL.into_iter().filter_map(of_engine).map(DataType::protocol_name).collect();
        assert_eq!(names, ["FP32", "FP16", "INT8", "INT32", "BOOL", "UINT8", "BF16", "INT64"]);
        assert!(is_known(DataType::Bf16) && !is_known(DataType::Bytes) && !is_known(DataType::Fp64));
    }
}
