//! Settings, sampling and files together: a tracer as the server has it, with a real file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    (0..requests).filter(|_| tracer.sample(model, tracer.now(), &EVENT).is_on()).count()
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
    let otel = TraceOptions { mode: Mode::OpenTelemetry, file: "x".to_owned(), ..off.clone() };
    for tracer in [Tracer::default(), Tracer::start(off).unwrap(), Tracer::start(otel).unwrap()] {
        assert_eq!(tracer.now(), None);
        assert_eq!(requests(&tracer, "m", 2), 0);
        let error = tracer.update("", &Update { rate: Change::Set(2), ..Update::default() });
        assert_eq!(error.is_err(), tracer.shown("").values.level == LEVEL);
    }
    let tracer = tracer(&path, on);
    assert_eq!(requests(&tracer, "m", 3), 1);
    assert_eq!((tracer.now(), tracer.shown("").values.count), (None, 0), "the last one was traced");
    tracer.update("", &Update { rate: Change::Set(1), ..Update::default() }).unwrap();
    assert!(tracer.now().is_some(), "a count that is not set comes back from the command line");
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
    let running = tracer.sample("m", tracer.now(), &EVENT);
    assert_eq!(requests(&tracer, "m", 1), 1);
    let off = Update { level: Change::Set(Level::default()), ..Update::default() };
    tracer.update("", &off).unwrap();
    assert_eq!((tracer.now(), requests(&tracer, "m", 3)), (None, 0));
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
