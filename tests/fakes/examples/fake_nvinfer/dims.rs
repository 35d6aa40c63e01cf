//! `nvinfer1::Dims64`, and shapes.

use super::object::die;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub count: i32,
    pub sizes: [i64; 8],
}

impl Dims {
    /// TensorRT's mark of an error.
    pub const INVALID: Self = Self { count: -1, sizes: [0; 8] };

    pub fn of(shape: &[i64]) -> Self {
        let mut dims = Self { count: shape.len() as i32, sizes: [0; 8] };
        dims.sizes[..shape.len()].copy_from_slice(shape);
        dims
    }

    pub fn shape(&self) -> &[i64] {
        match usize::try_from(self.count) {
            Ok(count) if count <= 8 => &self.sizes[..count],
            _ => die(&format!("a shape has {} dimensions", self.count)),
        }
    }
}

/// How many elements there are; `None`: a dimension is not known.
pub fn volume(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &size| Some(product * usize::try_from(size).ok()?))
}

/// As TensorRT writes shapes.
pub fn written(shape: &[i64]) -> String {
    format!("[{}]", shape.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}
