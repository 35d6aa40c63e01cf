//! Element types of TensorRT's tensors. What Triton calls them is for the backend to say.

use std::fmt;

/// `nvinfer1::DataType`: the same numbers in TensorRT 10 and 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum TensorDataType {
    Float = 0,
    Half = 1,
    Int8 = 2,
    Int32 = 3,
    Bool = 4,
    Uint8 = 5,
    Fp8 = 6,
    Bf16 = 7,
    Int64 = 8,
    Int4 = 9,
    Fp4 = 10,
    E8m0 = 11,
}

impl TensorDataType {
    /// Every type, by ascending number.
    pub const ALL: [Self; 12] = [
        Self::Float,
        Self::Half,
        Self::Int8,
        Self::Int32,
        Self::Bool,
        Self::Uint8,
        Self::Fp8,
        Self::Bf16,
        Self::Int64,
        Self::Int4,
        Self::Fp4,
        Self::E8m0,
    ];

    /// The type with TensorRT's `number`; `None` for those of a TensorRT that is newer than this code.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.number() == number)
    }

    /// TensorRT's number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Bits of one element: 4 for the types of which two share a byte.
    pub const fn bit_size(self) -> usize {
        match self {
            Self::Int64 => 64,
            Self::Float | Self::Int32 => 32,
            Self::Half | Self::Bf16 => 16,
            Self::Int8 | Self::Bool | Self::Uint8 | Self::Fp8 | Self::E8m0 => 8,
            Self::Int4 | Self::Fp4 => 4,
        }
    }

    /// TensorRT's name without its `k`, such as `FLOAT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float => "FLOAT",
            Self::Half => "HALF",
            Self::Int8 => "INT8",
            Self::Int32 => "INT32",
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Fp8 => "FP8",
            Self::Bf16 => "BF16",
            Self::Int64 => "INT64",
            Self::Int4 => "INT4",
            Self::Fp4 => "FP4",
            Self::E8m0 => "E8M0",
        }
    }
}

impl fmt::Display for TensorDataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
