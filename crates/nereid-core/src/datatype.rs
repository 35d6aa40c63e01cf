//! Tensor element types and their three spellings: protocol (`FP32`), config (`TYPE_FP32`), size.

use std::fmt;

/// Element type of a tensor. Discriminants are Triton's `inference.DataType` numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum DataType {
    Bool = 1,
    Uint8 = 2,
    Uint16 = 3,
    Uint32 = 4,
    Uint64 = 5,
    Int8 = 6,
    Int16 = 7,
    Int32 = 8,
    Int64 = 9,
    Fp16 = 10,
    Fp32 = 11,
    Fp64 = 12,
    /// Variable-length byte strings; config calls it `TYPE_STRING`, the protocol `BYTES`.
    Bytes = 13,
    Bf16 = 14,
}

impl DataType {
    /// Every type, by ascending number.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
        Self::Bf16,
    ];

    /// The KServe v2 name, such as `FP32` or `BYTES`.
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::Bytes => "BYTES",
            _ => {
                let (_, name) = self.config_name().split_at("TYPE_".len());
                name
            }
        }
    }

    /// The name in config.pbtxt, such as `TYPE_FP32` or `TYPE_STRING`.
    pub const fn config_name(self) -> &'static str {
        match self {
            Self::Bool => "TYPE_BOOL",
            Self::Uint8 => "TYPE_UINT8",
            Self::Uint16 => "TYPE_UINT16",
            Self::Uint32 => "TYPE_UINT32",
            Self::Uint64 => "TYPE_UINT64",
            Self::Int8 => "TYPE_INT8",
            Self::Int16 => "TYPE_INT16",
            Self::Int32 => "TYPE_INT32",
            Self::Int64 => "TYPE_INT64",
            Self::Fp16 => "TYPE_FP16",
            Self::Fp32 => "TYPE_FP32",
            Self::Fp64 => "TYPE_FP64",
            Self::Bytes => "TYPE_STRING",
            Self::Bf16 => "TYPE_BF16",
        }
    }

    /// Parses a KServe v2 name.
    pub fn from_protocol_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.protocol_name() == name)
    }

    /// The type with Triton's config enum number `number`; 0 (`TYPE_INVALID`) and unknown are `None`.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as i32 == number)
    }

    /// Bytes per element, or `None` for [`DataType::Bytes`], whose elements vary.
    pub const fn size_bytes(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => 2,
            Self::Uint32 | Self::Int32 | Self::Fp32 => 4,
            Self::Uint64 | Self::Int64 | Self::Fp64 => 8,
            Self::Bytes => return None,
        })
    }
}

/// The protocol name.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip() {
        for (i, t) in DataType::ALL.into_iter().enumerate() {
            assert_eq!(t as usize, i + 1);
            assert_eq!(DataType::from_number(t as i32), Some(t));
            assert_eq!(DataType::from_protocol_name(t.protocol_name()), Some(t));
        }
        assert_eq!(DataType::Bytes.protocol_name(), "BYTES");
        assert_eq!(DataType::Bf16.protocol_name(), "BF16");
        assert_eq!(DataType::from_protocol_name("STRING"), None);
        assert_eq!(DataType::from_number(0), None);
    }
}
