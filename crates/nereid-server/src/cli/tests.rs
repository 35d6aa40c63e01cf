//! Command lines in, options, warnings and error texts out.

use std::ffi::OsString;

use nereid_repository::ReadyWhen;

use super::*;
use crate::logging::LogFormat;
use crate::metrics::MetricsOptions;

mod connections;
mod lifecycle;
mod resources;

/// Every flag of Triton 2.73 (`SetupOptions`), in its order.
const TRITON: &str = "
    help id exit-timeout-secs
    log-verbose log-info log-warning log-error log-format log-file
    model-store model-repository exit-on-error disable-auto-complete-config strict-readiness model-control-mode
    repository-poll-secs load-model model-config-name model-load-thread-count model-load-retry-count
    model-namespacing enable-peer-access
    allow-http http-address http-port reuse-http-port http-header-forward-pattern http-thread-count
    http-max-input-size http-restricted-api
    allow-grpc grpc-address grpc-port reuse-grpc-port grpc-header-forward-pattern grpc-infer-thread-count
    grpc-infer-allocation-pool-size grpc-max-response-pool-size grpc-use-ssl grpc-use-ssl-mutual grpc-server-cert
    grpc-server-key grpc-root-cert grpc-infer-response-compression-level grpc-keepalive-time grpc-keepalive-timeout
    grpc-keepalive-permit-without-calls grpc-http2-max-pings-without-data
    grpc-http2-min-recv-ping-interval-without-data grpc-http2-max-ping-strikes grpc-max-connection-age
    grpc-max-connection-age-grace grpc-restricted-protocol
    allow-sagemaker sagemaker-port sagemaker-safe-port-range sagemaker-thread-count
    allow-vertex-ai vertex-ai-port vertex-ai-thread-count vertex-ai-default-model
    allow-metrics allow-gpu-metrics allow-cpu-metrics metrics-address metrics-port metrics-interval-ms metrics-config
    trace-config
    backend-directory backend-config repoagent-directory cache-config cache-directory rate-limit rate-limit-resource
    pinned-memory-pool-byte-size cuda-memory-pool-byte-size cuda-virtual-address-size
    min-supported-compute-capability buffer-manager-thread-count host-policy model-load-gpu-limit allow-client-shm
    strict-model-config response-cache-byte-size trace-file trace-level trace-rate trace-count trace-log-frequency";

fn parse_all(args: &[&str]) -> Parsed {
    parse(["nereid"].iter().chain(args).map(OsString::from))
}

/// Options and warnings of a command line, with a repository added to it.
#[track_caller]
pub(super) fn run(args: &[&str]) -> (Options, Vec<String>) {
    match parse_all(&[args, &["--model-repository=/models"]].concat()) {
        Parsed::Run(options, warnings) => (*options, warnings),
        other => panic!("{args:?}: {other:?}"),
    }
}

#[track_caller]
pub(super) fn options(args: &[&str]) -> Options {
    let (options, warnings) = run(args);
    assert_eq!(warnings, [""; 0], "{args:?}");
    options
}

#[track_caller]
pub(super) fn refused(args: &[&str], expected: &str) {
    match parse_all(&[args, &["--model-repository=/models"]].concat()) {
        Parsed::Error { usage, message } => {
            assert_eq!(message, expected, "{args:?}");
            assert!(usage.contains("--model-repository <string>"));
        }
        other => panic!("{args:?}: {other:?}"),
    }
}

#[test]
fn every_flag_of_triton_is_known_in_its_order() {
    let known: Vec<_> = flags::all().filter(|flag| !flag.own).map(|flag| flag.name).collect();
    assert_eq!(known, TRITON.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn defaults() {
    let o = options(&[]);
    assert_eq!((o.server_id.as_str(), o.exit_timeout_secs, o.allow_client_shm), ("triton", 30, false));
    assert_eq!(o.log, crate::logging::LogOptions::default());
    let r = &o.repository;
    assert_eq!(r.paths, ["/models"]);
    assert_eq!((r.exit_on_error, r.auto_complete, r.load_all), (true, true, true));
    assert_eq!((r.control_mode, r.poll_secs, r.ready_when), (ModelControlMode::None, 15, ReadyWhen::All));
    assert_eq!((r.load_threads, r.load_retries, r.namespacing), (4, 0, false));
    assert_eq!((r.load_models.len(), &r.config_name), (0, &None));
    let h = &o.http;
    assert_eq!((h.enabled, h.address.as_str(), h.port, h.reuse_port), (true, "0.0.0.0", 8000, false));
    assert_eq!(h.max_input_size, 67_108_864);
    assert!(h.threads >= 1);
    let g = &o.grpc;
    assert_eq!((g.enabled, g.address.as_str(), g.port, g.reuse_port), (true, "0.0.0.0", 8001, false));
    let m = &o.metrics;
    assert_eq!((m.enabled, m.address.as_str(), m.port), (true, "0.0.0.0", 8002));
    assert_eq!(m.families, MetricsOptions::default());
    assert_eq!(o.backends, BackendSettings::default());
    assert_eq!(o.backends.default_max_batch_size("onnxruntime"), 4);
}

#[test]
fn spellings_of_booleans() {
    for text in ["true", "TRUE", "True", "on", "On", "ON", "1"] {
        assert!(options(&[&format!("--reuse-http-port={text}")]).http.reuse_port, "{text}");
        assert!(options(&["--reuse-http-port", text]).http.reuse_port, "{text}");
    }
    for text in ["false", "FALSE", "False", "off", "Off", "OFF", "0"] {
        assert!(!options(&[&format!("--allow-http={text}")]).http.enabled, "{text}");
        assert!(!options(&["--allow-http", text]).http.enabled, "{text}");
    }
    for text in ["yes", "2", "", "tru", " true"] {
        let expected = format!("Bad option: \"--allow-http\".\ninvalid value for bool option: {text}");
        refused(&[&format!("--allow-http={text}")], &expected);
    }
    assert!(options(&["--reuse-http-port", "--http-port=0"]).http.reuse_port, "bare");
    for (text, level) in [("0", 0), ("1", 1), ("7", 7), ("true", 1), ("FALSE", 0), ("-3", 0)] {
        assert_eq!(options(&["--log-verbose", text]).log.verbose, level, "{text}");
    }
    assert_eq!(options(&["--log-verbose", "--log-info=false"]).log.verbose, 1, "bare");
}

#[test]
fn values_are_taken_over() {
    let o = options(&[
        "--id=-x-",
        "--exit-timeout-secs",
        "-5",
        "--log-warning=0",
        "--log-error=off",
        "--log-format=ISO8601",
        "--log-file=/tmp/log",
        "--model-store=/b",
        "--model-repository=/a",
        "--model-store=/b",
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--disable-auto-complete-config",
        "--model-control-mode=EXPLICIT",
        "--load-model=two",
        "--load-model=one",
        "--load-model=two",
        "--model-config-name=h100",
        "--model-load-thread-count=0",
        "--model-load-retry-count=2",
        "--http-address=127.0.0.1",
        "--http-port=1",
        "--http-port=65535",
        "--http-thread-count=3",
        "--http-max-input-size=9",
        "--grpc-address=::1",
        "--grpc-port=0",
        "--reuse-grpc-port=1",
        "--metrics-port=0",
        "--metrics-interval-ms=1.5",
        "--model-namespacing=1",
        "--metrics-config=histogram_latencies=true",
        "--metrics-config",
        "counter_latencies=false",
        "--backend-directory=/opt/tritonserver/backends",
        "--backend-config=default-max-batch-size=16",
        "--backend-config=onnxruntime,default-max-batch-size=8",
        "--backend-config=onnxruntime,path=a=b,c",
    ]);
    assert_eq!((o.server_id.as_str(), o.exit_timeout_secs), ("-x-", 0));
    assert_eq!(
        (o.log.info, o.log.warning, o.log.error, o.log.format),
        (true, false, false, LogFormat::Iso8601)
    );
    assert_eq!(o.log.file.as_deref(), Some("/tmp/log".as_ref()));
    let r = &o.repository;
    assert_eq!(r.paths, ["/b", "/a", "/models"]);
    assert_eq!(
        (r.exit_on_error, r.auto_complete, r.ready_when, r.load_all),
        (false, false, ReadyWhen::Server, false)
    );
    assert_eq!(r.load_models.iter().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((r.config_name.as_deref(), r.load_threads, r.load_retries), (Some("h100"), 1, 2));
    assert!(r.namespacing);
    assert_eq!((o.http.address.as_str(), o.http.port, o.http.threads), ("127.0.0.1", 65535, 3));
    assert_eq!(o.http.max_input_size, 9);
    assert_eq!((o.grpc.address.as_str(), o.grpc.port, o.grpc.reuse_port), ("::1", 0, true));
    assert_eq!((o.metrics.address.as_str(), o.metrics.port), ("127.0.0.1", 0));
    assert_eq!((o.metrics.families.counter_latencies, o.metrics.families.histogram_latencies), (false, true));
    assert_eq!(o.backends.default_max_batch_size("onnxruntime"), 8);
    assert_eq!(o.backends.default_max_batch_size("tensorrt"), 16);
    assert_eq!(o.backends.get("onnxruntime", "path"), Some("a=b,c"));
    assert_eq!(o.backends.get("tensorrt", "path"), None);
}

#[test]
fn abbreviations_work_where_only_one_flag_fits() {
    assert_eq!(options(&["--http-po=7"]).http.port, 7);
    assert_eq!(options(&["--id=x"]).server_id, "x");
    let all = options(&["--model-control-mode=explicit", "--load-model=*"]).repository;
    assert!(all.load_all);
    refused(
        &["--exit=1"],
        "Bad option: \"--exit\".\noption is ambiguous; possibilities: --exit-timeout-secs --exit-on-error",
    );
}

#[test]
fn warnings() {
    let not_yet = |flag: &str| format!("'--{flag}' is not supported yet and has no effect.");
    let deprecated = |flag: &str, instead: &str| {
        format!("'--{flag}' has been deprecated! Please use '{instead}' instead.")
    };
    let strict = deprecated("strict-model-config", "--disable-auto-complete-config");
    for (args, expected) in [
        (&["--allow-sagemaker=true", "--allow-sagemaker=false"][..], vec![not_yet("allow-sagemaker")]),
        (&["--trace-config=rate=5", "--trace-config=triton,file=/t"], vec![]),
        (&["--trace-config=mode=opentelemetry", "--trace-config=opentelemetry,url=http://x"], vec![]),
        (
            &[
                "--trace-config=mode=opentelemetry",
                "--trace-config=opentelemetry,speed=5",
                "--trace-config=level=TENSORS",
                "--trace-file=f",
            ],
            vec![
                deprecated("trace-file", "--trace-config triton,file=<path>"),
                "'--trace-file' is deprecated and will be ignored with opentelemetry tracing mode."
                    .to_owned(),
                "'--trace-config opentelemetry,speed' is not supported and has no effect.".to_owned(),
                "trace level TENSORS has no effect with opentelemetry tracing mode.".to_owned(),
            ],
        ),
        (
            &["--trace-config=speed=5"],
            vec!["'--trace-config speed' is not supported and has no effect.".to_owned()],
        ),
        (
            &["--trace-config=rate=5", "--trace-rate=6", "--trace-file=f", "--trace-config=triton,file=g"],
            vec![
                deprecated("trace-rate", "--trace-config rate=<rate>"),
                deprecated("trace-file", "--trace-config triton,file=<path>"),
                "Overriding deprecated '--trace-rate' in favor of provided rate value in --trace-config!"
                    .to_owned(),
                "Overriding deprecated '--trace-file' in favor of provided file in --trace-config!"
                    .to_owned(),
            ],
        ),
        (&["--strict-model-config=true"], vec![strict.clone()]),
        (
            &["--strict-model-config=false", "--disable-auto-complete-config"],
            vec![
                strict,
                "Overriding deprecated '--strict-model-config' from False to True in favor of \
                 '--disable-auto-complete-config'!"
                    .to_owned(),
            ],
        ),
        (&["--trace-count", "-1"], vec![deprecated("trace-count", "--trace-config count=<count>")]),
        (&["--model-control-mode=poll", "--repository-poll-secs=0"], vec![]),
        (
            &["--metrics-config=latencies=true"],
            vec!["'--metrics-config latencies' is not supported and has no effect.".to_owned()],
        ),
    ] {
        assert_eq!(run(args).1, expected, "{args:?}");
    }
    assert!(!run(&["--strict-model-config"]).0.repository.auto_complete);
    assert!(run(&["--strict-model-config=false"]).0.repository.auto_complete);
    assert!(!run(&["--strict-model-config=false", "--disable-auto"]).0.repository.auto_complete);
}

#[test]
fn a_flag_that_has_no_effect_says_so_and_any_other_does_not() {
    for flag in flags::all().filter(|flag| flag.name != flags::HELP) {
        let value = match flag.name {
            "sagemaker-safe-port-range" => "1-2",
            "http-restricted-api" | "grpc-restricted-protocol" => "health:k=v",
            "rate-limit" | "trace-level" => "off",
            "log-format" => "default",
            "grpc-infer-response-compression-level" => "Medium",
            "metrics-config" => "counter_latencies=true",
            "trace-config" => "opentelemetry,url=http://x",
            "model-control-mode" => "none",
            "ready-when" => "any",
            "rate-limit-resource" => "r:1:0",
            "cuda-memory-pool-byte-size" | "cuda-virtual-address-size" | "model-load-gpu-limit" => "0:1",
            "grpc-infer-thread-count" => "2",
            "backend-config" | "cache-config" => "local,size=1",
            "host-policy" => "cpu,cpu-cores=0-0",
            _ => "1",
        };
        let argument = if matches!(flag.value, flags::Value::None) {
            format!("--{}", flag.name)
        } else {
            format!("--{}={value}", flag.name)
        };
        let warned = run(&[&argument, "--model-control-mode=explicit"]).1;
        let names_it =
            warned.iter().filter(|w| w.contains("no effect") && w.contains(&format!("'--{}'", flag.name)));
        assert_eq!(names_it.count(), usize::from(!flag.ready), "{argument}: {warned:?}");
    }
}

#[test]
fn what_is_wrong_is_told_in_the_form_that_is_asked_for() {
    let (default, iso, json) = (LogFormat::Default, LogFormat::Iso8601, LogFormat::Json);
    for (args, expected) in [
        (&["--log-format=json", "--nope"][..], json),
        (&["--nope", "--log-format", "json"], json),
        (&["--log-format=json", "--log-format=xml"], json),
        (&["--log-format=json", "--log-format=ISO8601"], iso),
        (&["--log-format"], default),
        (&["--log-formats=json", "--log-file=json", "json"], default),
    ] {
        let args = ["nereid"].iter().chain(args).map(OsString::from);
        assert_eq!(wanted_log_format(args.clone()), expected, "{:?}", args.collect::<Vec<_>>());
    }
    assert_eq!(options(&["--log-format=json"]).log.format, json);
}

#[test]
fn bad_values() {
    for (argument, reason) in [
        ("--http-port=x", "Invalid option value. Got x"),
        ("--http-port=80x", "Invalid option value. Got 80x"),
        ("--http-port=", "Invalid option value. Got "),
        ("--http-port=65536", "Provided option value is out of bound. Got 65536"),
        ("--grpc-port=-1", "Provided option value is out of bound. Got -1"),
        ("--metrics-port=99999999999999999999999999999999999999999", {
            "Provided option value is out of bound. Got 99999999999999999999999999999999999999999"
        }),
        ("--exit-timeout-secs=2147483648", "Provided option value is out of bound. Got 2147483648"),
        ("--http-max-input-size=0", "Error: --http-max-input-size must be greater than 0."),
        ("--http-max-input-size=-1", "Error: --http-max-input-size must be greater than 0."),
        ("--http-thread-count=0", "Error: --http-thread-count must be greater than 0."),
        ("--log-format=iso8601", "invalid argument for --log-format"),
        ("--log-verbose=much", "Invalid option value. Got much"),
        ("--model-control-mode=auto", "invalid argument for --model-control-mode"),
        ("--model-config-name=", "Error: empty argument for --model-config-name"),
        ("--model-load-retry-count=-1", "Provided option value is out of bound. Got -1"),
        ("--metrics-interval-ms=often", "Invalid option value. Got often"),
        ("--metrics-config=x", "--metrics-config option format is <setting>=<value>. Got x"),
        ("--metrics-config=a,b=c", "--metrics-config option format is <setting>=<value>. Got a,b=c"),
        ("--metrics-config=counter_latencies=maybe", "invalid value for bool option: maybe"),
        (
            "--backend-config=onnxruntime",
            "--backend-config option format is '<backend name>,<setting>=<value>'. Got onnxruntime",
        ),
        (
            "--backend-config=,a=b",
            "No backend specified. --backend-config option format is <backend name>,<setting>=<value> or \
             <setting>=<value>. Got ,a=b",
        ),
        (
            "--backend-config=a,b=",
            "--backend-config option format is '<backend name>,<setting>=<value>'. Got a,b=",
        ),
        ("--backend-config=default-max-batch-size=x", "Invalid option value. Got x"),
        (
            "--grpc-infer-thread-count=129",
            "invalid argument for --grpc_infer_thread_count. Must be in the range 2 to 128.",
        ),
        ("--grpc-max-response-pool-size=0", "Error: --grpc-max-response-pool-size must be greater than 0."),
        (
            "--grpc-infer-response-compression-level=best",
            "invalid argument for --grpc_infer_response_compression_level",
        ),
        ("--http-restricted-api=health,nope:k=v", "unknown restricted api 'nope'"),
        ("--grpc-restricted-protocol=health,:k=v", "unknown restricted protocol ''"),
        (
            "--http-restricted-api=health,health:k=v",
            "restricted api 'health' can not be specified in multiple config groups",
        ),
        (
            "--http-restricted-api=health:a b=v",
            "restricted api header 'a b' is not a name that a header can have",
        ),
        (
            "--grpc-restricted-protocol=health",
            "--grpc-restricted-protocol option format is '<config name>:<setting>=<value>'. Got health",
        ),
        ("--rate-limit=on", "invalid argument for --rate-limit"),
        (
            "--rate-limit-resource=r",
            "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or \
             '<resource_name>:<count>'. Got r",
        ),
        ("--rate-limit-resource=r:x", "Invalid option value. Got x"),
        (
            "--cuda-memory-pool-byte-size=0",
            "Cannot parse pair option due to incorrect number of inputs.--<pair option> argument requires format \
             <first>:<second>. Found: 0",
        ),
        (
            "--cache-config=size=1",
            "No cache specified. --cache-config option format is <cache name>,<setting>=<value>. Got size=1",
        ),
        (
            "--cache-config=local,x",
            "--cache-config option format is '<cache name>,<setting>=<value>'. Got local,x",
        ),
        (
            "--host-policy=p,cores=1",
            "Unsupported host policy setting 'cores' is specified, supported settings are 'numa-node', 'cpu-cores'",
        ),
        ("--rate-limit-resource=r:-1", "Provided option value is out of bound. Got -1"),
        ("--host-policy=p,x", "--host-policy option format is '<policy name>,<setting>=<value>'. Got p,x"),
        (
            "--trace-config=zipkin,a=b",
            "invalid value for trace mode option: zipkin. Available options are \"triton\" and \"opentelemetry\"",
        ),
        ("--trace-level=loud", "invalid value for trace level option: loud"),
        ("--trace-rate=often", "Invalid option value. Got often"),
        ("--allow-sagemaker=2", "invalid value for bool option: 2"),
    ] {
        let (name, _) = argument.split_once('=').unwrap();
        refused(&[argument], &format!("Bad option: \"{name}\".\n{reason}"));
    }
}

#[test]
fn the_first_bad_option_is_named() {
    refused(
        &["--log-info=2", "--http-port=x"],
        "Bad option: \"--log-info\".\ninvalid value for bool option: 2",
    );
    refused(&["--http-port=x", "--log-info=2"], "Bad option: \"--http-port\".\nInvalid option value. Got x");
}

#[test]
fn unknown_flags_and_stray_arguments() {
    refused(&["--nonsense"], "Bad option: \"--nonsense\".\nunrecognized option");
    refused(&["--nonsense=1"], "Bad option: \"--nonsense\".\nunrecognized option");
    refused(
        &["--htp-port=1"],
        "Bad option: \"--htp-port\".\nunrecognized option; did you mean \"--http-port\"?",
    );
    refused(&["-x"], "Bad option: \"-x\".\nunrecognized option");
    refused(&["models"], "Unexpected argument: models");
    refused(
        &["--disable-auto-complete-config=true"],
        "Bad option: \"--disable-auto-complete-config\".\noption doesn't allow an argument",
    );
    let Parsed::Error { message, .. } = parse_all(&["--model-repository"]) else { panic!() };
    assert_eq!(message, "Bad option: \"--model-repository\".\noption requires an argument");
}

#[test]
fn the_name_of_tritons_program_may_come_first() {
    for first in ["tritonserver", "/opt/tritonserver/bin/tritonserver"] {
        assert_eq!(options(&[first, "--http-port=8080"]).http.port, 8080);
    }
    refused(&["--http-port=8080", "tritonserver"], "Unexpected argument: tritonserver");
    refused(&["tritonserver", "tritonserver"], "Unexpected argument: tritonserver");
    refused(&["nereid"], "Unexpected argument: nereid");
}

#[test]
fn names_of_bare_models() {
    let name = |text: &str| options(&[&format!("--bare-model-name={text}")]).repository.bare_model_name;
    assert_eq!(name("sklearn-iris").as_deref(), Some("sklearn-iris"));
    assert_eq!(name("{{.Name}}").as_deref(), Some("{{.Name}}"));
    for text in ["", ".", "..", ".hidden", "a/b", "a\\b"] {
        refused(
            &[&format!("--bare-model-name={text}")],
            &format!(
                "Bad option: \"--bare-model-name\".\nError: --bare-model-name must be a model's name, not '{text}'"
            ),
        );
    }
}

#[test]
fn combinations() {
    let Parsed::Error { message, .. } = parse_all(&[]) else { panic!() };
    assert!(message.starts_with("--model-repository must be specified: the folder"), "{message}");
    refused(
        &["--load-model=m"],
        "Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well.",
    );
    refused(
        &["--model-control-mode=explicit", "--load-model=m", "--load-model=*"],
        "Wildcard model name '*' must be the ONLY startup model if specified at all.",
    );
    refused(
        &["--cache-config=local,size=1", "--response-cache-byte-size=1"],
        "Error: Incompatible flags --response-cache-byte-size and --cache-config both provided. Please provide one \
         or the other.",
    );
    let shared = |first, second, port| {
        format!(
            "The server cannot listen to {first} requests and {second} requests at the same address and port \
             0.0.0.0:{port}"
        )
    };
    refused(&["--http-port=8001"], &shared("HTTP", "GRPC", 8001));
    refused(&["--http-port=8002"], &shared("HTTP", "metrics", 8002));
    refused(&["--grpc-port=8002"], &shared("GRPC", "metrics", 8002));
    options(&["--grpc-port=8002", "--allow-metrics=false"]);
    options(&["--grpc-port=8002", "--metrics-address=127.0.0.1"]);
    options(&["--http-port=0", "--grpc-port=0", "--metrics-port=0"]);
}

#[test]
fn help_shows_every_flag_once_with_its_default() {
    let Parsed::Help(text) = parse_all(&["--id=x", "--help"]) else { panic!() };
    for flag in flags::all() {
        let head = match flag.value.placeholder() {
            Some(placeholder) => format!("\n  --{} <{placeholder}>\n", flag.name),
            None => format!("\n  --{}\n", flag.name),
        };
        assert_eq!(text.matches(&head).count(), 1, "{head}");
    }
    assert!(text.contains(
        "  --http-port <integer>\n        Port of the HTTP endpoint; 0 takes any free one. Default: 8000.\n"
    ));
    assert!(text.contains(
        "  --grpc-infer-allocation-pool-size <integer>\n        [not there yet] Request and response objects that are kept"
    ));
    assert!(text.contains(
        "  --http-use-ssl <boolean>\n        [not in Triton] Serve HTTP with TLS. Default: false.\n"
    ));
    assert!(text.contains("\nSagemaker:\n"));
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn defaults_in_the_help_are_the_defaults_in_effect() {
    let plain = options(&[]);
    for flag in flags::all().filter(|flag| flag.ready && flag.deprecated.is_none()) {
        if ["", "off"].contains(&flag.default) || flag.default.contains(' ') {
            continue;
        }
        assert_eq!(
            format!("{:?}", without_backends(options(&[&format!("--{}={}", flag.name, flag.default)]))),
            format!("{:?}", without_backends(plain.clone())),
            "--{}",
            flag.name
        );
    }
}

/// `--backend-config` records what was given, so a default that is given shows.
fn without_backends(options: Options) -> Options {
    Options { backends: BackendSettings::default(), ..options }
}
