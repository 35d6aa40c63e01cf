//! Layouts in which elements are packed into vectors along one dimension, such as CHW32: how large a tensor is in memory.

use nereid_core::Shape;
use nereid_core::shape::element_count;
use nereid_tensorrt::TensorInfo;

use crate::engine_info::is_linear;

/// A layout that is not row-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The dimension, of the full shape, that is padded to whole vectors.
    dimension: usize,
    /// Elements of a vector, at least 1.
    components: i64,
}

impl Layout {
    /// The layout of `tensor`; `None` if it is row-major, or if the engine says nothing that makes sense.
    pub(crate) fn of(tensor: &TensorInfo) -> Option<Self> {
        if is_linear(tensor) {
            return None;
        }
        let dimension =
            usize::try_from(tensor.vectorized_dim).ok().filter(|dim| *dim < tensor.shape.len())?;
        let components = i64::from(tensor.components_per_element);
        (components >= 1).then_some(Self { dimension, components })
    }

    /// `shape` with its padding; `None` if it has no such dimension, or too large a one.
    pub(crate) fn padded(self, shape: &[i64]) -> Option<Shape> {
        let Self { dimension, components } = self;
        let size = *shape.get(dimension)?;
        let mut padded = Shape::from_slice(shape);
        padded[dimension] = (size.checked_add(components - 1)? / components).checked_mul(components)?;
        Some(padded)
    }

    /// Elements in memory of a tensor of `shape`, padding included; `None` if there are too many to count, or if the shape
    /// has no such dimension.
    ///
    /// Triton's backend adds a whole vector where none is needed.
    pub(crate) fn element_count(self, shape: &[i64]) -> Option<usize> {
        element_count(&self.padded(shape)?)
    }
}

#[cfg(test)]
mod tests {
    use nereid_tensorrt::{TensorDataType, TensorFormat, TensorLocation, TensorMode};

    use super::*;

    fn tensor(format: TensorFormat, vectorized_dim: i32, components_per_element: i32) -> TensorInfo {
        TensorInfo {
            name: "x".into(),
            mode: TensorMode::Input,
            datatype: TensorDataType::Half,
            shape: vec![-1, 13, 2, 1],
            location: TensorLocation::Device,
            is_shape_io: false,
            format,
            vectorized_dim,
            components_per_element,
            bytes_per_component: 2,
        }
    }

    #[test]
    fn layouts() {
        let check = |format, dim, components, expected| {
            let layout = Layout::of(&tensor(format, dim, components));
            let got = layout.map(|layout| (layout.dimension, layout.components));
            assert_eq!(got, expected, "{format} {dim} {components}");
        };
        check(TensorFormat::Linear, -1, -1, None);
        check(TensorFormat::Chw2, 1, 2, Some((1, 2)));
        check(TensorFormat::Hwc, -1, 1, None);
        check(TensorFormat::Chw2, 4, 2, None);
        check(TensorFormat::Chw2, 1, 0, None);
    }

    #[test]
    fn sizes() {
        let layout = |components| Layout { dimension: 1, components };
        for (components, shape, expected) in [
            (2, &[1, 13, 2, 1][..], Some(28)),
            (32, &[3, 13, 2, 1], Some(192)),
            (32, &[1, 32, 1, 1], Some(32)),
            (32, &[0, 32, 1, 1], Some(0)),
            (32, &[7], None),
            (32, &[i64::MAX, 2, 2], None),
            (32, &[1, i64::MAX], None),
            (2, &[-1, 2], None),
        ] {
            assert_eq!(layout(components).element_count(shape), expected, "{components} {shape:?}");
        }
    }
}
