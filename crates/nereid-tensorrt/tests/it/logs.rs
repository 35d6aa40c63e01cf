//! What TensorRT logs, and what of it goes with errors.

use std::thread;

use nereid_tensorrt::{AllocationStrategy, Library, LoadOptions, LogSink, Runtime, Severity};

use crate::fixture::{ADD_SUB, Folder, MAJORS, device, enqueue, load, options, path, plan, recording};

#[test]
fn severities() {
    for major in MAJORS {
        let (log, lines) = recording();
        let library = Library::load(&LoadOptions { log, ..options(&path(major)) }).unwrap();
        let runtime = Runtime::new(&library, &device()).unwrap();
        runtime.deserialize(plan(ADD_SUB).as_bytes()).unwrap();
        runtime.deserialize(b"garbage").unwrap_err();
        let lines = lines.lock();
        let has = |severity, text: &str| lines.iter().any(|(s, line)| *s == severity && line.contains(text));
        assert!(has(Severity::Info, "Loaded engine size"), "{lines:?}");
        assert!(has(Severity::Error, "Magic tag does not match"), "{lines:?}");
    }
}

/// The second logger of a library is told that it is not the global one.
#[test]
fn warnings() {
    let folder = Folder::new();
    let path = folder.add(11, "libnvinfer.so.11", "");
    let first = load(&path);
    Runtime::new(&first, &device()).unwrap();
    let (log, lines) = recording();
    let second = Library::load(&LoadOptions { log, ..options(&path) }).unwrap();
    Runtime::new(&second, &device()).unwrap();
    Runtime::new(&second, &device()).unwrap();
    let lines = lines.lock();
    assert!(lines.iter().all(|(severity, _)| *severity == Severity::Warning), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

/// A sink that panics does not take TensorRT with it.
#[test]
fn a_sink_that_panics() {
    for major in MAJORS {
        let log = LogSink::new(|_, _| panic!("a sink of this test"));
        let library = Library::load(&LoadOptions { log, ..options(&path(major)) }).unwrap();
        let runtime = Runtime::new(&library, &device()).unwrap();
        let error = runtime.deserialize(b"garbage").unwrap_err().to_string();
        assert!(error.contains("Magic tag does not match"), "{error}");
    }
}

#[test]
fn the_same_error_twice() {
    for major in MAJORS {
        let mut context = crate::fixture::context(major, "op fail\nin X 0 1 \nout Y 0 1");
        for _ in 0..3 {
            let error = enqueue(&mut context).unwrap_err();
            assert_eq!(error.matches("an illegal memory access was encountered").count(), 1, "{error}");
        }
    }
}

/// What another thread of TensorRT logs goes with the error only if this one logged nothing.
#[test]
fn lines_of_other_threads() {
    for major in MAJORS {
        let runtime = Runtime::new(&load(&path(major)), &device()).unwrap();
        let flood = plan("op flood 1000\nin X 0 1\nout Y 0 1");
        let mut context = runtime
            .deserialize(flood.as_bytes())
            .unwrap()
            .create_context(AllocationStrategy::Static)
            .unwrap();
        let memory = crate::fixture::buffer(&device(), &[0_f32]);
        for tensor in 0..2 {
            crate::fixture::bind(&mut context, tensor, memory.address());
        }
        thread::scope(|scope| {
            scope.spawn(|| enqueue(&mut context).unwrap());
            for _ in 0..50 {
                let error = runtime.deserialize(b"garbage").unwrap_err();
                assert!(error.log.iter().all(|line| line.contains("Magic tag")), "{error}");
                assert!(!error.log.is_empty());
            }
        });
    }
}
