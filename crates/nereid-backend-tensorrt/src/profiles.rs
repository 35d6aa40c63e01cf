//! Optimization profiles: which ones an instance has, what shapes each admits, and which one a batch runs under. Pure.

use nereid_core::{Error, Result};
use nereid_tensorrt::ProfileInput;

use crate::engine_info::EngineInfo;

/// A profile that an instance can run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// As the config spells it.
    pub(crate) name: String,
    pub(crate) index: usize,
}

/// The shapes, and values of a shape tensor, that an input can have under one profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: Vec<i64>,
    pub(crate) opt: Vec<i64>,
    pub(crate) max: Vec<i64>,
    /// Smallest, best and largest values of a shape tensor.
    pub(crate) values: Option<[Vec<i64>; 3]>,
}

/// One input of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputShape<'a> {
    /// With the batch dimension.
    pub(crate) shape: &'a [i64],
    /// All values of a shape tensor, the batch first if the model batches.
    pub(crate) values: Option<&'a [i64]>,
}

/// The number that a config means by `name`: like C++'s `stoi`, which Triton uses, it ignores blanks before it and
/// anything behind it.
///
/// # Errors
/// `InvalidArg` if there is none.
pub(crate) fn index_of(name: &str) -> Result<i32> {
    if name.is_empty() {
        return Err(Error::invalid_arg("profile name must not be empty"));
    }
    let trimmed = name.trim_start();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let number = &trimmed[..trimmed.len() - digits.len() + count];
    number.parse().map_err(|_| Error::invalid_arg(format!("unable to parse '{name}': stoi")))
}

/// The profiles called `names`, each once, by ascending number; the first one of the engine if there are no names.
///
/// # Errors
/// `InvalidArg` for what is no number of a profile of an engine with `count` of them.
pub(crate) fn chosen(names: &[String], count: usize, instance: &str) -> Result<Vec<Chosen>> {
    if names.is_empty() {
        return Ok(vec![Chosen { name: "default".into(), index: 0 }]);
    }
    let mut chosen: Vec<Chosen> = Vec::new();
    for name in names {
        let number = index_of(name)?;
        let index = usize::try_from(number).ok().filter(|index| *index < count).ok_or_else(|| {
            Error::invalid_arg(format!(
                "Can not set the specified optimization profile {name}[{number}] for {instance}. Expected optimization \
                 profile index range 0-{}",
                count.saturating_sub(1)
            ))
        })?;
        match chosen.iter().find(|other| other.index == index) {
            Some(first) => tracing::warn!(
                "{name} maps to profile index {index} which has been mapped by {}, existing optimization profile will be \
                 reused",
                first.name
            ),
            None => chosen.push(Chosen { name: name.clone(), index }),
        }
    }
    chosen.sort_unstable_by_key(|profile| profile.index);
    Ok(chosen)
}

/// The position in `profiles` of the one whose best shapes are nearest to `inputs`, among those that admit them. Each has
/// the ranges of all inputs, in the order of `inputs`. `None` if none admits them.
pub(crate) fn nearest(profiles: &[Vec<Range>], inputs: &[InputShape<'_>]) -> Option<usize> {
    let distance = |ranges: &Vec<Range>| {
        ranges.iter().zip(inputs).try_fold(0_u64, |sum, (range, input)| {
            let admitted = range.admit(input.shape).is_ok()
                && input.values.is_none_or(|values| range.admit_values(values).is_ok());
            admitted.then(|| sum.saturating_add(range.distance(*input)))
        })
    };
    let distances = profiles.iter().enumerate().filter_map(|(at, ranges)| Some((distance(ranges)?, at)));
    distances.min().map(|(_, at)| at)
}

/// What is logged when no profile admits a batch, which then runs under the first one, and is refused by it.
pub(crate) fn none_fits(profiles: &[Chosen]) -> String {
    let names: Vec<String> =
        profiles.iter().map(|profile| format!(" {}[{}]", profile.name, profile.index)).collect();
    format!(
        "failed to find any Optimization Profile among [{}] to support the requested dimensions (or shape values), \
         proceeding with first profile.",
        names.concat()
    )
}

impl Chosen {
    /// What input `name` can be under this profile; `None` if the engine has no such input.
    pub(crate) fn range(&self, engine: EngineInfo<'_>, name: &str) -> Option<Range> {
        engine.profile_input(self.index, name).map(Range::from)
    }
}

impl From<&ProfileInput> for Range {
    fn from(input: &ProfileInput) -> Self {
        let ProfileInput { min, opt, max, values, .. } = input.clone();
        Self { min, opt, max, values }
    }
}

impl Range {
    /// Whether an input of `shape` can run.
    ///
    /// # Errors
    /// Why not, in Triton's words.
    pub(crate) fn admit(&self, shape: &[i64]) -> Result<(), String> {
        self.admit_sizes(shape, |_| true)
    }

    /// As [`Self::admit`], for a shape in which -1 stands for any size.
    pub(crate) fn admit_declared(&self, shape: &[i64]) -> Result<(), String> {
        self.admit_sizes(shape, |dim| dim != -1)
    }

    fn admit_sizes(&self, shape: &[i64], counts: impl Fn(i64) -> bool) -> Result<(), String> {
        if shape.len() != self.max.len() {
            return Err(format!(
                "model expected {} dimensions but received {} dimensions",
                self.max.len(),
                shape.len()
            ));
        }
        let mut sizes = shape.iter().zip(self.min.iter().zip(&self.max)).enumerate();
        match sizes.find(|(_, (dim, (min, max)))| counts(**dim) && (*dim < min || *dim > max)) {
            None => Ok(()),
            Some((at, (dim, (min, max)))) => Err(format!(
                "model expected the shape of dimension {at} to be between {min} and {max} but received {dim}"
            )),
        }
    }

    /// Whether a shape tensor with `values` can run.
    ///
    /// # Errors
    /// Why not, in Triton's words.
    pub(crate) fn admit_values(&self, values: &[i64]) -> Result<(), String> {
        let Some([min, _, max]) = &self.values else { return Ok(()) };
        if values.len() != max.len() {
            return Err(format!(
                "mismatch between the number of shape values. Expecting {}. Got {}",
                max.len(),
                values.len()
            ));
        }
        let mut ranges = values.iter().zip(min.iter().zip(max)).enumerate();
        match ranges.find(|(_, (value, (min, max)))| value < min || value > max) {
            None => Ok(()),
            Some((at, (value, (min, max)))) => Err(format!(
                "The shape value at index {at} is expected to be in range from {min} to {max}, Got: {value}"
            )),
        }
    }

    /// This range for an input whose config has `declared` dims, batch dimension included: what the config fixes is no
    /// larger, and no batch has more than `most` rows, if a number is given.
    #[must_use]
    pub(crate) fn within(mut self, declared: &[i64], most: Option<i64>) -> Self {
        for (max, declared) in self.max.iter_mut().zip(declared) {
            if *declared != -1 {
                *max = (*max).min(*declared);
            }
        }
        if let (Some(rows), Some(most)) = (self.max.first_mut(), most) {
            *rows = (*rows).min(most);
        }
        self
    }

    /// Manhattan distance to the best shape and values.
    fn distance(&self, input: InputShape<'_>) -> u64 {
        let sum = |best: &[i64], given: &[i64]| {
            best.iter().zip(given).fold(0_u64, |sum, (best, given)| sum.saturating_add(best.abs_diff(*given)))
        };
        let values = match (&self.values, input.values) {
            (Some([_, best, _]), Some(given)) => sum(best, given),
            _ => 0,
        };
        sum(&self.opt, input.shape).saturating_add(values)
    }
}

#[cfg(test)]
#[path = "profiles_tests.rs"]
mod tests;
