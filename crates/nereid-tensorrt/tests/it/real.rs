//! NVIDIA's own libraries, where `TRT_TEST_LIB_DIR` names a folder with them: `libnvinfer_lean.so.10` and `.11`, or the
//! whole TensorRT. Without that variable nothing is tested here.

use std::path::PathBuf;

use nereid_cuda::driver;
use nereid_tensorrt::{Library, LoadOptions, Runtime, Severity};

use crate::fixture::{device, options, recording};

fn libraries() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("TRT_TEST_LIB_DIR").map(PathBuf::from) else { return Vec::new() };
    let names = ["libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer_lean.so.11", "libnvinfer_lean.so.10"];
    let found: Vec<_> = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
    assert!(!found.is_empty(), "{} has none of {names:?}", folder.display());
    found
}

/// Without a driver a clear error instead of a crash; with one a runtime that refuses garbage.
#[test]
fn runtimes() {
    for path in libraries() {
        let (log, lines) = recording();
        let library = Library::load(&LoadOptions { log, ..options(&path) }).unwrap();
        match driver::devices() {
            Err(why) => {
                // The binding does not come that far without a device; a host one shows what would happen.
                let error = Runtime::new(&library, &device()).unwrap_err().to_string();
                println!("{} {}: {why}; {error}", library.flavor().name(), library.version());
                assert!(error.contains("CUDA initialization failure"), "{error}");
            }
            Ok(devices) => {
                let runtime = Runtime::new(&library, &devices[0]).unwrap();
                runtime.set_max_threads(3).unwrap();
                assert_eq!(runtime.max_threads(), 3);
                runtime.set_host_code_allowed(true);
                assert!(runtime.host_code_allowed());
                let error = runtime.deserialize(b"\0garbage\0garbage").unwrap_err();
                println!("{} {}: {error}", library.flavor().name(), library.version());
                assert!(!error.log.is_empty(), "{error}");
            }
        }
        assert!(
            lines.lock().iter().any(|(severity, _)| *severity <= Severity::Error),
            "our logger was called"
        );
    }
}
