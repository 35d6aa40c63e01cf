//! Model configs as JSON: what a real server answered, Triton's exceptions, and what is refused.

use nereid_protocol::config_json::{parse, to_json};
use nereid_protocol::config_text;
use nereid_protocol::inference::ModelConfig;

/// Every recorded answer comes out of its own config byte for byte.
#[test]
fn recorded_answers_are_reproduced() {
    let check = |recorded: &str| {
        let recorded = recorded.trim_end();
        // This field is younger than the server that was recorded.
        let shown = to_json(&parse(recorded).unwrap()).replace(",\"max_inflight_requests\":0", "");
        assert_eq!(shown, recorded);
    };
    check(include_str!("recorded/plain.json"));
    check(include_str!("recorded/strings.json"));
    check(include_str!("recorded/no_batching.json"));
    check(include_str!("recorded/dynamic_batching.json"));
    check(include_str!("recorded/ensemble.json"));
    check(include_str!("recorded/sequence.json"));
    check(include_str!("recorded/reshape.json"));
    check(include_str!("recorded/all_versions.json"));
    check(include_str!("recorded/specific_versions.json"));
}

#[test]
fn an_empty_config_is_an_empty_string() {
    assert_eq!(to_json(&ModelConfig::default()), "");
}

/// What a field looks like inside the config that a text describes.
fn check_shown(text: &str, expected: &str) {
    let json = to_json(&config_text::parse(text).unwrap());
    assert!(json.contains(expected), "{json} has no {expected}");
    assert_eq!(parse(&json).unwrap(), config_text::parse(text).unwrap(), "{json} is read as another config");
}

#[test]
fn fields_come_in_the_order_of_declaration() {
    check_shown(
        "backend: 'b' platform: 'p' runtime: 'r' name: 'n' max_batch_size: 3",
        r#"{"name":"n","platform":"p","backend":"b","runtime":"r","max_batch_size":3,"input":[],"#,
    );
    check_shown(
        "instance_group { gpus: [ 1, 0 ] kind: KIND_GPU count: 2 rate_limiter { resources { name: 'R' count: 4 } } }",
        concat!(
            r#""instance_group":[{"name":"","kind":"KIND_GPU","count":2,"rate_limiter":{"resources":[{"#,
            r#""name":"R","global":false,"count":4}],"priority":0},"gpus":[1,0],"secondary_devices":[],"#,
            r#""profile":[],"passive":false,"host_policy":""}]"#
        ),
    );
    check_shown(
        "output { label_filename: 'labels.txt' name: 'o' dims: 10 reshape { } }",
        concat!(
            r#""output":[{"name":"o","data_type":"TYPE_INVALID","dims":[10],"reshape":{"shape":[]},"#,
            r#""label_filename":"labels.txt","is_shape_tensor":false,"is_non_linear_format_io":false}]"#
        ),
    );
    // The chosen strategy is declared before the other fields.
    check_shown(
        "sequence_batching { max_sequence_idle_microseconds: 7 oldest { max_candidate_sequences: 4 } }",
        concat!(
            r#""sequence_batching":{"oldest":{"max_candidate_sequences":4,"preferred_batch_size":[],"#,
            r#""max_queue_delay_microseconds":0,"preserve_ordering":false},"max_sequence_idle_microseconds":7,"#,
            r#""control_input":[],"state":[],"iterative_sequence":false}"#
        ),
    );
}

#[test]
fn sixty_four_bit_integers_are_numbers_but_for_those_that_triton_forgot() {
    check_shown(
        "input { dims: [ -1, 9223372036854775807 ] reshape { shape: 4 } }",
        r#""dims":[-1,9223372036854775807],"reshape":{"shape":[4]}"#,
    );
    check_shown("version_policy { specific { versions: [ 1, 3 ] } }", r#"{"specific":{"versions":[1,3]}}"#);
    check_shown(
        "dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 priority_levels: 2 }",
        r#""max_queue_delay_microseconds":18446744073709551615,"preserve_ordering":false,"priority_levels":2,"#,
    );
    check_shown(
        "dynamic_batching { priority_queue_policy { key: 10 } priority_queue_policy { key: 9 value { max_queue_size: 1 } } }",
        concat!(
            r#""priority_queue_policy":{"9":{"timeout_action":"REJECT","default_timeout_microseconds":0,"#,
            r#""allow_timeout_override":false,"max_queue_size":1},"10":{"#
        ),
    );
    check_shown("ensemble_scheduling { step { model_version: -1 } }", r#""model_version":-1"#);
    check_shown(
        "model_warmup { inputs { key: 'i' value { dims: 2 zero_data: false } } }",
        r#""inputs":{"i":{"data_type":"TYPE_INVALID","dims":[2],"zero_data":false}},"count":0"#,
    );
    check_shown(
        "sequence_batching { state { dims: 1 initial_state { dims: 1 data_file: 'f' } } }",
        r#""dims":[1],"initial_state":[{"data_type":"TYPE_INVALID","dims":["1"],"data_file":"f","name":""}]"#,
    );
    check_shown(
        "instance_group { secondary_devices { device_id: 1 } }",
        r#"{"kind":"KIND_NVDLA","device_id":"1"}"#,
    );
    check_shown(
        "optimization { cuda { graph_spec { input { key: 'x' value { dim: [ 1, 2 ] } } } } }",
        r#""input":{"x":{"dim":["1","2"]}}"#,
    );
}

#[test]
fn floats_maps_strings_and_unknown_enum_values() {
    check_shown(
        "sequence_batching { direct { minimum_slot_utilization: 0.1 } }",
        r#""minimum_slot_utilization":0.1}"#,
    );
    check_shown(
        "model_metrics { metric_control { histogram_options { buckets: [ 0.5, 10, 1e-7 ] } } }",
        r#"{"histogram_options":{"buckets":[0.5,10,1e-7]}}"#,
    );
    check_shown("metric_tags { key: 'b' value: '1' } metric_tags { key: 'a' }", r#"{"a":"","b":"1"}"#);
    check_shown(
        r#"parameters { key: "k" value { string_value: "\"\x1f/é" } }"#,
        r#"{"k":{"string_value":"\"\u001F/é"}}"#,
    );
    check_shown("input { data_type: 99 }", r#""data_type":99"#);
}

/// What an override means, as the text of the same config.
fn check_read(json: &str, text: &str) {
    assert_eq!(parse(json).unwrap(), config_text::parse(text).unwrap(), "{json}");
}

#[test]
fn overrides_are_read_as_protobuf_json() {
    check_read("{}", "");
    check_read(r#"{"maxBatchSize": 4, "name": "a"}"#, "max_batch_size: 4 name: 'a'");
    check_read(r#"{"max_batch_size": "4", "name": null}"#, "max_batch_size: 4");
    check_read(r#"{"max_batch_size": 4.0}"#, "max_batch_size: 4");
    check_read(r#"{"input": [{"dims": ["1", -2]}]}"#, "input { dims: [ 1, -2 ] }");
    check_read(r#"{"input": [{"dataType": "TYPE_FP32"}]}"#, "input { data_type: TYPE_FP32 }");
    check_read(r#"{"input": [{"data_type": "type-fp32"}]}"#, "input { data_type: TYPE_FP32 }");
    check_read(r#"{"input": [{"data_type": 11}]}"#, "input { data_type: TYPE_FP32 }");
    check_read(r#"{"version_policy": {"all": {}, "latest": null}}"#, "version_policy { all { } }");
    check_read(
        r#"{"dynamicBatching": {"priorityQueuePolicy": {"1": {"timeoutAction": "DELAY"}}}}"#,
        "dynamic_batching { priority_queue_policy { key: 1 value { timeout_action: DELAY } } }",
    );
    check_read(
        r#"{"sequence_batching": {"direct": {"minimum_slot_utilization": "-Infinity"}}}"#,
        "sequence_batching { direct { minimum_slot_utilization: -inf } }",
    );
    check_read(
        r#"{"parameters": {"k": {"string_value": "v"}}}"#,
        "parameters { key: 'k' value { string_value: 'v' } }",
    );
}

#[test]
fn what_is_refused_is_named() {
    let check =
        |json: &str, expected: &str| assert_eq!(parse(json).unwrap_err().to_string(), expected, "{json}");
    check("", "EOF while parsing a value at line 1 column 0");
    check("null", "expected an object, found null");
    check("[]", "expected an object, found an array");
    check(r#"{"name": "a"} x"#, "trailing characters at line 1 column 15");
    check(r#"{"nonsense": 1}"#, "unknown field 'nonsense' in ModelConfig");
    check(r#"{"input": [{}, {"dimms": 1}]}"#, "input[1]: unknown field 'dimms' in ModelInput");
    check(r#"{"name": 1}"#, "name: expected a string, found 1");
    check(r#"{"max_batch_size": 4.5}"#, "max_batch_size: expected an integer, found 4.5");
    check(r#"{"max_batch_size": 3000000000}"#, "max_batch_size: 3000000000 is out of range for int32");
    check(r#"{"max_batch_size": 1, "maxBatchSize": 2}"#, "field 'max_batch_size' is given more than once");
    check(r#"{"input": [{"dims": [1, "a"]}]}"#, r#"input[0].dims[1]: expected an integer, found "a""#);
    check(r#"{"input": [null]}"#, "input[0]: expected an object, found null");
    check(r#"{"input": {}}"#, "input: expected an array, found an object");
    check(
        r#"{"input": [{"optional": "true"}]}"#,
        r#"input[0].optional: expected true or false, found "true""#,
    );
    check(r#"{"input": [{"data_type": "FP32"}]}"#, "input[0].data_type: unknown value 'FP32' of DataType");
    check(r#"{"parameters": {"a": 1}}"#, r#"parameters["a"]: expected an object, found 1"#);
    check(
        r#"{"dynamic_batching": {"priority_queue_policy": {"x": {}}}}"#,
        r#"dynamic_batching.priority_queue_policy["x"]: expected an integer, found "x""#,
    );
    check(
        r#"{"version_policy": {"all": {}, "latest": {}}}"#,
        "version_policy: field 'latest' excludes 'all', which is given already",
    );
    check(
        r#"{"sequence_batching": {"direct": {"minimum_slot_utilization": 1e300}}}"#,
        "sequence_batching.direct.minimum_slot_utilization: 1e300 is out of range for float",
    );
}

#[test]
fn deep_nesting_is_refused() {
    let check = |open: &str| {
        let error = parse(&open.repeat(250_000)).unwrap_err();
        assert!(error.message.len() < 200, "{error}");
    };
    check("[");
    check("{\"input\":[");
    check("{\"a\":");
    check("{\"parameters\":{\"k\":");
}
