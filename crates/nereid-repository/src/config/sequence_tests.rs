//! Every text of the checks, and what a config becomes.

use wire::DataType as WireType;
use wire::model_sequence_batching::{
    ControlInput, InitialState, State, StrategyDirect, StrategyOldest, initial_state,
};

use super::*;
use crate::disk::Root;

fn start() -> WireControl {
    WireControl { int32_false_true: vec![0, 1], ..Default::default() }
}

fn named(name: &str, control: WireControl) -> ControlInput {
    ControlInput { name: name.into(), control: vec![control] }
}

fn good() -> wire::ModelSequenceBatching {
    let kind = |kind: Kind, control: WireControl| WireControl { kind: kind as i32, ..control };
    let fp32 = WireControl { fp32_false_true: vec![0.0, 2.0], ..Default::default() };
    let bools = WireControl { bool_false_true: vec![true, false], ..Default::default() };
    let id = WireControl { data_type: WireType::TypeString as i32, ..Default::default() };
    wire::ModelSequenceBatching {
        max_sequence_idle_microseconds: 7,
        control_input: vec![
            named("CORRID", kind(Kind::ControlSequenceCorrid, id)),
            named("START", start()),
            named("READY", kind(Kind::ControlSequenceReady, bools)),
            named("END", kind(Kind::ControlSequenceEnd, fp32)),
        ],
        state: vec![State {
            input_name: "IN".into(),
            output_name: "OUT".into(),
            data_type: WireType::TypeInt32 as i32,
            dims: vec![2, -1],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn initial() -> InitialState {
    InitialState {
        data_type: WireType::TypeInt32 as i32,
        dims: vec![2, 1],
        name: "zero".into(),
        state_data: Some(initial_state::StateData::ZeroData(true)),
    }
}

/// A model's folder with the files of initial states `eight`, of eight bytes, and `strings`.
fn folder() -> (tempfile::TempDir, ModelDir) {
    let root = tempfile::tempdir().unwrap();
    let states = root.path().join("m/initial_state");
    std::fs::create_dir_all(&states).unwrap();
    std::fs::write(states.join("eight"), [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    std::fs::write(states.join("strings"), b"\x01\0\0\0a\0\0\0\0").unwrap();
    let dir = Root::open(root.path(), &crate::Options::default()).unwrap().model("m").unwrap().unwrap();
    (root, dir)
}

fn wire_config(batching: wire::ModelSequenceBatching) -> wire::ModelConfig {
    wire::ModelConfig {
        name: "m".into(),
        max_batch_size: 8,
        scheduling_choice: Some(SchedulingChoice::SequenceBatching(batching)),
        ..Default::default()
    }
}

fn converted(batching: wire::ModelSequenceBatching) -> Result<ModelConfig> {
    let (_root, dir) = folder();
    let wire = wire_config(batching);
    validate(&wire)?;
    let mut config = convert::convert(&wire)?;
    apply(&mut config, &wire, &dir)?;
    Ok(config)
}

#[track_caller]
fn check(change: impl FnOnce(&mut wire::ModelSequenceBatching), expected: &str) {
    let mut batching = good();
    change(&mut batching);
    assert_eq!(converted(batching).map(|_| ()).map_err(|e| e.message().to_owned()), Err(expected.to_owned()));
}

#[test]
fn controls_become_inputs_in_a_fixed_order_and_states_follow() {
    let config = converted(good()).unwrap();
    let inputs: Vec<_> = config.injected_inputs.iter().map(|i| (&*i.name, i.datatype)).collect();
    assert_eq!(
        inputs,
        [
            ("START", DataType::Int32),
            ("END", DataType::Fp32),
            ("READY", DataType::Bool),
            ("CORRID", DataType::Bytes),
            ("IN", DataType::Int32)
        ]
    );
    let batching = config.sequence().unwrap();
    let [Control::Start(start), Control::End(end), Control::Ready(ready), Control::CorrelationId] =
        &batching.controls[..]
    else {
        panic!("{:?}", batching.controls)
    };
    assert_eq!((&*start.no, &*start.yes), (&[0, 0, 0, 0][..], &[1, 0, 0, 0][..]));
    assert_eq!(*end.yes, 2.0_f32.to_le_bytes());
    assert_eq!((&*ready.no, &*ready.yes), (&[1][..], &[0][..]), "whatever the config calls true");
    let [state] = &batching.states[..] else { panic!() };
    assert_eq!(
        (state.output, &state.initial.shape[..], &*state.initial.data),
        (0, &[1, 2, 1][..], &[0; 8][..])
    );
    assert_eq!(&*config.hidden_outputs[0].name, "OUT");
    assert!(matches!(batching.strategy, Strategy::Direct(_)));
    assert_eq!(batching.max_idle_us, 7);
}

#[test]
fn strategies() {
    let oldest = |max_candidate_sequences, preferred_batch_size: &[i32]| {
        let preferred_batch_size = preferred_batch_size.to_vec();
        let oldest = StrategyOldest { max_candidate_sequences, preferred_batch_size, ..Default::default() };
        let strategy_choice = Some(StrategyChoice::Oldest(oldest));
        let config = converted(wire::ModelSequenceBatching { strategy_choice, ..good() }).unwrap();
        match config.sequence().unwrap().strategy.clone() {
            Strategy::Oldest(oldest) => (oldest.max_candidate_sequences, oldest.preferred_batch_sizes),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(oldest(0, &[]), (8, vec![8]));
    assert_eq!(oldest(100, &[6, 2]), (100, vec![2, 6]));
    let direct = |minimum_slot_utilization| {
        let direct = StrategyDirect { max_queue_delay_microseconds: 3, minimum_slot_utilization };
        Some(StrategyChoice::Direct(direct))
    };
    check(
        |b| b.strategy_choice = direct(1.5),
        "sequence batching minimum slot utilization must be in range (0.0, 1.0] for m",
    );
    for (size, expected) in [(0, "positive"), (9, "<= max batch size")] {
        let oldest = StrategyOldest { preferred_batch_size: vec![size], ..Default::default() };
        check(
            |b| b.strategy_choice = Some(StrategyChoice::Oldest(oldest)),
            &format!("sequence batching preferred batch size must be {expected} for m"),
        );
    }
}

#[test]
fn controls_that_are_refused() {
    type Change = fn(&mut wire::ModelSequenceBatching);
    let cases: [(Change, &str); 10] = [
        (|b| b.control_input[0].name.clear(), "sequence batching control tensor must have a name for m"),
        (
            |b| b.control_input[1].name = "CORRID".into(),
            "sequence batching control tensor 'CORRID' is specified for multiple control kinds for m",
        ),
        (
            |b| b.control_input[1].control.push(start()),
            "sequence batching control tensor 'START' is specified for multiple control kinds for m",
        ),
        (
            |b| b.control_input.push(named("AGAIN", start())),
            "sequence batching specifies multiple CONTROL_SEQUENCE_START tensors for m",
        ),
        (
            |b| b.control_input[1].control[0].int32_false_true.clear(),
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for \
             CONTROL_SEQUENCE_START for m",
        ),
        (
            |b| b.control_input[1].control[0].bool_false_true.push(true),
            "sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and \
             'bool_false_true' for CONTROL_SEQUENCE_START for m",
        ),
        (
            |b| b.control_input[1].control[0].int32_false_true.push(2),
            "sequence batching control 'int32_false_true' must have exactly 2 entries for CONTROL_SEQUENCE_START for m",
        ),
        (
            |b| b.control_input[2].control[0].bool_false_true.clear(),
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for \
             CONTROL_SEQUENCE_READY for m",
        ),
        (
            |b| b.control_input[0].control[0].fp32_false_true.push(1.0),
            "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for \
             CONTROL_SEQUENCE_CORRID for m",
        ),
        (
            |b| b.control_input[0].control[0].data_type = WireType::TypeFp32 as i32,
            "unexpected data type for control CONTROL_SEQUENCE_CORRID for m. Allowed data types are TYPE_UINT64, \
             TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
        ),
    ];
    for (change, expected) in cases {
        check(change, expected);
    }
}

#[test]
fn initial_states() {
    let data = |initial: InitialState| {
        let mut batching = good();
        batching.state[0].data_type = initial.data_type;
        batching.state[0].initial_state = vec![initial];
        converted(batching).map(|config| config.states()[0].initial.clone())
    };
    let zero = data(initial()).unwrap();
    assert_eq!((&zero.shape[..], &*zero.data), (&[1, 2, 1][..], &[0; 8][..]));
    let file = |name: &str| Some(initial_state::StateData::DataFile(name.into()));
    let eight = data(InitialState { state_data: file("eight"), ..initial() }).unwrap();
    assert_eq!(*eight.data, [1, 2, 3, 4, 5, 6, 7, 8]);
    let strings =
        InitialState { data_type: WireType::TypeString as i32, state_data: file("strings"), ..initial() };
    assert_eq!(data(strings.clone()).unwrap().data.len(), 9);
    let refused = |initial| data(initial).unwrap_err().message().to_owned();
    assert_eq!(
        refused(InitialState { dims: vec![2, 2], ..strings }),
        "the initial state in strings does not hold as many strings as its dims [2,2] say"
    );
    assert_eq!(
        refused(InitialState { dims: vec![2, 3], state_data: file("eight"), ..initial() }),
        "initial_state setting expects 24 bytes, but the data provided from eightonly has 8 bytes."
    );
    let missing = refused(InitialState { state_data: file("none"), ..initial() });
    assert!(missing.starts_with("failed to open text file for read "), "{missing}");
    let outside = refused(InitialState { state_data: file("../../x"), ..initial() });
    assert_eq!(outside, "initial_state file '../../x' is outside the model directory");
}

#[test]
fn states_that_are_refused() {
    type Change = fn(&mut State);
    let cases: [(Change, &str); 9] = [
        (|s| s.data_type = 0, "state 'IN' must specify 'data_type'"),
        (
            |s| s.use_growable_memory = true,
            "In order to 'use_growable_memory', you must also enable 'use_single_buffer' for state input name 'IN'.",
        ),
        (
            |s| s.initial_state.push(initial()),
            "initial_state field for state input 'IN' must contain exactly one or zero element. Found '2' elements.",
        ),
        (
            |s| s.initial_state[0].data_type = WireType::TypeFp32 as i32,
            "The data type used for 'initial_state' field of state 'IN' does not match the state data type.",
        ),
        (
            |s| s.initial_state[0].name.clear(),
            "Field 'name' must be set when using initial_state for state input 'IN'.",
        ),
        (
            |s| s.initial_state[0].dims = vec![2],
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions for state input \
             'IN'. 1 != 2",
        ),
        (
            |s| s.initial_state[0].dims = vec![2, -1],
            "'initial_state' field for state input name 'IN' contains variable dimensions.",
        ),
        (
            |s| s.initial_state[0].dims = vec![3, 1],
            "'initial_state' dim for input name 'IN' doesn't match 'state' dim description. 3 != 2",
        ),
        (
            |s| s.initial_state[0].state_data = None,
            "initial_state setting expects state'IN' to have state_data set",
        ),
    ];
    for (change, expected) in cases {
        check(
            |b| {
                b.state[0].initial_state = vec![initial()];
                change(&mut b.state[0]);
            },
            expected,
        );
    }
    check(|b| b.state.push(b.state[0].clone()), "State input name 'IN' specified more than once.");
    check(
        |b| b.state.push(State { input_name: "IN2".into(), ..b.state[0].clone() }),
        "State output name 'OUT' specified more than once.",
    );
    check(
        |b| b.state[0].dims = vec![1 << 40, 2],
        "the initial state of state input 'IN' has the dims [1099511627776,2], of which the size is limited to \
         1073741824 bytes",
    );
}
