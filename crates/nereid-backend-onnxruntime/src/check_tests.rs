//! Every text of the check, against graphs made by hand.

use bytes::Bytes;
use nereid_core::Shape;
use nereid_core::config::{
    BatchInput, BatchInputElement, BatchInputKind, BatchOutput, Control, Direct, Flag, InputConfig,
    OutputConfig, Scheduling, SequenceBatching, State, StateTensor, Strategy,
};

use super::*;

fn tensor(name: &str, datatype: DataType, shape: &[i64]) -> TensorInfo {
    let name = std::ffi::CString::new(name).unwrap();
    TensorInfo { name, datatype: Some(datatype), shape: Some(shape.to_vec()) }
}

fn graph() -> Graph {
    Graph {
        inputs: vec![tensor("x", DataType::Fp32, &[-1, 4]), tensor("s", DataType::Bytes, &[-1, -1])],
        initializers: vec![tensor("w", DataType::Fp32, &[4])],
        outputs: vec![tensor("y", DataType::Fp32, &[-1, -1])],
    }
}

fn input(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    let (dims, reshape) = (dims.to_vec(), None);
    InputConfig {
        name: name.into(),
        datatype,
        dims,
        reshape,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    }
}

fn config() -> ModelConfig {
    ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        inputs: vec![input("x", DataType::Fp32, &[4]), input("s", DataType::Bytes, &[3])],
        outputs: vec![OutputConfig {
            name: "y".into(),
            datatype: DataType::Fp32,
            dims: vec![-1],
            reshape: None,
            form: Default::default(),
        }],
        ..Default::default()
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut ModelConfig, &mut Graph), expected: &str) {
    let (mut config, mut graph) = (config(), graph());
    change(&mut config, &mut graph);
    assert_eq!(fits(&config, &graph).map_err(|e| e.with_code()), Err(expected.to_owned()));
}

#[track_caller]
fn accepted(change: impl FnOnce(&mut ModelConfig, &mut Graph)) {
    let (mut config, mut graph) = (config(), graph());
    change(&mut config, &mut graph);
    assert_eq!(fits(&config, &graph), Ok(()));
}

#[test]
fn what_fits() {
    accepted(|_, _| {});
    accepted(|c, g| {
        c.max_batch_size = 0;
        c.inputs[0].dims = vec![2, 4];
        c.inputs[1].dims = vec![-1, 3];
        c.outputs[0].dims = vec![-1, -1];
        c.inputs.push(InputConfig { optional: true, ..input("w", DataType::Fp32, &[4]) });
        g.inputs.reverse();
    });
    accepted(|c, _| {
        c.inputs[0] = InputConfig { reshape: Some(vec![4]), ..input("x", DataType::Fp32, &[2, 2]) }
    });
    accepted(|_, g| g.outputs[0].shape = None);
    accepted(|c, g| {
        c.max_batch_size = 0;
        c.inputs = vec![input("x", DataType::Fp32, &[1])];
        g.inputs = vec![tensor("x", DataType::Fp32, &[])];
        c.outputs.clear();
    });
}

#[test]
fn inputs() {
    check(
        |c, _| c.inputs.push(c.inputs[0].clone()),
        "Invalid argument: unable to load model 'm', configuration expects 3 inputs, model provides 2",
    );
    check(
        |c, _| c.inputs[0].name = "inputx".into(),
        "Invalid argument: unexpected inference input 'inputx', allowed inputs are: s, w, x",
    );
    check(
        |c, _| c.inputs[0].datatype = DataType::Int32,
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'x', model \
         provides TYPE_FP32",
    );
    check(
        |c, _| c.inputs[1].datatype = DataType::Int8,
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_INT8 for input 's', model \
         provides TYPE_BYTES",
    );
    check(
        |_, g| g.inputs[0].datatype = None,
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_FP32 for input 'x', model \
         provides TYPE_<invalid>",
    );
    check(
        |c, _| c.inputs.push(InputConfig { optional: true, ..input("w", DataType::Fp32, &[4]) }),
        "Invalid argument: unable to load model 'm', optional input 'w' is not supported for models that support \
         batching",
    );
}

#[test]
fn dims() {
    check(
        |c, _| c.inputs[0].dims = vec![5],
        "Invalid argument: model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model \
         configuration specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the \
         explicit tensor shape, making complete shape [-1,5])",
    );
    check(
        |c, _| c.inputs[0].dims = vec![-1], // the graph fixes it
        "Invalid argument: model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model \
         configuration specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the \
         explicit tensor shape, making complete shape [-1,-1])",
    );
    check(
        |c, _| c.outputs[0].dims = vec![7], // outputs must agree exactly
        "Invalid argument: model 'm', tensor 'y': the model expects 2 dimensions (shape [-1,-1]) but the model \
         configuration specifies 2 dimensions (an initial batch dimension because max_batch_size > 0 followed by the \
         explicit tensor shape, making complete shape [-1,7])",
    );
    check(
        |c, _| c.max_batch_size = 0,
        "Invalid argument: model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model \
         configuration specifies 1 dimensions (shape [4])",
    );
    check(
        |_, g| g.inputs[0].shape = Some(vec![1, 4]),
        "Invalid argument: model 'm', tensor 'x': for the model to support batching the shape should have at least 1 \
         dimension and the first dimension must be -1; but shape expected by the model is [1,4]",
    );
    check(
        |_, g| g.inputs[0].shape = Some(vec![]),
        "Invalid argument: unable to load model 'm', scalar tensor 'x', should only provide 1 in the model \
         configuration when the model doesn't support batching. Model configuration provided: [4].",
    );
}

#[test]
fn scalars_do_not_batch() {
    let expected = |name| {
        format!(
            "Invalid argument: model 'm', tensor '{name}': for the model to support batching the shape should have \
             at least 1 dimension and the first dimension must be -1; but shape expected by the model is []"
        )
    };
    for (dims, reshape) in [(vec![1], None), (vec![1], Some(vec![]))] {
        check(
            |c, g| {
                c.inputs[0].dims = dims.clone();
                c.inputs[0].reshape = reshape.clone();
                g.inputs[0].shape = Some(vec![]);
            },
            &expected("x"),
        );
        check(
            |c, g| {
                c.outputs[0].dims = dims.clone();
                c.outputs[0].reshape = reshape.clone();
                g.outputs[0].shape = Some(vec![]);
            },
            &expected("y"),
        );
    }
}

#[test]
fn ragged() {
    check(
        |c, _| c.inputs[0].allow_ragged_batch = true,
        "Invalid argument: unable to load model 'm', configuration expects model provides input with shape [-1]  for \
         ragged input 'x', model provides [-1,4]",
    );
    accepted(|c, g| {
        c.inputs[0].allow_ragged_batch = true;
        g.inputs[0].shape = Some(vec![-1]);
    });
    check(
        |c, _| {
            c.max_batch_size = 0;
            c.inputs[0].dims = vec![-1, 4];
            c.inputs[1].dims = vec![-1, 3];
            let w = input("w", DataType::Fp32, &[4]);
            c.inputs.push(InputConfig { optional: true, allow_ragged_batch: true, ..w });
        },
        "Invalid argument: unable to load model 'm', configuration expects model provides input with shape [-1] for \
         ragged input 'w', which is not supported for optional input",
    );
}

fn batch_input(targets: &[&str]) -> BatchInput {
    BatchInput {
        kind: BatchInputKind::ElementCount,
        element: BatchInputElement::Int32,
        targets: targets.iter().map(|name| (*name).into()).collect(),
        source: 0,
    }
}

#[test]
fn batch_inputs() {
    let with = |targets: &'static [&'static str]| {
        move |c: &mut ModelConfig, g: &mut Graph| {
            c.batch_inputs = vec![batch_input(targets)];
            g.inputs.extend(["t", "u"].map(|name| tensor(name, DataType::Int32, &[-1])));
        }
    };
    accepted(with(&["t", "u"]));
    check(
        with(&["t"]),
        "Invalid argument: unable to load model 'm', configuration expects 3 inputs, model provides 4",
    );
    check(
        with(&["t", "v"]),
        "Invalid argument: unexpected inference input 'v', allowed inputs are: s, t, u, w, x",
    );
    check(
        |c, g| {
            with(&["t", "u"])(c, g);
            g.inputs[3].datatype = Some(DataType::Fp32);
        },
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'u', model \
         provides TYPE_FP32",
    );
}

#[test]
fn a_scattered_output_may_have_any_shape() {
    accepted(|c, g| {
        c.outputs[0].dims = vec![-1, 3];
        c.batch_outputs = vec![BatchOutput { output: 0, source: 0 }];
        g.outputs[0].shape = Some(vec![-1]);
    });
    check(
        |c, _| {
            c.outputs[0].datatype = DataType::Fp64;
            c.batch_outputs = vec![BatchOutput { output: 0, source: 0 }];
        },
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_FP64 for output 'y', model \
         provides TYPE_FP32",
    );
}

#[test]
fn outputs() {
    check(
        |c, _| c.outputs[0].name = "outputx".into(),
        "Invalid argument: unexpected inference output 'outputx', allowed outputs are: y",
    );
    check(
        |c, _| c.outputs[0].datatype = DataType::Bytes,
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_STRING for output 'y', model \
         provides TYPE_FP32",
    );
}

/// A model with a START control of INT32 and a state of two numbers.
fn sequences(config: &mut ModelConfig, graph: &mut Graph) {
    let batching = SequenceBatching {
        strategy: Strategy::Direct(Direct::default()),
        max_idle_us: 1,
        controls: vec![Control::Start(Flag { no: Bytes::new(), yes: Bytes::new() })],
        states: vec![State {
            output: 1,
            initial: StateTensor { shape: Shape::from_slice(&[1, 2]), data: Bytes::new() },
        }],
        iterative: false,
    };
    config.scheduling = Scheduling::Sequence(batching);
    config.injected_inputs =
        vec![input("START", DataType::Int32, &[1]), input("state_in", DataType::Fp32, &[2])];
    let (dims, reshape) = (vec![2], None);
    config.hidden_outputs = vec![OutputConfig {
        name: "state_out".into(),
        datatype: DataType::Fp32,
        dims,
        reshape,
        form: Default::default(),
    }];
    graph.inputs.push(tensor("START", DataType::Int32, &[-1, 1]));
    graph.inputs.push(tensor("state_in", DataType::Fp32, &[-1, -1]));
    graph.outputs.push(tensor("state_out", DataType::Fp32, &[-1, -1]));
}

#[test]
fn controls_and_states() {
    let with = |change: fn(&mut ModelConfig, &mut Graph)| {
        move |c: &mut ModelConfig, g: &mut Graph| {
            sequences(c, g);
            change(c, g);
        }
    };
    accepted(sequences);
    for (change, expected) in [
        (
            with(|_, g| drop(g.inputs.remove(2))),
            "Internal: configuration specified sequence control 'START', but model does not provide that input",
        ),
        (
            with(|_, g| g.inputs[2].shape = Some(vec![-1, 2])),
            "Invalid argument: unable to load model 'm', sequence control 'START' in model has dims [2] but dims [1] is \
             expected",
        ),
        (
            with(|_, g| g.inputs[2].datatype = Some(DataType::Fp32)),
            "Invalid argument: unable to load model 'm', sequence control 'START', the model expects data-type FLOAT but \
             the model configuration specifies data-type TYPE_INT32",
        ),
        (
            with(|c, _| drop(c.injected_inputs.pop())),
            "Invalid argument: unable to load model 'm', configuration expects 3 inputs, model provides 4",
        ),
        (
            with(|c, _| c.injected_inputs[1].name = "state".into()),
            "Invalid argument: unexpected inference input 'state', allowed inputs are: START, s, state_in, w, x",
        ),
        (
            with(|c, _| c.hidden_outputs[0].name = "state".into()),
            "Invalid argument: unexpected inference output 'state', allowed outputs are: state_out, y",
        ),
        (
            with(|c, _| c.hidden_outputs[0].datatype = DataType::Int32),
            "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_INT32 for output state \
             'state_out', model provides TYPE_FP32",
        ),
    ] {
        check(change, expected);
    }
}
