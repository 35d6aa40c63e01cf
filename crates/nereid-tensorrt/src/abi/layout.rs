//! Layouts that are the same in every TensorRT 10 and 11.

use std::ffi::c_char;

use crate::tensor::MAX_DIMS;

/// `nvinfer1::Dims64`: 72 bytes, given and taken by value as a C structure of that size is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dims {
    count: i32,
    sizes: [i64; MAX_DIMS],
}

impl Dims {
    /// `shape` in TensorRT's words; `None` if it has too many dimensions.
    pub(crate) fn of(shape: &[i64]) -> Option<Self> {
        let mut dims = Self { count: i32::try_from(shape.len()).ok()?, sizes: [0; MAX_DIMS] };
        dims.sizes.get_mut(..shape.len())?.copy_from_slice(shape);
        Some(dims)
    }

    /// The shape; `None` if this is TensorRT's mark of an error, or nonsense.
    pub(crate) fn shape(&self) -> Option<&[i64]> {
        self.sizes.get(..usize::try_from(self.count).ok()?)
    }

    /// The number of dimensions as TensorRT gave it.
    pub(crate) fn count(&self) -> i32 {
        self.count
    }
}

/// `nvinfer1::InterfaceInfo`: what an object of ours says that it is.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct InterfaceInfo {
    pub(crate) kind: *const c_char,
    pub(crate) major: i32,
    pub(crate) minor: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        assert_eq!((size_of::<Dims>(), std::mem::offset_of!(Dims, sizes)), (72, 8));
        assert_eq!((size_of::<InterfaceInfo>(), std::mem::offset_of!(InterfaceInfo, major)), (16, 8));
    }

    #[test]
    fn dims() {
        for shape in [&[][..], &[1], &[-1, 3, 224, 224], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            assert_eq!(Dims::of(shape).unwrap().shape(), Some(shape));
        }
        assert_eq!(Dims::of(&[1; 9]), None);
        for count in [-1, 9, i32::MAX, i32::MIN] {
            assert_eq!(Dims { count, sizes: [1; MAX_DIMS] }.shape(), None, "{count}");
        }
    }
}
