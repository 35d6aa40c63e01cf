//! What becomes of the batch dimension of a tensor that goes from a model that batches to one that does not, or the other
//! way round (`ReshapeTensorDims` in Triton's ensemble_scheduler.cc). Pure.

use nereid_core::{Shape, shape};

/// The shape in which a tensor of `shape` goes to whoever expects `dims`, behind a batch dimension if `batches`. `rows` is
/// 0 if whoever made it does not batch.
pub(super) fn handed_on(dims: &[i64], batches: bool, rows: u32, shape: &Shape) -> Shape {
    let fits = || shape::matches(dims, shape);
    match (batches, rows) {
        (true, 0) if fits() => std::iter::once(1).chain(shape.iter().copied()).collect(),
        (false, 1) if !shape.is_empty() && !fits() => Shape::from_slice(&shape[1..]),
        _ => shape.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (dims, batches, rows, shape, expected) in [
            (&[4][..], true, 2, &[2, 4][..], &[2, 4][..]),
            (&[4], false, 0, &[4], &[4]),
            (&[4], true, 0, &[4], &[1, 4]), // one row for a model that batches
            (&[4], true, 0, &[3, 4], &[3, 4]), // a batch already
            (&[-1, 4], true, 0, &[3, 4], &[1, 3, 4]),
            (&[4], false, 1, &[1, 4], &[4]),        // the only row
            (&[-1, 4], false, 1, &[1, 4], &[1, 4]), // fits as it is
            (&[-1, 4], false, 3, &[3, 4], &[3, 4]),
            (&[4], false, 3, &[3, 4], &[3, 4]), // will be refused
            (&[4], false, 1, &[], &[]),
        ] {
            let shape = Shape::from_slice(shape);
            assert_eq!(
                handed_on(dims, batches, rows, &shape).as_slice(),
                expected,
                "{dims:?} {rows} {shape:?}"
            );
        }
    }
}
