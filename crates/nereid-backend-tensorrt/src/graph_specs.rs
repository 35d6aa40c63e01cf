//! Which executions a config wants as CUDA graphs. Pure; what is captured, and when it runs, is in `graphs`.

use std::collections::BTreeSet;

use nereid_core::config::{
    DynamicBatching, GraphShape, GraphSpec, Oldest, Scheduling, SequenceBatching, Strategy,
};
use nereid_core::{Error, ModelConfig, Result};

/// Batch sizes to capture when nothing says which are likely: graphs help small batches most.
const USUAL_SIZES: [u32; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// The graphs that `config` asks for. One that names no inputs stands for the best shapes of its profile.
///
/// # Errors
/// `InvalidArg` with Triton's text for a `graph_spec` that makes no sense.
pub(crate) fn wanted(config: &ModelConfig) -> Result<Vec<GraphSpec>> {
    let specs = &config.optimization.cuda.graph_specs;
    if specs.is_empty() {
        return Ok(usual_sizes(config).into_iter().map(of_size).collect());
    }
    specs.iter().try_for_each(|spec| check(spec, config.max_batch_size))?;
    Ok(specs.clone())
}

fn usual_sizes(config: &ModelConfig) -> BTreeSet<u32> {
    let most = config.max_batch_size;
    if most == 0 {
        return [0].into();
    }
    let mut sizes: BTreeSet<u32> = match &config.scheduling {
        Scheduling::DynamicBatching(DynamicBatching { preferred_batch_sizes, .. })
        | Scheduling::Sequence(SequenceBatching {
            strategy: Strategy::Oldest(Oldest { preferred_batch_sizes, .. }),
            ..
        }) => preferred_batch_sizes.iter().copied().chain([1]).collect(),
        _ => USUAL_SIZES.into(),
    };
    sizes.insert(most);
    sizes.retain(|size| (1..=most).contains(size));
    sizes
}

fn of_size(batch_size: u32) -> GraphSpec {
    GraphSpec { shape: GraphShape { batch_size, ..Default::default() }, lower_bound: None }
}

fn check(spec: &GraphSpec, max_batch_size: u32) -> Result<()> {
    let GraphSpec { shape, lower_bound } = spec;
    let least = lower_bound.as_ref().unwrap_or(shape);
    let sizes = [shape.batch_size, least.batch_size];
    if max_batch_size == 0 {
        if sizes != [0, 0] {
            return refuse("graph spec expects 'batch_size' to be 0 if 'max_batch_size' is 0");
        }
    } else if !sizes.iter().all(|size| (1..=max_batch_size).contains(size)) {
        return refuse(format!("graph spec expects 'batch_size' to be >= 1 and <= {max_batch_size}"));
    }
    if least.batch_size > shape.batch_size {
        return refuse("graph lower bound spec expects 'batch_size' to be <= graph spec 'batch_size'");
    }
    for (name, dims) in &shape.inputs {
        let Some(bounds) = least.inputs.get(name) else {
            return refuse(format!("graph lower bound spec expects shape for input '{name}'"));
        };
        if bounds.len() != dims.len() {
            return refuse(format!(
                "graph lower bound spec expects to have '{} dimensions, got {}",
                dims.len(),
                bounds.len()
            ));
        }
        if bounds.iter().chain(dims).any(|dim| *dim < 0) {
            return refuse(format!("graph spec expects input '{name}' to have dimension >= 0"));
        }
        if let Some((_, dim)) = bounds.iter().zip(dims).find(|(bound, dim)| bound > dim) {
            return refuse(format!(
                "graph lower bound spec expects input '{name}' to have dimension <= {dim}"
            ));
        }
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(batch_size: u32, inputs: &[(&str, &[i64])]) -> GraphShape {
        let inputs = inputs.iter().map(|(name, dims)| ((*name).into(), dims.to_vec())).collect();
        GraphShape { batch_size, inputs }
    }

    #[test]
    fn sizes_that_nobody_named() {
        let check = |max_batch_size, scheduling: Scheduling, expected: &[u32]| {
            let config = ModelConfig { max_batch_size, scheduling, ..Default::default() };
            let got: Vec<u32> = wanted(&config).unwrap().iter().map(|spec| spec.shape.batch_size).collect();
            assert_eq!(got, expected);
        };
        let dynamic = |preferred: &[u32]| {
            Scheduling::DynamicBatching(DynamicBatching {
                preferred_batch_sizes: preferred.to_vec(),
                ..Default::default()
            })
        };
        check(0, Scheduling::Default, &[0]);
        check(0, dynamic(&[4]), &[0]);
        check(1, Scheduling::Default, &[1]);
        check(5, Scheduling::Default, &[1, 2, 3, 4, 5]);
        check(32, Scheduling::Default, &[1, 2, 3, 4, 6, 8, 12, 16, 32]);
        check(8, dynamic(&[]), &[1, 8]);
        check(8, dynamic(&[4, 8, 16]), &[1, 4, 8]);
    }

    #[test]
    fn specs_that_make_no_sense() {
        let check =
            |max_batch_size, spec: GraphShape, lower_bound: Option<GraphShape>, expected: Option<&str>| {
                let mut config = ModelConfig { max_batch_size, ..Default::default() };
                config.optimization.cuda.graph_specs = vec![GraphSpec { shape: spec, lower_bound }];
                let got =
                    wanted(&config).map(|specs| specs.len()).map_err(|error| error.message().to_owned());
                assert_eq!(got, expected.map_or(Ok(1), |text| Err(text.to_owned())));
            };
        let x = |n: i64| -> GraphShape { shape(4, &[("x", &[n])]) };
        check(8, shape(4, &[]), None, None);
        check(8, x(3), Some(shape(2, &[("x", &[2])])), None);
        check(0, shape(0, &[("x", &[3])]), None, None);
        check(
            0,
            shape(1, &[]),
            None,
            Some("graph spec expects 'batch_size' to be 0 if 'max_batch_size' is 0"),
        );
        for size in [0, 9] {
            check(8, shape(size, &[]), None, Some("graph spec expects 'batch_size' to be >= 1 and <= 8"));
        }
        let lower = |shape: GraphShape| Some(shape);
        check(
            8,
            shape(4, &[]),
            lower(shape(5, &[])),
            Some("graph lower bound spec expects 'batch_size' to be <= graph spec 'batch_size'"),
        );
        check(
            8,
            x(3),
            lower(shape(2, &[("y", &[3])])),
            Some("graph lower bound spec expects shape for input 'x'"),
        );
        check(
            8,
            x(3),
            lower(shape(2, &[("x", &[3, 3])])),
            Some("graph lower bound spec expects to have '1 dimensions, got 2"),
        );
        check(8, x(-1), None, Some("graph spec expects input 'x' to have dimension >= 0"));
        check(8, x(3), lower(x(4)), Some("graph lower bound spec expects input 'x' to have dimension <= 3"));
    }
}
