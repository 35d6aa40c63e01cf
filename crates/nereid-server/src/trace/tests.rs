//! Settings, sampling and files together: a tracer as the server has it, with a real file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::*;

const LEVEL: Level = Level { timestamps: true, tensors: false };
const EVENT: [Event; 1] = [Event::HttpRecvStart];
const LIMIT: Duration = Duration::from_secs(60);

fn tracer(path: &Path, values: Values) -> Tracer {
    let file = path.to_str().unwrap().to_owned();
    Tracer::start(TraceOptions { values, file, ..TraceOptions::default() }).unwrap()
}

/// Lets `requests` come to `model`; how many of them are traced.
fn requests(tracer: &Tracer, model: &str, requests: usize) -> usize {
    (0..requests).filter(|_| sample(tracer, model, None).is_on()).count()
}

fn sample(tracer: &Tracer, model: &str, traceparent: Option<&'static str>) -> Trace {
    let context = || {
        let parent = HeaderValue::from_static(traceparent?);
        TraceContext::of(&HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), parent)]))
    };
    tracer.sample(model, tracer.arrived(context), &EVENT)
}

fn is_on(tracer: &Tracer) -> bool {
    tracer.arrived(|| None).is_some()
}

/// The names of the files in the folder of `path`, and the ids in each.
fn files(path: &Path) -> Vec<(String, Vec<u64>)> {
    let mut files: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let traces: Vec<Value> = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
            let ids = traces.iter().map(|trace| trace["id"].as_u64().unwrap()).collect();
            (entry.file_name().into_string().unwrap(), ids)
        })
        .collect();
    files.sort();
    files
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    (folder, path)
}

#[track_caller]
fn check(values: Values, count: usize, expected: &[(&str, &[u64])]) {
    let (_folder, path) = folder();
    let tracer = tracer(&path, values);
    requests(&tracer, "m", count);
    tracer.finish(LIMIT);
    let files = files(&path);
    let files: Vec<_> = files.iter().map(|(name, ids)| (name.as_str(), &ids[..])).collect();
    assert_eq!(files, expected, "{values:?}");
}

#[test]
fn files_by_frequency_and_count() {
    let all = Values { level: LEVEL, rate: 1, count: -1, log_frequency: 0 };
    check(all, 3, &[("t", &[1, 2, 3])]);
    check(all, 0, &[]);
    check(Values { rate: 2, ..all }, 5, &[("t", &[1, 2])]);
    check(Values { count: 2, ..all }, 9, &[("t.0", &[1, 2])]);
    check(Values { count: 2, rate: 3, ..all }, 9, &[("t.0", &[1, 2])]);
    check(Values { count: 4, ..all }, 3, &[("t", &[1, 2, 3])]);
    check(Values { log_frequency: 2, ..all }, 5, &[("t.0", &[1, 2]), ("t.1", &[3, 4]), ("t.2", &[5])]);
    check(Values { log_frequency: 2, count: 3, ..all }, 5, &[("t.0", &[1, 2]), ("t.1", &[3])]);
    check(Values { level: Level::default(), ..all }, 5, &[]);
    check(Values { rate: 0, ..all }, 5, &[]);
    check(Values { count: 0, ..all }, 5, &[]);
}

#[test]
fn off_means_that_nobody_looks_at_the_clock() {
    let (_folder, path) = folder();
    let on = Values { level: LEVEL, rate: 1, count: 1, log_frequency: 0 };
    let off = TraceOptions { values: on, ..TraceOptions::default() }; // no file
    for tracer in [Tracer::default(), Tracer::start(off).unwrap()] {
        assert!(!is_on(&tracer));
        assert_eq!(requests(&tracer, "m", 2), 0);
        let error = tracer.update("", &Update { rate: Change::Set(2), ..Update::default() });
        assert_eq!(error.is_err(), tracer.shown("").values.level == LEVEL);
    }
    let tracer = tracer(&path, on);
    assert_eq!(requests(&tracer, "m", 3), 1);
    assert_eq!((is_on(&tracer), tracer.shown("").values.count), (false, 0), "the last one was traced");
    tracer.update("", &Update { rate: Change::Set(1), ..Update::default() }).unwrap();
    assert!(is_on(&tracer), "a count that is not set comes back from the command line");
    tracer.update("m", &Update { level: Change::Set(Level::default()), ..Update::default() }).unwrap();
    assert_eq!((requests(&tracer, "m", 1), requests(&tracer, "n", 1)), (0, 1));
}

/// The sequence of Triton's own test of this (`L0_trace`, `clear_settings`).
#[test]
fn models_mirror_what_they_have_not_set() {
    let (_folder, path) = folder();
    let start = Values { level: LEVEL, rate: 1, count: -1, log_frequency: 0 };
    let tracer = tracer(&path, start);
    let none = Update::default();
    let shown = |model: &str| tracer.shown(model).values;
    let set = |model: &str, update: Update| tracer.update(model, &update).unwrap();
    set("m", Update { rate: Change::Set(12), log_frequency: Change::Set(34), ..none });
    set(
        "",
        Update {
            rate: Change::Set(56),
            count: Change::Set(78),
            level: Change::Set(Level::default()),
            ..none
        },
    );
    let off = Values { level: Level::default(), ..start };
    assert_eq!(shown(""), Values { rate: 56, count: 78, ..off });
    assert_eq!(shown("m"), Values { rate: 12, count: 78, log_frequency: 34, ..off });
    set("", Update { rate: Change::Clear, count: Change::Clear, ..none });
    assert_eq!(shown(""), off);
    assert_eq!(shown("m"), Values { rate: 12, log_frequency: 34, ..off });
    set("m", Update { rate: Change::Clear, level: Change::Clear, ..none });
    assert_eq!(shown("m"), Values { log_frequency: 34, ..off });
    set("m", Update { log_frequency: Change::Clear, ..none });
    set("", Update { level: Change::Clear, rate: Change::Set(3), ..none });
    assert_eq!((shown("m"), shown("other")), (Values { rate: 3, ..start }, Values { rate: 3, ..start }));
}

#[test]
fn refused_updates_change_nothing() {
    let (_folder, path) = folder();
    let start = Values { level: LEVEL, rate: 1, count: -1, log_frequency: 0 };
    let tracer = tracer(&path, start);
    let none = Update::default();
    for (model, update, reason) in [
        ("", Update { rate: Change::Set(0), ..none }, "sample rate must be non-zero"),
        ("m", Update { rate: Change::Set(0), ..none }, "sample rate must be non-zero"),
        ("m", Update { count: Change::Set(0), ..none }, ""),
    ] {
        let error = tracer.update(model, &update).unwrap_err();
        assert_eq!(error.message(), format!("Attempting to set invalid trace setting :{reason}"));
        assert_eq!((tracer.shown("").values, tracer.shown("m").values), (start, start));
    }
    let off = Update { level: Change::Set(Level::default()), rate: Change::Set(0), ..none };
    tracer.update("", &off).unwrap(); // what is off may be anything
    assert_eq!(tracer.shown("").values, Values { level: Level::default(), rate: 0, ..start });
}

/// What is being traced ends under the settings it began under, and settings that end are written.
#[test]
fn settings_are_replaced_under_running_requests() {
    let (_folder, path) = folder();
    let start = Values { level: LEVEL, rate: 1, count: -1, log_frequency: 10 };
    let tracer = tracer(&path, start);
    let running = sample(&tracer, "m", None);
    assert_eq!(requests(&tracer, "m", 1), 1);
    let off = Update { level: Change::Set(Level::default()), ..Update::default() };
    tracer.update("", &off).unwrap();
    assert_eq!((is_on(&tracer), requests(&tracer, "m", 3)), (false, 0));
    drop(running);
    tracer
        .update("", &Update { level: Change::Clear, log_frequency: Change::Set(0), ..Update::default() })
        .unwrap();
    assert_eq!(requests(&tracer, "m", 1), 1);
    tracer.finish(LIMIT);
    let id = |file: &str, ids: &[u64]| (file.to_owned(), ids.to_vec());
    assert_eq!(files(&path), [id("t", &[3]), id("t.0", &[2, 1])]);
}

#[test]
fn a_path_that_cannot_be_written_fails_no_request() {
    let values = Values { level: LEVEL, rate: 1, count: -1, log_frequency: 1 };
    for file in ["/nowhere/at/all/t", "/dev/full"] {
        let tracer = tracer(Path::new(file), values);
        assert_eq!(requests(&tracer, "m", 3), 3);
        tracer.finish(LIMIT);
        assert_eq!(requests(&tracer, "m", 3), 0, "nothing is traced at the end");
    }
}

const IN_TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const LEFT_OUT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A tracer that would send spans to where nobody listens.
fn otel(values: Values, sampler: &str) -> Tracer {
    let settings = [("url".to_owned(), "http://127.0.0.1:9".to_owned())];
    let variable = |name: &str| (name == "OTEL_TRACES_SAMPLER").then(|| sampler.to_owned());
    let otlp = OtlpOptions::new(&settings, &variable, &mut Vec::new()).unwrap();
    Tracer::start(TraceOptions { values, mode: Mode::OpenTelemetry, otlp, ..TraceOptions::default() })
        .unwrap()
}

/// Which of some requests are traced: those without a client's trace (`-`), in one (`t`), in one that is left out (`o`).
#[track_caller]
fn check_contexts(tracer: &Tracer, requests: &str, expected: &str) {
    let traced = requests.chars().map(|request| {
        let parent = match request {
            't' => Some(IN_TRACE),
            'o' => Some(LEFT_OUT),
            _ => None,
        };
        if sample(tracer, "m", parent).is_on() { 'x' } else { '.' }
    });
    assert_eq!(traced.collect::<String>(), expected, "{requests}: {:?}", tracer.shown("").values);
}

#[test]
fn requests_in_a_clients_trace_are_traced_whatever_rate_and_count() {
    let all = Values { level: LEVEL, rate: 1, count: -1, log_frequency: 0 };
    check_contexts(&otel(all, ""), "-to", "xxx");
    check_contexts(&otel(Values { rate: 0, ..all }, ""), "-t-o-", ".x.x.");
    check_contexts(&otel(Values { rate: 3, ..all }, ""), "--t---t-", "..x..xx.");
    check_contexts(&otel(Values { count: 2, ..all }, ""), "----t-", "xx..x.");
    check_contexts(&otel(Values { count: 0, ..all }, ""), "-t", ".x");
    check_contexts(&otel(Values { rate: u32::MAX, count: 1, ..all }, ""), "tt-", "xx.");
    check_contexts(&otel(Values { level: Level::default(), ..all }, ""), "-t", "..");
    check_contexts(&otel(all, "parentbased_always_on"), "-toto", "xx.x.");
    check_contexts(&otel(Values { rate: 0, ..all }, "parentbased_always_on"), "-to", ".x.");
    let (_folder, path) = folder();
    check_contexts(&tracer(&path, Values { rate: 2, ..all }), "-tto", ".x.x"); // files know no such trace
}

#[test]
fn settings_of_spans_change_like_those_of_files() {
    let start = Values { level: LEVEL, rate: 0, count: -1, log_frequency: 0 };
    let (tracer, none) = (otel(start, ""), Update::default());
    tracer.update("", &Update { rate: Change::Set(1), ..none }).unwrap();
    check_contexts(&tracer, "-t", "xx");
    tracer.update("", &Update { rate: Change::Set(0), ..none }).unwrap();
    check_contexts(&tracer, "-t", ".x");
    tracer.update("", &Update { level: Change::Set(Level::default()), ..none }).unwrap();
    assert!(!is_on(&tracer), "off is off");
    assert!(tracer.update("", &Update { level: Change::Clear, count: Change::Set(0), ..none }).is_err());
    let tensors = Level { timestamps: true, tensors: true };
    tracer.update("", &Update { level: Change::Set(tensors), ..none }).unwrap();
    assert!(is_on(&tracer) && !tracer.traces_tensors("m"), "spans have no tensors");
}
