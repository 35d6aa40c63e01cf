//! Who needs what and who makes it: the tensors and steps of an ensemble by number, built once when it is loaded. Pure.
//! Whether the graph makes sense was checked before.

use std::collections::HashMap;
use std::sync::Arc;

use nereid_core::ModelConfig;
use nereid_core::config::{Ensemble, Mapping};
use smallvec::SmallVec;

/// A tensor of the ensemble.
pub(super) type Tensor = usize;
/// A step of the ensemble, in the order of its config.
pub(super) type StepIndex = usize;

/// The tensors and steps of one ensemble.
#[derive(Debug)]
pub(super) struct Graph {
    /// By position in the ensemble's config.
    pub(super) inputs: Vec<Tensor>,
    /// By position in the ensemble's config.
    pub(super) outputs: Vec<Tensor>,
    pub(super) steps: Vec<Step>,
    /// By tensor: the steps that need it, each once.
    pub(super) consumers: Vec<Vec<StepIndex>>,
    /// By tensor; `None` for the ensemble's own inputs.
    producers: Vec<Option<StepIndex>>,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// Different tensors among the inputs.
    pub(super) needs: usize,
}

/// An input or output of a model.
#[derive(Debug)]
pub(super) struct Port {
    /// What the model calls it.
    pub(super) name: Arc<str>,
    pub(super) tensor: Tensor,
}

/// Says of every step whether it runs; few ensembles have many.
pub(super) type StepSet = SmallVec<[bool; 8]>;

impl Graph {
    /// The graph of `ensemble`, which is part of `config`.
    pub(super) fn new(config: &ModelConfig, ensemble: &Ensemble) -> Self {
        let mut tensors = Tensors::default();
        let inputs = config.inputs.iter().map(|input| tensors.number(&input.name)).collect();
        let outputs = config.outputs.iter().map(|output| tensors.number(&output.name)).collect();
        let steps = ensemble.steps.iter().map(|step| {
            let inputs = tensors.ports(&step.inputs);
            let mut needed: Vec<Tensor> = inputs.iter().map(|port| port.tensor).collect();
            needed.sort_unstable();
            needed.dedup();
            Step { needs: needed.len(), inputs, outputs: tensors.ports(&step.outputs) }
        });
        let steps: Vec<Step> = steps.collect();
        let mut consumers = vec![Vec::new(); tensors.0.len()];
        let mut producers = vec![None; tensors.0.len()];
        for (index, step) in steps.iter().enumerate() {
            for port in &step.inputs {
                if consumers[port.tensor].last() != Some(&index) && !consumers[port.tensor].contains(&index) {
                    consumers[port.tensor].push(index);
                }
            }
            for port in &step.outputs {
                producers[port.tensor] = Some(index);
            }
        }
        Self { inputs, outputs, steps, consumers, producers }
    }

    /// How many tensors there are.
    pub(super) fn tensors(&self) -> usize {
        self.consumers.len()
    }

    /// Whether a step makes the output at `index` of the config; else it is one of the inputs.
    pub(super) fn is_made(&self, index: usize) -> bool {
        self.producers[self.outputs[index]].is_some()
    }

    /// The steps without which the outputs that `wants` names, by position in the config, would be missing.
    pub(super) fn needed(&self, wants: impl Fn(usize) -> bool) -> StepSet {
        let mut needed = StepSet::from_elem(false, self.steps.len());
        let wanted = self.outputs.iter().enumerate().filter(|(index, _)| wants(*index));
        let mut tensors: SmallVec<[Tensor; 8]> = wanted.map(|(_, tensor)| *tensor).collect();
        while let Some(tensor) = tensors.pop() {
            if let Some(step) = self.producers[tensor]
                && !std::mem::replace(&mut needed[step], true)
            {
                tensors.extend(self.steps[step].inputs.iter().map(|port| port.tensor));
            }
        }
        needed
    }
}

/// Numbers names in the order in which they come.
#[derive(Default)]
struct Tensors(HashMap<Arc<str>, Tensor>);

impl Tensors {
    fn number(&mut self, name: &Arc<str>) -> Tensor {
        let next = self.0.len();
        *self.0.entry(name.clone()).or_insert(next)
    }

    fn ports(&mut self, mappings: &[Mapping]) -> Vec<Port> {
        let port =
            |mapping: &Mapping| Port { name: mapping.model.clone(), tensor: self.number(&mapping.ensemble) };
        mappings.iter().map(port).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow::tests::{diamond, ensemble};
    use super::*;

    #[test]
    fn a_step_needs_a_tensor_once_however_often_it_uses_it() {
        let (config, ensemble) = ensemble(&["x"], &["y"], &[("m", &[("A", "x"), ("B", "x")], &[("C", "y")])]);
        let graph = Graph::new(&config, &ensemble);
        assert_eq!((graph.steps[0].needs, graph.consumers[graph.inputs[0]].as_slice()), (1, &[0][..]));
    }

    #[test]
    fn only_what_leads_to_a_wanted_output_runs() {
        let (config, ensemble) = diamond();
        let graph = Graph::new(&config, &ensemble);
        let needed = |wants: &[usize]| graph.needed(|index| wants.contains(&index)).to_vec();
        assert_eq!(needed(&[0, 1]), [true, true, true, true]);
        assert_eq!(needed(&[0]), [true, true, true, true], "the last step needs both branches");
        assert_eq!(needed(&[1]), [true, false, true, false], "an output that is an inner tensor, too");
        assert_eq!(needed(&[]), [false; 4]);
    }
}
