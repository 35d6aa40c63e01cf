//! What needs a process of its own: the library is loaded once per process, and memory is the process's.
//! Each test runs itself again as a child, with the variable [`CHILD`] set.

use std::path::PathBuf;
use std::process::Command;

use nereid_backend_onnxruntime::{OnnxRuntime, Options};
use nereid_core::DataType::Fp32;
use nereid_core::Timestamp;
use nereid_core::backend::{Backend, LoadRequest};

use crate::fixture::{Fixture, backend, unary_config};
use crate::onnx::{floats, unary};

const CHILD: &str = "NEREID_TEST_CHILD";

/// In the child, runs `body`; else starts the child for the test `name` and waits for it.
fn in_own_process(name: &str, library: Option<&str>, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    drop(backend()); // says what is missing
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("process::{name}"), "--nocapture"]).env(CHILD, "1");
    match library {
        Some(path) => child.env("ORT_DYLIB_PATH", path),
        None => &mut child,
    };
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Loads with `options`, and the message if that fails.
fn load_with(options: Options) -> Result<(), String> {
    let fixture = Fixture::new(unary_config(8, Fp32, &[2]), &unary("Neg", Fp32, &[-1, 2]));
    let backend = OnnxRuntime::new(options).map_err(|e| e.with_code())?;
    let file = fixture.file();
    let version_dir = file.parent().unwrap();
    let model_dir = version_dir.parent().unwrap();
    let request =
        LoadRequest { config: &fixture.config, version: 1, model_dir, version_dir, model_file: &file };
    backend.load(&request).map(drop).map_err(|e| e.with_code())
}

#[test]
fn a_library_that_is_missing() {
    in_own_process("a_library_that_is_missing", Some("/nonexistent/libonnxruntime.so"), || {
        let error = load_with(Options::default()).unwrap_err();
        for part in [
            "Unavailable: unable to load ONNX Runtime 1.",
            "ORT_DYLIB_PATH",
            "/nonexistent/libonnxruntime.so",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let chosen = Options { library: Some("/elsewhere/libort.so".into()), ..Default::default() };
        let error = load_with(chosen).unwrap_err();
        assert!(error.contains("/elsewhere/libort.so") && !error.contains("/nonexistent/"), "{error}");
    });
}

#[test]
fn a_library_that_is_not_one() {
    in_own_process("a_library_that_is_not_one", Some("/dev/null"), || {
        let error = load_with(Options::default()).unwrap_err();
        assert!(error.starts_with("Unavailable: ") && error.contains("'/dev/null'"), "{error}");
    });
}

#[test]
fn a_library_that_is_missing_can_come_later() {
    in_own_process("a_library_that_is_missing_can_come_later", None, || {
        let missing =
            Options { library: Some("/nonexistent/libonnxruntime.so".into()), ..Default::default() };
        load_with(missing).unwrap_err();
        let chosen = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
        assert_eq!(load_with(Options { library: chosen, ..Default::default() }), Ok(()));
    });
}

#[test]
fn one_thread_pool_for_all() {
    in_own_process("one_thread_pool_for_all", None, || {
        let settings = [("enable-global-threadpool", "true"), ("intra_op_thread_count", "3")];
        let settings = settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let options = Options { cpu_threads: 9, settings, ..Default::default() };
        let before = thread_count();
        load_with(options).unwrap();
        let threads = thread_count();
        // Two in the intra-op pool and the rest of the quota in the inter-op pool; the library has its own.
        assert!(threads >= before + 2 + 8, "{before} {threads}");
        // More models need no more threads, however many their sessions would like to have.
        let mut config = unary_config(8, Fp32, &[2]);
        config.parameters.insert("intra_op_thread_count".into(), "16".into());
        // This is not even read.
        config.parameters.insert("inter_op_thread_count".into(), "many".into());
        let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2]));
        let _instance = fixture.instance();
        assert_eq!(thread_count(), threads);
    });
}

#[test]
fn a_response_frees_the_session_elsewhere() {
    in_own_process("a_response_frees_the_session_elsewhere", None, || {
        load_with(Options { cpu_threads: 1, ..Default::default() }).unwrap();
        let before = thread_count();
        let mut config = unary_config(8, Fp32, &[-1]);
        config.parameters.insert("intra_op_thread_count".into(), "4".into());
        let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, -1]));
        let request = fixture.request(&[("x", &[1, 5000], &floats(&vec![1.0; 5000]))]);
        let outputs = fixture.run_one(&mut *fixture.instance(), request);
        assert_eq!(thread_count(), before + 3); // the session is still there
        drop(outputs);
        let start = Timestamp::now();
        while thread_count() > before && Timestamp::now().since(start).as_secs() < 10 {
            std::thread::yield_now();
        }
        assert_eq!(thread_count(), before);
    });
}

#[test]
fn threads_of_a_session() {
    in_own_process("threads_of_a_session", None, || {
        load_with(Options { cpu_threads: 1, ..Default::default() }).unwrap();
        let before = thread_count();
        let mut config = unary_config(8, Fp32, &[2]);
        config.parameters.insert("intra_op_thread_count".into(), "4".into());
        let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2]));
        let instance = fixture.cpu_instance();
        assert_eq!(thread_count(), before + 3); // the caller is the fourth
        drop(instance);
        assert_eq!(thread_count(), before);
    });
}

#[test]
fn loads_and_drops_leave_no_memory_behind() {
    in_own_process("loads_and_drops_leave_no_memory_behind", None, || {
        let fixture = Fixture::new(unary_config(8, Fp32, &[-1]), &unary("Neg", Fp32, &[-1, -1]));
        let x = floats(&vec![1.0; 5000]);
        let round = || {
            let mut instance = fixture.instance();
            let request = fixture.request(&[("x", &[1, 5000], &x)]);
            assert_eq!(fixture.run_one(&mut *instance, request)[0].data.len(), 20_000);
        };
        (0..20).for_each(|_| round());
        let before = resident_kib();
        (0..200).for_each(|_| round());
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 2048, "200 loads and drops left {grown} KiB behind");
    });
}

fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
