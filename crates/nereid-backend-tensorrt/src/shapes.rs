//! How the shapes in a config are held against those of an engine (`tensorrt_utils.cc` in Triton's backend), with its
//! texts. Knows shapes only: which tensor they are of is for `check` to say.

use nereid_core::config::{BatchInput, BatchInputKind};
use nereid_core::shape::Dims;
use nereid_core::{Error, ModelConfig, Result};

/// Of which tensor messages speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) model: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) tensor: &'a str,
    /// Shapes of the config lack the batch dimension.
    pub(crate) batches: bool,
}

/// The dims that the engine gets for a tensor with these in its config.
pub(crate) fn declared_dims<'a>(dims: &'a [i64], reshape: Option<&'a [i64]>) -> &'a [i64] {
    reshape.unwrap_or(dims)
}

/// `dims` with a batch dimension of any size, if there is one.
pub(crate) fn full_dims(dims: &[i64], batches: bool) -> Vec<i64> {
    if batches { [&[-1], dims].concat() } else { dims.to_vec() }
}

/// Holds `dims` of a config against the `engine`'s, in which -1 fits every size, as it does in the config
/// (`CompareDimsSupported`).
///
/// # Errors
/// `InvalidArg`.
pub(crate) fn compare(of: Subject<'_>, engine: &[i64], dims: &[i64]) -> Result<()> {
    let Subject { model, tensor, batches, .. } = of;
    if batches && engine.is_empty() {
        return Err(Error::invalid_arg(format!(
            "model '{model}', tensor '{tensor}': for the model to support batching the shape should have at least 1 \
             dimension; but shape expected by the model is {}",
            Dims(engine)
        )));
    }
    let full = full_dims(dims, batches);
    let fits = |(e, d): (&i64, &i64)| *e == -1 || *d == -1 || e == d;
    if engine.len() == full.len() && engine.iter().zip(&full).all(fits) {
        return Ok(());
    }
    let which = if batches {
        "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete \
         shape"
    } else {
        "shape"
    };
    Err(Error::invalid_arg(format!(
        "model '{model}', tensor '{tensor}': the model expects {} dimensions (shape {}) but the model configuration \
         specifies {} dimensions ({which} {})",
        engine.len(),
        Dims(engine),
        full.len(),
        Dims(&full)
    )))
}

/// Holds `dims` of a shape tensor's config against the `engine`'s: it has a value more there if the model batches
/// (`CompareShapeDimsSupported`).
///
/// # Errors
/// `Internal`.
pub(crate) fn compare_values(of: Subject<'_>, engine: &[i64], dims: &[i64]) -> Result<()> {
    let Subject { instance, tensor, batches, .. } = of;
    let fits = match (engine, dims) {
        ([], []) => true,
        ([e], [d]) => *d != -1 && d.checked_add(i64::from(batches)) == Some(*e),
        (_, _) if engine.len() > 1 && engine.len() == dims.len() => {
            return Err(Error::internal(format!(
                "unable to load model '{instance}', shape binding '{tensor}' can only be 0-d or 1-D tensor, got {}",
                Dims(engine)
            )));
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(Error::internal(format!(
        "unable to load model '{instance}', binding '{tensor}' shape expected by framework {} doesn't match model \
         configuration shape {}",
        Dims(engine),
        Dims(dims)
    )))
}

/// Whether an input of shape `engine` takes one element per row (`ValidateControlDimsDynamic`).
///
/// # Errors
/// Why not.
pub(crate) fn one_per_row(engine: &[i64], batches: bool) -> Result<(), String> {
    let expected = if batches { -1 } else { 1 };
    match engine {
        [first, rest @ ..] if *first == expected => match rest.iter().all(|dim| *dim == 1) {
            true => Ok(()),
            false => Err(format!(
                "expects all dimensions (conditionally first) to be 1 but the model specified shape {}",
                Dims(engine)
            )),
        },
        _ => Err(format!(
            "expects the first dimension to be {expected} but the model specified {}",
            engine.first().copied().unwrap_or(0)
        )),
    }
}

/// The dims of an input that is made for each batch, without the batch dimension (`InitializeBatchInputBindings`).
pub(crate) fn batch_input_dims(input: &BatchInput, config: &ModelConfig) -> Vec<i64> {
    let source = config.inputs.get(input.source);
    let rank = || {
        let dims = source.map(|source| declared_dims(&source.dims, source.reshape.as_deref()));
        dims.and_then(|dims| i64::try_from(dims.len()).ok()).filter(|rank| *rank > 0)
    };
    if config.batches() {
        return if input.kind == BatchInputKind::ItemShape {
            rank().into_iter().collect()
        } else {
            Vec::new()
        };
    }
    match input.kind {
        BatchInputKind::ElementCount | BatchInputKind::AccumulatedElementCount => vec![1],
        BatchInputKind::AccumulatedElementCountWithZero => vec![2],
        BatchInputKind::MaxElementCountAsShape => vec![-1],
        BatchInputKind::ItemShape => std::iter::once(1).chain(rank()).collect(),
        BatchInputKind::ItemShapeFlatten => rank().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCHING: &str = "(an initial batch dimension because max_batch_size > 0 followed by the explicit tensor \
                            shape, making complete shape";

    fn subject(batches: bool) -> Subject<'static> {
        Subject { model: "m", instance: "m_0", tensor: "x", batches }
    }

    #[track_caller]
    fn check(got: Result<()>, expected: Result<(), &str>) {
        assert_eq!(got.map_err(|e| e.with_code()), expected.map_err(str::to_owned));
    }

    #[test]
    fn execution_tensors() {
        let refused = |engine: &str, rank: usize, given: &str| {
            format!(
                "Invalid argument: model 'm', tensor 'x': the model expects {rank} dimensions (shape {engine}) but the \
                 model configuration specifies {given}"
            )
        };
        check(compare(subject(true), &[-1, 16], &[16]), Ok(()));
        check(compare(subject(true), &[1, 3, 224], &[3, 224]), Ok(()));
        check(compare(subject(true), &[-1, -1], &[16]), Ok(()));
        check(compare(subject(true), &[-1, 16], &[-1]), Ok(()));
        check(compare(subject(false), &[-1, 16], &[4, 16]), Ok(()));
        check(compare(subject(false), &[], &[]), Ok(()));
        let text = refused("[-1,16]", 2, &format!("2 dimensions {BATCHING} [-1,7])"));
        check(compare(subject(true), &[-1, 16], &[7]), Err(&text));
        let text = refused("[-1,16]", 2, &format!("3 dimensions {BATCHING} [-1,16,1])"));
        check(compare(subject(true), &[-1, 16], &[16, 1]), Err(&text));
        let text = refused("[2,16]", 2, "1 dimensions (shape [16])");
        check(compare(subject(false), &[2, 16], &[16]), Err(&text));
        check(
            compare(subject(true), &[], &[1]),
            Err(
                "Invalid argument: model 'm', tensor 'x': for the model to support batching the shape should have at \
                 least 1 dimension; but shape expected by the model is []",
            ),
        );
    }

    #[test]
    fn shape_tensors() {
        let refused = |engine: &str, given: &str| {
            format!(
                "Internal: unable to load model 'm_0', binding 'x' shape expected by framework {engine} doesn't match \
                 model configuration shape {given}"
            )
        };
        check(compare_values(subject(true), &[3], &[2]), Ok(()));
        check(compare_values(subject(false), &[3], &[3]), Ok(()));
        check(compare_values(subject(true), &[], &[]), Ok(()));
        check(compare_values(subject(true), &[3], &[3]), Err(&refused("[3]", "[3]")));
        check(compare_values(subject(true), &[0], &[-1]), Err(&refused("[0]", "[-1]")));
        check(compare_values(subject(false), &[-1], &[-1]), Err(&refused("[-1]", "[-1]")));
        check(compare_values(subject(false), &[], &[1]), Err(&refused("[]", "[1]")));
        check(compare_values(subject(false), &[2, 3], &[6]), Err(&refused("[2,3]", "[6]")));
        check(
            compare_values(subject(false), &[2, 3], &[2, 3]),
            Err(
                "Internal: unable to load model 'm_0', shape binding 'x' can only be 0-d or 1-D tensor, got [2,3]",
            ),
        );
    }

    #[test]
    fn controls() {
        assert_eq!(one_per_row(&[-1], true), Ok(()));
        assert_eq!(one_per_row(&[-1, 1, 1], true), Ok(()));
        assert_eq!(
            one_per_row(&[1, -1], false).unwrap_err(),
            "expects all dimensions (conditionally first) to be 1 but the model specified shape [1,-1]"
        );
        assert_eq!(
            one_per_row(&[4, -1], true).unwrap_err(),
            "expects the first dimension to be -1 but the model specified 4"
        );
        assert_eq!(
            one_per_row(&[-1], false).unwrap_err(),
            "expects the first dimension to be 1 but the model specified -1"
        );
    }
}
