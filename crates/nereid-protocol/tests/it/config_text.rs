//! `config.pbtxt`: every form of the grammar, what is refused and where, and printing.

use nereid_protocol::config_json;
use nereid_protocol::config_text::{parse, print};

const FULL: &str = r#"
# A config as people write them.
name: "detector"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  {
    name: "image"            # one comment
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
  },
  {
    name: "scale"
    data_type: TYPE_FP16
    dims: [ -1 ]
    reshape { shape: [ ] }
    optional: true
  }
]
output { name: "boxes" data_type: TYPE_FP32 dims: -1 dims: 4 label_filename: "labels.txt" }
version_policy: { specific: { versions: [ 1, 3 ] } }
instance_group [ { kind: KIND_GPU count: 2 gpus: [ 0, 1 ] }, { kind: KIND_CPU } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 }
  priority_queue_policy { key: 2 value { max_queue_size: 3 } }
  priority_queue_policy { key: 1 value: { } }
}
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
optimization { graph { level: -1 } cuda { graph_spec { input { key: "x" value { dim: 1 } } } } }
model_warmup { name: "w" inputs { key: "image" value { zero_data: true dims: 3 } } }
model_metrics { metric_control { histogram_options { buckets: [ 0.1, 1, 1e20 ] } } }
"#;

#[test]
fn a_full_config() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.name, "detector");
    assert_eq!(config.input.len(), 2);
    assert_eq!(config.input[0].dims, [3, 224, 224]);
    assert_eq!(config.input[1].reshape.as_ref().unwrap().shape, [0_i64; 0]);
    assert!(config.input[1].optional);
    assert_eq!(config.output[0].dims, [-1, 4]);
    assert_eq!(config.output[0].label_filename, "labels.txt");
    assert_eq!(config.instance_group[0].gpus, [0, 1]);
    assert_eq!(config.parameters["intra_op_thread_count"].string_value, "1");
}

#[test]
fn what_is_printed_is_read_again() {
    let check = |text: &str| {
        let config = parse(text).unwrap();
        let printed = print(&config);
        assert_eq!(parse(&printed), Ok(config), "{printed}");
    };
    check("");
    check(FULL);
    check(r#"name: "\"\\\n\t\001\x7f'é😀" metric_tags { } metric_tags { key: "k" value: "v" }"#);
    check("input { data_type: 99 dims: -9223372036854775808 }");
    check(
        "sequence_batching { direct { minimum_slot_utilization: inf } control_input { control { fp32_false_true: [0, 1.5e-9] } } }",
    );
    assert_eq!(
        print(&parse("input [ { name: 'a' dims: [1, 2] } ] metric_tags { key: 'k' }").unwrap()),
        "input {\n  name: \"a\"\n  dims: [ 1, 2 ]\n}\nmetric_tags {\n  key: \"k\"\n  value: \"\"\n}\n"
    );
}

/// Both texts describe the same config.
fn check_same(text: &str, plain: &str) {
    let plain = parse(plain).unwrap();
    assert_eq!(parse(text), Ok(plain), "{text}");
}

#[test]
fn every_form_of_the_grammar() {
    let one = r#"name: "a" max_batch_size: 3"#;
    check_same("#c\nname: \"a\" # \"b\" {\nmax_batch_size: 3#", one);
    check_same("name:\"a\",max_batch_size:3,", one);
    check_same("name: 'a'; max_batch_size: 3;", one);
    check_same("name\t:\r\n\"a\"\x0b\x0cmax_batch_size # c\n :\n3", one);

    let joined = r##"name: "it's #1, \"quoted\"""##;
    check_same("name: \"it's \" '#1'\n # comment\n ', \"quoted\"'", joined);

    let inputs = r#"input { name: "a" dims: 1 dims: 2 } input { name: "b" }"#;
    check_same(r#"input [ { name: "a" dims: [1, 2] }, { name: "b" } ]"#, inputs);
    check_same(r#"input: [ < name: "a" dims: [1] dims: [2] >, { name: "b" } ]"#, inputs);
    check_same(r#"input: { name: "a"; dims: 1, dims: [2]; dims: [] }, input < name: "b" >;"#, inputs);
    check_same(r#"input{name:"a"dims:[1,2]}input[{name:"b"}]input[]input:[]"#, inputs);

    let map = r#"metric_tags { key: "k" value: "2" } metric_tags { key: "" value: "x" }"#;
    check_same(r#"metric_tags [ { key: "k" value: "1" }, { value: "x" }, { value: "2" key: "k" } ]"#, map);
    check_same("parameters { key: 'k' }", "parameters { key: 'k' value { } }");

    check_same(
        r#"name: "\a\b\f\n\r\t\v\?\'\"\\""#,
        "name: \"\\007\\010\\014\\012\\015\\011\\013?'\\\"\\\\\"",
    );
    check_same(r#"name: "\x41\X5a\101\7\u00e9\U0001F600\xc3\xa9""#, "name: 'AZA\x07é😀é'");
}

#[test]
fn every_form_of_a_value() {
    check_same("max_batch_size: 0x1F", "max_batch_size: 31");
    check_same("max_batch_size: 017", "max_batch_size: 15");
    check_same("max_batch_size: - 1", "max_batch_size: -1");
    check_same("max_batch_size: -2147483648", "max_batch_size: -0x80000000");
    check_same(
        "input { dims: [ 9223372036854775807, -9223372036854775808 ] }",
        "input { dims: 0x7fffffffffffffff dims: -0x8000000000000000 }",
    );
    check_same("input { data_type: 11 }", "input { data_type: TYPE_FP32 }");
    for truth in ["true", "True", "t", "1", "0x1"] {
        check_same(&format!("input {{ optional: {truth} }}"), "input { optional: true }");
    }
    for lie in ["false", "False", "f", "0"] {
        check_same(&format!("input {{ optional: {lie} }}"), "input { }");
    }
    let float =
        |spelled: &str| format!("sequence_batching {{ direct {{ minimum_slot_utilization: {spelled} }} }}");
    for (spelled, plain) in [
        ("5.", "5"),
        (".5", "0.5"),
        ("1e3", "1000"),
        ("1.5E-1f", "0.15"),
        ("2f", "2"),
        ("-Infinity", "-inf"),
        ("0", "0.0"),
    ] {
        check_same(&float(spelled), &float(plain));
    }
    assert!(config_json::to_json(&parse(&float("nan")).unwrap()).contains("\"NaN\""));
    // A field at its default counts as not given: protobuf cannot tell.
    check_same("name: \"\" name: \"a\" max_batch_size: 0 max_batch_size: 4", "name: 'a' max_batch_size: 4");
}

/// The whole error, as it is shown.
fn check_refused(text: &str, expected: &str) {
    match parse(text) {
        Ok(config) => panic!("{text} was read as {config:?}"),
        Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
    }
}

#[test]
fn unknown_duplicate_and_trailing_things_are_refused() {
    check_refused("nonsense: 1", "1:1: unknown field 'nonsense' in ModelConfig");
    check_refused("name: \"é\"\n\ninput [ { dimms: 1 } ]", "3:11: unknown field 'dimms' in ModelInput");
    check_refused("name: \"é\" dimms: 1", "1:11: unknown field 'dimms' in ModelConfig");
    check_refused("input { data_type: FP32 }", "1:20: field 'data_type': unknown value 'FP32'");
    check_refused("name: 'a'\nname: 'a'", "2:1: field 'name' is given more than once");
    check_refused(
        "dynamic_batching { } dynamic_batching { }",
        "1:22: field 'dynamic_batching' is given more than once",
    );
    check_refused(
        "dynamic_batching { } sequence_batching { }",
        "1:22: field 'sequence_batching' excludes 'dynamic_batching', which is given already",
    );
    check_refused("name: 'a' }", "1:11: expected a field of ModelConfig, found '}'");
    check_refused("name: 'a' trailing", "1:11: unknown field 'trailing' in ModelConfig");
    check_refused("name: 'a';;", "1:11: expected a field of ModelConfig, found ';'");
    check_refused("[x.y]: 1", "1:1: expected a field of ModelConfig, found '['");
    check_refused("\u{feff}name: 'a'", "1:1: expected a field of ModelConfig, found '\\u{feff}'");
}

#[test]
fn values_of_another_type_are_refused() {
    check_refused("max_batch_size: \"8\"", "1:17: field 'max_batch_size': expected an integer, found \"8\"");
    check_refused("max_batch_size: 8.0", "1:17: field 'max_batch_size': expected an integer, found '8.0'");
    check_refused("max_batch_size: +1", "1:17: field 'max_batch_size': expected an integer, found '+'");
    check_refused(
        "max_batch_size: 2147483648",
        "1:17: field 'max_batch_size': 2147483648 is out of range for int32",
    );
    check_refused("max_batch_size: 08", "1:17: '08' starts with 0 and is no octal number");
    check_refused("max_batch_size: 0x", "1:17: '0x' needs hexadecimal digits");
    check_refused("max_batch_size: 8name: 'a'", "1:17: '8name' is neither a number nor a name");
    check_refused(
        "input { dims: 9223372036854775808 }",
        "1:15: field 'dims': 9223372036854775808 is out of range for int64",
    );
    check_refused("input { dims: [ 1, 'a' ] }", "1:20: field 'dims': expected an integer, found \"a\"");
    check_refused("input { optional: 2 }", "1:19: field 'optional': expected true or false, found '2'");
    check_refused("name: abc", "1:7: field 'name': expected a string, found 'abc'");
    check_refused("name { }", "1:6: field 'name': expected ':', found '{'");
    check_refused("input: 'a'", "1:8: field 'input': expected '{', found \"a\"");
    check_refused(
        "dynamic_batching { max_queue_delay_microseconds: -1 }",
        "1:50: field 'max_queue_delay_microseconds': -1 is out of range for uint64",
    );
    check_refused(
        "sequence_batching { direct { minimum_slot_utilization: 010 } }",
        "1:56: field 'minimum_slot_utilization': expected a decimal number, found '010'",
    );
    check_refused("max_batch_size: 1e", "1:17: an exponent needs digits");
}

#[test]
fn broken_lists_messages_and_strings_are_refused() {
    check_refused("max_batch_size 3", "1:16: field 'max_batch_size': expected ':', found '3'");
    check_refused("input { dims [1] }", "1:14: field 'dims': expected ':', found '['");
    check_refused("input { dims: [1,] }", "1:18: field 'dims': expected an integer, found ']'");
    check_refused("input { dims: [1 2] }", "1:18: field 'dims': expected ',' or ']', found '2'");
    check_refused("input [ { } { } ]", "1:13: field 'input': expected ',' or ']', found '{'");
    check_refused("input { name: 'a'", "1:18: field 'input': expected '}', found the end of the text");
    check_refused("input < name: 'a' }", "1:19: expected a field of ModelInput, found '}'");
    check_refused("name: 'abc", "1:7: this string is never closed");
    check_refused("name: 'a\nb'", "1:9: a string ends on the line it begins");
    check_refused("name: 'a\0'", "1:9: a NUL in a string must be written '\\0'");
    check_refused(r"name: '\q'", "1:8: no such escape in a string");
    check_refused(r"name: '\x'", "1:8: no such escape in a string");
    check_refused(r"name: '\u12'", "1:8: no such escape in a string");
    check_refused("name: '\\é'", "1:8: no such escape in a string");
    check_refused("name: '\\", "1:8: no such escape in a string");
    check_refused(r"name: '\ud83d'", "1:8: this escape is no Unicode character");
    check_refused(r"name: '\777'", r"1:8: an octal escape goes up to \377");
    check_refused(r"name: '\xff'", "1:7: field 'name': the string is not UTF-8");
}

/// On a stack that a parser which recursed as deep as its input would overflow.
#[test]
fn deep_nesting_is_refused_on_a_small_stack() {
    let opens = ["input {", "input [", "input <", "{", "[", "parameters { value {", "version_policy { all {"];
    let check = move || {
        for open in opens {
            let error = parse(&open.repeat(250_000)).unwrap_err();
            assert!(error.message.len() < 200, "{error}");
        }
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(check).unwrap().join().unwrap();
}
