//! What a shape in a request says about the number of elements, by Triton's rules, and how it is printed.

use std::fmt;

/// Elements of a tensor as the HTTP frontend counts them (`GetElementCount`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementCount {
    Known(i64),
    /// A dimension is -1.
    Variable,
    /// A dimension is below -1.
    Invalid,
    Overflow,
}

/// Counts from the left and stops at the first dimension that decides. A shape without dimensions has no elements.
pub(super) fn element_count(shape: &[i64]) -> ElementCount {
    let mut count = i64::from(!shape.is_empty());
    for &dim in shape {
        match dim {
            -1 => return ElementCount::Variable,
            ..-1 => return ElementCount::Invalid,
            0 => return ElementCount::Known(0),
            _ => match count.checked_mul(dim) {
                Some(product) => count = product,
                None => return ElementCount::Overflow,
            },
        }
    }
    ElementCount::Known(count)
}

/// Prints as Triton does: `[1,28,28]`, without blanks.
#[derive(Debug)]
pub(super) struct Dims<'a>(pub(super) &'a [i64]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{dim}")?;
        }
        f.write_str("]")
    }
}
