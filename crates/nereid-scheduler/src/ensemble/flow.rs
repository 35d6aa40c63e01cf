//! One request's way through an ensemble: which tensors have arrived, which steps that lets start, and when all is over.
//! Pure; who runs the steps is for `request`.

use bytes::Bytes;
use nereid_core::{DataType, Shape};
use smallvec::SmallVec;

use super::graph::{Graph, StepIndex, StepSet, Tensor};

/// A tensor between two models.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) datatype: DataType,
    /// Full shape, with the batch dimension if whoever made it batches.
    pub(super) shape: Shape,
    pub(super) data: Bytes,
    /// Rows; 0 if whoever made it does not batch.
    pub(super) rows: u32,
}

/// What there is of a tensor.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    ToCome,
    /// An optional input that was left out, or an output that the model did not give.
    Absent,
    Here(Value),
}

/// Steps in the order in which they may start.
pub(super) type Ready = SmallVec<[StepIndex; 4]>;

/// Where one request stands.
#[derive(Debug)]
pub(super) struct Flow {
    slots: SmallVec<[Slot; 6]>,
    arrived: SmallVec<[bool; 8]>,
    /// By tensor: who is still to take it, the response included.
    takers: SmallVec<[u32; 6]>,
    /// By step: tensors that are still to come.
    missing: SmallVec<[usize; 8]>,
    runs: StepSet,
    /// Steps that were let start and have not ended.
    running: usize,
}

impl Flow {
    /// The start of a request that `wants` outputs by their position in the config.
    pub(super) fn new(graph: &Graph, wants: impl Fn(usize) -> bool) -> Self {
        let runs = graph.needed(&wants);
        let takers =
            graph.consumers.iter().map(|steps| steps.iter().filter(|step| runs[**step]).count() as u32);
        let mut takers: SmallVec<[u32; 6]> = takers.collect();
        for (index, tensor) in graph.outputs.iter().enumerate() {
            takers[*tensor] += u32::from(wants(index));
        }
        Self {
            slots: (0..graph.tensors()).map(|_| Slot::ToCome).collect(),
            arrived: SmallVec::from_elem(false, graph.tensors()),
            takers,
            missing: graph.steps.iter().map(|step| step.needs).collect(),
            runs,
            running: 0,
        }
    }

    /// Whether `step` runs for this request at all.
    pub(super) fn runs(&self, step: StepIndex) -> bool {
        self.runs[step]
    }

    /// `tensor` is here, or will never be. Steps that can start now go to `ready`, and count as running. Of a tensor that
    /// comes twice, because a step writes an input of the ensemble, the first counts.
    pub(super) fn arrive(&mut self, graph: &Graph, tensor: Tensor, value: Option<Value>, ready: &mut Ready) {
        if std::mem::replace(&mut self.arrived[tensor], true) {
            return;
        }
        self.slots[tensor] = match value {
            Some(value) if self.takers[tensor] > 0 => Slot::Here(value),
            _ => Slot::Absent,
        };
        for &step in &graph.consumers[tensor] {
            self.missing[step] -= 1;
            if self.missing[step] == 0 && self.runs[step] {
                self.running += 1;
                ready.push(step);
            }
        }
    }

    /// What has arrived of the inputs of `step`, in the order of its ports; each is let go with its last taker.
    pub(super) fn take(&mut self, graph: &Graph, step: StepIndex, mut with: impl FnMut(usize, &Value)) {
        let ports = &graph.steps[step].inputs;
        for (index, port) in ports.iter().enumerate() {
            if let Slot::Here(value) = &self.slots[port.tensor] {
                with(index, value);
            }
        }
        for (index, port) in ports.iter().enumerate() {
            let first = !ports[..index].iter().any(|earlier| earlier.tensor == port.tensor);
            if first {
                self.release(port.tensor);
            }
        }
    }

    /// Takes the output at `index` of the config.
    pub(super) fn output(&mut self, graph: &Graph, index: usize) -> Slot {
        std::mem::replace(&mut self.slots[graph.outputs[index]], Slot::Absent)
    }

    /// A step that was let start has ended, or did not start after all.
    pub(super) fn end(&mut self) {
        self.running -= 1;
    }

    /// Whether nothing runs, so that nothing more can arrive.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0
    }

    fn release(&mut self, tensor: Tensor) {
        self.takers[tensor] -= 1;
        if self.takers[tensor] == 0 {
            self.slots[tensor] = Slot::Absent;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use nereid_core::ModelConfig;
    use nereid_core::config::{Ensemble, EnsembleStep, InputConfig, Mapping, OutputConfig};

    use super::*;

    type Ports<'a> = &'a [(&'a str, &'a str)];

    pub(in super::super) fn ensemble(
        inputs: &[&str],
        outputs: &[&str],
        steps: &[(&str, Ports<'_>, Ports<'_>)],
    ) -> (ModelConfig, Ensemble) {
        let (datatype, dims) = (DataType::Fp32, vec![-1]);
        let input = |name: &&str| InputConfig {
            name: (*name).into(),
            datatype,
            dims: dims.clone(),
            reshape: None,
            optional: false,
            allow_ragged_batch: false,
            form: Default::default(),
        };
        let output = |name: &&str| OutputConfig {
            name: (*name).into(),
            datatype,
            dims: dims.clone(),
            reshape: None,
            form: Default::default(),
        };
        let mappings = |ports: Ports<'_>| {
            let mapping = |(model, ensemble): &(&str, &str)| Mapping {
                model: (*model).into(),
                ensemble: (*ensemble).into(),
            };
            ports.iter().map(mapping).collect::<Vec<_>>()
        };
        let step = |(model, inputs, outputs): &(&str, Ports<'_>, Ports<'_>)| EnsembleStep {
            model: (*model).into(),
            namespace: "".into(),
            version: None,
            inputs: mappings(inputs),
            outputs: mappings(outputs),
        };
        let config = ModelConfig {
            name: "e".into(),
            inputs: inputs.iter().map(input).collect(),
            outputs: outputs.iter().map(output).collect(),
            ..ModelConfig::default()
        };
        (config, Ensemble { steps: steps.iter().map(step).collect(), max_inflight_requests: 0 })
    }

    /// `x → a → (l, r); l → b → m; r → c → n; (m, n) → d → y`, with `n` given out as well.
    pub(in super::super) fn diamond() -> (ModelConfig, Ensemble) {
        ensemble(
            &["x"],
            &["y", "n"],
            &[
                ("a", &[("I", "x")], &[("L", "l"), ("R", "r")]),
                ("b", &[("I", "l")], &[("O", "m")]),
                ("c", &[("I", "r")], &[("O", "n")]),
                ("d", &[("I", "m"), ("J", "n")], &[("O", "y")]),
            ],
        )
    }

    fn value(rows: u32) -> Option<Value> {
        let data = Bytes::from(vec![0; 4]);
        Some(Value { datatype: DataType::Fp32, shape: Shape::from_slice(&[1]), data, rows })
    }

    /// What the steps that become ready are, when `step` has ended with all of its outputs.
    fn ends(flow: &mut Flow, graph: &Graph, step: StepIndex) -> Vec<StepIndex> {
        let mut ready = Ready::new();
        flow.end();
        for port in &graph.steps[step].outputs {
            flow.arrive(graph, port.tensor, value(step as u32 + 1), &mut ready);
        }
        ready.to_vec()
    }

    fn begin(flow: &mut Flow, graph: &Graph) -> Vec<StepIndex> {
        let mut ready = Ready::new();
        for tensor in &graph.inputs {
            flow.arrive(graph, *tensor, value(0), &mut ready);
        }
        ready.to_vec()
    }

    #[test]
    fn steps_start_when_their_last_input_arrives() {
        let (config, ensemble) = diamond();
        let graph = Graph::new(&config, &ensemble);
        let mut flow = Flow::new(&graph, |_| true);
        assert_eq!(begin(&mut flow, &graph), [0]);
        assert_eq!(ends(&mut flow, &graph, 0), [1, 2], "both branches");
        assert_eq!(ends(&mut flow, &graph, 2), [0; 0]);
        assert!(!flow.is_over());
        assert_eq!(ends(&mut flow, &graph, 1), [3]);
        assert!(matches!(flow.slots[graph.outputs[0]], Slot::ToCome));
        assert_eq!(ends(&mut flow, &graph, 3), [0; 0]);
        assert!(flow.is_over());
        for (output, rows) in [(0, 4), (1, 3)] {
            assert!(matches!(flow.output(&graph, output), Slot::Here(value) if value.rows == rows));
        }
    }

    #[test]
    fn what_leads_to_no_wanted_output_does_not_start() {
        let (config, ensemble) = diamond();
        let graph = Graph::new(&config, &ensemble);
        let mut flow = Flow::new(&graph, |index| index == 1);
        assert_eq!(begin(&mut flow, &graph), [0]);
        assert_eq!(ends(&mut flow, &graph, 0), [2]);
        assert_eq!(ends(&mut flow, &graph, 2), [0; 0]);
        assert!(flow.is_over());
        assert!(matches!(flow.output(&graph, 1), Slot::Here(_)));
    }

    #[test]
    fn tensors_are_let_go_with_their_last_taker() {
        let (config, ensemble) = ensemble(
            &["x"],
            &["y", "z"],
            &[
                ("a", &[("I", "x"), ("J", "x")], &[("O", "y"), ("P", "unused")]),
                ("b", &[("I", "x")], &[("O", "z")]),
            ],
        );
        let graph = Graph::new(&config, &ensemble);
        let mut flow = Flow::new(&graph, |_| true);
        let x = graph.inputs[0];
        assert_eq!(begin(&mut flow, &graph), [0, 1]);
        let mut taken = Vec::new();
        flow.take(&graph, 0, |port, value| taken.push((port, value.rows)));
        assert_eq!(taken, [(0, 0), (1, 0)]);
        assert!(matches!(flow.slots[x], Slot::Here(_)), "the other step needs it still");
        flow.take(&graph, 1, |_, _| {});
        assert!(matches!(flow.slots[x], Slot::Absent));
        ends(&mut flow, &graph, 0);
        let unused = graph.steps[0].outputs[1].tensor;
        assert!(matches!(flow.slots[unused], Slot::Absent), "nobody takes it");
        assert!(matches!(flow.output(&graph, 0), Slot::Here(_)));
    }

    #[test]
    fn what_is_absent_lets_steps_start_as_well() {
        let (config, ensemble) =
            ensemble(&["x", "o"], &["y"], &[("a", &[("I", "x"), ("J", "o")], &[("O", "y")])]);
        let graph = Graph::new(&config, &ensemble);
        let mut flow = Flow::new(&graph, |_| true);
        let mut ready = Ready::new();
        flow.arrive(&graph, graph.inputs[0], value(1), &mut ready);
        assert!(ready.is_empty());
        flow.arrive(&graph, graph.inputs[1], None, &mut ready);
        assert_eq!(ready.as_slice(), [0]);
        let mut taken = Vec::new();
        flow.take(&graph, 0, |port, _| taken.push(port));
        assert_eq!(taken, [0]);
    }

    #[test]
    fn an_output_may_be_an_input() {
        let (config, ensemble) = ensemble(&["x"], &["x", "y"], &[("a", &[("I", "x")], &[("O", "y")])]);
        let graph = Graph::new(&config, &ensemble);
        let mut flow = Flow::new(&graph, |index| index == 0);
        assert_eq!(begin(&mut flow, &graph), [0; 0]);
        assert!(flow.is_over());
        assert!(matches!(flow.output(&graph, 0), Slot::Here(_)));
    }
}
