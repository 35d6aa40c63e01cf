//! What an engine says about one of its tensors: plain data, read once when the plan is deserialised.

use crate::datatype::TensorDataType;
use crate::format::TensorFormat;

/// Dimensions that a tensor of TensorRT can have (`nvinfer1::Dims64::MAX_DIMS`).
pub const MAX_DIMS: usize = 8;

/// An input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    pub mode: TensorMode,
    pub datatype: TensorDataType,
    /// At most [`MAX_DIMS`] dimensions; -1: known at execution only.
    pub shape: Vec<i64>,
    /// Where TensorRT wants its address to point.
    pub location: TensorLocation,
    /// Whether its values, not only its shape, take part in working out shapes (`isShapeInferenceIO`): a shape tensor.
    pub is_shape_io: bool,
    /// Layout in memory, under the first profile.
    pub format: TensorFormat,
    /// Dimension along which elements are packed into vectors; -1: none.
    pub vectorized_dim: i32,
    /// Elements of such a vector; -1 where TensorRT does not say: the tensor is not vectorised.
    pub components_per_element: i32,
    /// Bytes of one element of such a vector; -1 likewise.
    pub bytes_per_component: i32,
}

/// Direction of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorMode {
    Input,
    Output,
}

/// Memory of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorLocation {
    Device,
    Host,
}
