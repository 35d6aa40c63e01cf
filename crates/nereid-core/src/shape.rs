//! Tensor shapes: lists of dimensions, their checked products, and Triton's way of printing them.

use std::fmt;

use smallvec::SmallVec;

use crate::DataType;

/// Dimensions of one tensor, outermost first. `-1` stands for "variable" where a config allows it.
pub type Shape = SmallVec<[i64; 4]>;

/// Number of elements, or `None` if a dimension is negative or the product does not fit 63 bits.
/// A shape of rank 0 has one element; any zero dimension makes it zero.
pub fn element_count(dims: &[i64]) -> Option<usize> {
    let mut count = 1_i64;
    let mut zero = false;
    for &dim in dims {
        if dim < 0 {
            return None;
        }
        if dim == 0 {
            zero = true; // the others must be looked at still: [0, -1] is invalid
        } else {
            count = count.checked_mul(dim)?;
        }
    }
    usize::try_from(if zero { 0 } else { count }).ok()
}

/// Bytes of a dense tensor, or `None` on overflow or for [`DataType::Bytes`].
pub fn byte_size(datatype: DataType, dims: &[i64]) -> Option<usize> {
    element_count(dims)?.checked_mul(datatype.size_bytes()?).filter(|n| isize::try_from(*n).is_ok())
}

/// Whether `dims` fits `pattern`, in which `-1` allows any size.
pub fn matches(pattern: &[i64], dims: &[i64]) -> bool {
    pattern.len() == dims.len() && pattern.iter().zip(dims).all(|(p, d)| *p == -1 || p == d)
}

/// `actual` with its dimensions after the first `batch_dims`, which are as `from` says, as `to` says instead: what is
/// variable in `from` is so in `to`, in the same order.
pub fn reshape(actual: &[i64], batch_dims: usize, from: &[i64], to: &[i64]) -> Shape {
    let (batch, dims) = actual.split_at(batch_dims.min(actual.len()));
    let mut variable = from.iter().zip(dims).filter(|(from, _)| **from == -1).map(|(_, dim)| *dim);
    let mut shape = Shape::from_slice(batch);
    shape.extend(to.iter().map(|&dim| if dim == -1 { variable.next().unwrap_or(1) } else { dim }));
    shape
}

/// Prints as Triton does: `[1,28,28]`, without blanks.
#[derive(Debug, Clone, Copy)]
pub struct Dims<'a>(pub &'a [i64]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_counts() {
        for (dims, expected) in [
            (&[][..], Some(1)),
            (&[2, 3], Some(6)),
            (&[2, 0], Some(0)),
            (&[0, i64::MAX, i64::MAX], None), // even though a zero would cancel it
            (&[-1, 2], None),
            (&[0, -1], None),
            (&[1 << 32, 1 << 32], None),
            (&[i64::MAX], Some(i64::MAX as usize)),
        ] {
            assert_eq!(element_count(dims), expected, "{dims:?}");
        }
        assert_eq!(byte_size(DataType::Fp64, &[i64::MAX / 4]), None);
        assert_eq!(byte_size(DataType::Bytes, &[1]), None);
        assert_eq!(byte_size(DataType::Bf16, &[3, 5]), Some(30));
    }

    #[test]
    fn reshapes() {
        let check = |actual: &[i64], batch_dims, from: &[i64], to: &[i64], expected: &[i64]| {
            assert_eq!(reshape(actual, batch_dims, from, to)[..], *expected);
        };
        check(&[2, 6], 1, &[6], &[2, 3], &[2, 2, 3]);
        check(&[6], 0, &[6], &[2, 3], &[2, 3]);
        check(&[9, 4, 6, 5], 1, &[-1, 6, -1], &[2, -1, 3, -1], &[9, 2, 4, 3, 5]);
        check(&[2, 1], 1, &[1], &[], &[2]);
        check(&[2], 1, &[], &[1], &[2, 1]);
    }

    #[test]
    fn patterns_and_printing() {
        assert!(matches(&[-1, 28], &[7, 28]));
        assert!(!matches(&[-1, 28], &[7, 27]));
        assert!(!matches(&[-1], &[7, 1]));
        assert_eq!(Dims(&[-1, 1, 28]).to_string(), "[-1,1,28]");
        assert_eq!(Dims(&[]).to_string(), "[]");
    }
}
