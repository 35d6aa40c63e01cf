//! The config that clients are shown, against what a real Triton 2.51 answered for the same config.pbtxt and
//! the same signature (`recorded_configs.jsonl`, one answer of `/v2/models/<name>/config` per line).

use nereid_protocol::config_json;

use crate::repo::{IDENTITY, IO, MLP, Repo, failures, head};

const RECORDED: &str = include_str!("recorded_configs.jsonl");

fn identity_io(datatype: &str, dims: &str, reshape: &str) -> String {
    let tensor = |side: &str, name: &str| {
        format!("{side} [ {{ name: \"{name}\" data_type: {datatype} dims: [ {dims} ] {reshape} }} ]\n")
    };
    tensor("input", "INPUT0") + &tensor("output", "OUTPUT0")
}

fn build(repo: &Repo) {
    repo.good("mnist_mlp");
    repo.model("noconfig_model", "", MLP);
    repo.model("noconfig_static", "", "input input FP32 1 1 28 28\noutput output FP32 1 10\n");
    repo.model("identity_fp32", &(head("identity_fp32", 8) + &identity_io("TYPE_FP32", "-1", "")), IDENTITY);
    let string = "input INPUT0 BYTES -1 -1\noutput OUTPUT0 BYTES -1 -1\n";
    repo.model(
        "identity_string",
        &(head("identity_string", 8) + &identity_io("TYPE_STRING", "-1", "")),
        string,
    );
    repo.model(
        "nobatch_fp32",
        &(head("nobatch_fp32", 0) + &identity_io("TYPE_FP32", "-1, -1", "")),
        IDENTITY,
    );
    let reshape = identity_io("TYPE_FP32", "2, 2", "reshape: { shape: [ 4 ] }");
    repo.model("reshape_fp32", &(head("reshape_fp32", 8) + &reshape), IDENTITY);
    for (name, policy) in [
        ("multi_all", "all { }"),
        ("multi_latest", "latest { num_versions: 1 }"),
        ("multi_specific", "specific { versions: [ 1 ] }"),
    ] {
        repo.model(name, &(head(name, 8) + IO + &format!("version_policy: {{ {policy} }}")), MLP);
        repo.write(&format!("{name}/3/model.onnx"), MLP);
    }
    let backend =
        head("backend_only", 8).replace("platform: \"onnxruntime_onnx\"", "backend: \"onnxruntime\"");
    repo.model("backend_only", &(backend + IO), MLP);
    repo.model("no_inputs", &head("no_inputs", 8), MLP);
    repo.model("partial_config", "max_batch_size: 2\n", MLP);
    let full = IO.replace("[ 1, 28, 28 ]", "[ -1, 1, 28, 28 ]").replace("[ 10 ]", "[ -1, 10 ]");
    repo.model("dyn_nobatch", &(head("dyn_nobatch", 0) + &full + "dynamic_batching { }"), MLP);
    repo.model("zero_batch_4d", &(head("zero_batch_4d", 0) + &full), MLP);
    repo.write("version_zero/0/model.onnx", MLP);
    repo.write("version_zero/config.pbtxt", head("version_zero", 8) + IO);
}

#[test]
fn configs_equal_the_recorded_ones() {
    let repo = Repo::new();
    build(&repo);
    let repository = repo.open();
    assert_eq!(failures(&repository), [""; 0]);
    let mut compared = 0;
    for recorded in RECORDED.lines() {
        let name = recorded.strip_prefix("{\"name\":\"").unwrap().split('"').next().unwrap();
        let model = repository.find(name, None).unwrap();
        assert_eq!(config_json::to_json(&model.wire_config), recorded, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[test]
fn scalars_get_a_dimension_and_an_empty_reshape() {
    let repo = Repo::new();
    repo.model("scalar", "", "input a FP32 -1\noutput b INT64 -1\n");
    let config = repo.open().find("scalar", None).unwrap();
    let shown = config_json::to_json(&config.wire_config);
    assert!(shown.contains(r#""dims":[1],"reshape":{"shape":[]}"#), "{shown}");
    assert_eq!(config.config.inputs[0].dims, [1]);
    assert_eq!(config.config.inputs[0].reshape.as_deref(), Some(&[][..]));
    assert_eq!(config.config.max_batch_size, 4, "the default");
}

#[test]
fn the_trusted_config_has_what_serving_needs() {
    use nereid_core::config::{InstanceKind, QueuePolicy, Scheduling, TimeoutAction};
    let repo = Repo::new();
    let more = r#"
        dynamic_batching {
          preferred_batch_size: [ 8, 4, 8 ] max_queue_delay_microseconds: 100
          priority_levels: 2 default_priority_level: 1
          default_queue_policy { max_queue_size: 7 }
          priority_queue_policy { key: 2 value { timeout_action: DELAY default_timeout_microseconds: 5 } }
        }
        instance_group [ { count: 1 kind: KIND_CPU }, { name: "spare" count: 1 kind: KIND_CPU passive: true } ]
        parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
        optimization {
          graph { level: -1 }
          input_pinned_memory { enable: false }
          execution_accelerators { cpu_execution_accelerator [ { name: "openvino" parameters { key: "a" value: "b" } } ] }
        }
        model_operations { op_library_filename: "ops.so" }
    "#;
    repo.model("m", &(head("m", 8) + IO + more), MLP);
    let repository = repo.open();
    let model = repository.find("m", None).unwrap();
    let config = &model.config;
    let Scheduling::DynamicBatching(batching) = &config.scheduling else { panic!("{:?}", config.scheduling) };
    assert_eq!(batching.preferred_batch_sizes, [4, 8]);
    assert_eq!((batching.max_queue_delay_us, batching.priority_levels), (100, 2));
    assert_eq!(batching.default_queue_policy, QueuePolicy { max_queue_size: 7, ..Default::default() });
    let policy =
        QueuePolicy { timeout_action: TimeoutAction::Delay, default_timeout_us: 5, ..Default::default() };
    assert_eq!(batching.priority_queue_policies, [(2, policy)].into());
    let instances: Vec<_> = config.instances.iter().map(|i| (i.name.as_str(), i.kind, i.passive)).collect();
    assert_eq!(instances, [("m_0_0", InstanceKind::Cpu, false), ("spare_0", InstanceKind::Cpu, true)]);
    assert_eq!(config.parameters["intra_op_thread_count"], "1");
    assert_eq!(config.optimization.graph_level, Some(-1));
    assert_eq!((config.optimization.pinned_input, config.optimization.pinned_output), (false, true));
    assert_eq!(config.optimization.cpu_accelerators[0].parameters["a"], "b");
    assert_eq!((&*config.model_filename, &*config.op_libraries[0]), ("model.onnx", "ops.so"));
    assert_eq!(model.platform, "onnxruntime_onnx");
    assert_eq!(repo.backend.instances.lock().len(), 2);
}
