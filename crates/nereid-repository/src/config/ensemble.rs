//! Checks of what an ensemble's config says by itself, before its models are known: every step is complete, and every tensor
//! is made and used (`ValidateEnsembleSchedulingConfig` in Triton's model_config_utils.cc), with its texts. Whether the
//! models agree is for [`super::composing`] to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nereid_core::config::{Ensemble, EnsembleStep, Mapping};
use nereid_core::{Error, Result};
use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::{ModelConfig, ModelEnsembling, model_ensembling::Step};

use super::ENSEMBLE;

/// `ensemble_scheduling` of `config`.
pub(crate) fn of(config: &ModelConfig) -> Option<&ModelEnsembling> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::EnsembleScheduling(ensemble)) => Some(ensemble),
        _ => None,
    }
}

/// The same, to be changed.
pub(crate) fn of_mut(config: &mut ModelConfig) -> Option<&mut ModelEnsembling> {
    match &mut config.scheduling_choice {
        Some(SchedulingChoice::EnsembleScheduling(ensemble)) => Some(ensemble),
        _ => None,
    }
}

/// Refuses an ensemble that cannot work, whatever its models are.
///
/// # Errors
/// InvalidArg with Triton's text.
pub(crate) fn validate(ensemble: &ModelEnsembling, config: &ModelConfig) -> Result<()> {
    let name = &config.name;
    if config.platform != ENSEMBLE {
        return invalid(format!(
            "ensemble scheduling cannot be set for model '{name}' whose platform is not {ENSEMBLE}"
        ));
    }
    for (given, what) in [
        (!config.instance_group.is_empty(), "instance group should not"),
        (config.optimization.is_some(), "optimization should not"),
        (!config.model_warmup.is_empty(), "model_warmup can not"),
    ] {
        if given {
            return invalid(format!("{what} be specified for ensemble '{name}'"));
        }
    }
    if ensemble.step.is_empty() {
        return invalid(format!("must specify 'step' for ensemble '{name}'"));
    }
    let mut tensors = Tensors::default();
    for (index, step) in ensemble.step.iter().enumerate() {
        check_complete(step, index, name)?;
        tensors.connect(step, index, name)?;
    }
    tensors.check(config)
}

/// What the program works with. Steps are in the order of the config, their tensors sorted by name.
pub(crate) fn convert(ensemble: &ModelEnsembling) -> Ensemble {
    let mappings = |map: &BTreeMap<String, String>| {
        let mapping = |(model, ensemble): (&String, &String)| Mapping {
            model: model.as_str().into(),
            ensemble: ensemble.as_str().into(),
        };
        map.iter().map(mapping).collect()
    };
    let step = |step: &Step| EnsembleStep {
        model: step.model_name.as_str().into(),
        namespace: step.model_namespace.as_str().into(),
        version: u64::try_from(step.model_version).ok(),
        inputs: mappings(&step.input_map),
        outputs: mappings(&step.output_map),
    };
    Ensemble {
        steps: ensemble.step.iter().map(step).collect(),
        max_inflight_requests: ensemble.max_inflight_requests,
    }
}

fn check_complete(step: &Step, index: usize, ensemble: &str) -> Result<()> {
    for (missing, field) in [
        (step.model_name.is_empty(), "model_name"),
        (step.input_map.is_empty(), "input_map"),
        (step.output_map.is_empty(), "output_map"),
    ] {
        if missing {
            return invalid(format!("must specify '{field}' in step {index} of ensemble '{ensemble}'"));
        }
    }
    Ok(())
}

/// The tensors of an ensemble by name.
#[derive(Default)]
struct Tensors<'a>(BTreeMap<&'a str, Tensor<'a>>);

#[derive(Default)]
struct Tensor<'a> {
    is_output: bool,
    /// It can be there when a request runs.
    ready: bool,
    /// What it is made from.
    from: Vec<&'a str>,
    /// What is made from it.
    into: Vec<&'a str>,
}

impl<'a> Tensors<'a> {
    /// Adds what `step` reads and writes.
    fn connect(&mut self, step: &'a Step, index: usize, ensemble: &str) -> Result<()> {
        for output in step.output_map.values() {
            let tensor = self.0.entry(output).or_default();
            if std::mem::replace(&mut tensor.is_output, true) {
                return invalid(format!(
                    "ensemble tensor '{output}' can appear in an output map only once for ensemble '{ensemble}' step {index}"
                ));
            }
        }
        for input in step.input_map.values() {
            let outputs = step.output_map.values().map(String::as_str);
            self.0.entry(input).or_default().into.extend(outputs.clone());
            for output in outputs {
                self.0.entry(output).or_default().from.push(input);
            }
        }
        Ok(())
    }

    /// Follows the data from the inputs of `config` to its outputs.
    fn check(&mut self, config: &'a ModelConfig) -> Result<()> {
        let name = &config.name;
        let unused = |what: &str, tensor: &str| {
            invalid(format!("ensemble {what} '{tensor}' for ensemble {name} is not used"))
        };
        let mut queue = VecDeque::new();
        for input in &config.input {
            let Some(tensor) = self.0.get_mut(&*input.name) else { return unused("input", &input.name) };
            tensor.ready = true;
            queue.push_back(&*input.name);
        }
        while let Some(ready) = queue.pop_front() {
            for next in self.0[ready].into.clone() {
                let next_ready =
                    !self.0[next].ready && self.0[next].from.iter().all(|from| self.0[from].ready);
                if next_ready {
                    self.0.entry(next).or_default().ready = true;
                    queue.push_back(next);
                }
            }
        }
        let mut outputs = BTreeSet::new();
        for output in &config.output {
            match self.0.get(&*output.name) {
                None => return unused("output", &output.name),
                Some(tensor) if !tensor.ready => return invalid(self.not_written(&output.name, name)),
                Some(_) => drop(outputs.insert(&*output.name)),
            }
        }
        let useless = |(tensor, of): &(&&str, &Tensor<'_>)| {
            !outputs.contains(**tensor) && (!of.ready || of.into.is_empty())
        };
        match self.0.iter().find(useless) {
            None => Ok(()),
            Some((tensor, _)) => {
                invalid(format!("ensemble tensor '{tensor}' is unused in ensemble '{name}'"))
            }
        }
    }

    /// Why `output` never comes: the tensor, as far back as can be told, that is not there.
    fn not_written(&self, output: &str, ensemble: &str) -> String {
        let mut text = format!("output '{output}' for ensemble '{ensemble}' is not written");
        let (mut last, mut seen) = (output, BTreeSet::new());
        while let Some(missing) =
            self.0[last].from.iter().find(|from| !self.0[**from].ready && !seen.contains(*from))
        {
            seen.insert(missing);
            last = missing;
        }
        if last != output {
            text += &format!(": at least one of its depending tensors, '{last}', is not connected");
        }
        text
    }
}

fn invalid(message: impl Into<String>) -> Result<()> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
#[path = "ensemble_tests.rs"]
mod tests;
