//! Runtimes, and libraries that give none.

use nereid_tensorrt::Runtime;

use crate::fixture::{Folder, MAJORS, device, load, runtime};

/// What the lean runtimes of TensorRT do without a driver: they return an address that is none.
#[test]
fn no_runtime() {
    for major in MAJORS {
        for behaviour in ["runtime null", "runtime 0x228"] {
            let folder = Folder::new();
            let library = load(&folder.add(major, "libnvinfer_lean.so", behaviour));
            let error = Runtime::new(&library, &device()).unwrap_err();
            assert_eq!(error.call, "createInferRuntime");
            assert!(error.to_string().contains("CUDA initialization failure with error: 35"), "{error}");
        }
    }
}

#[test]
fn settings() {
    for major in MAJORS {
        let runtime = runtime(major);
        assert!(!runtime.host_code_allowed());
        runtime.set_host_code_allowed(true);
        assert!(runtime.host_code_allowed());
        assert_eq!(runtime.dla_cores(), 2);
        runtime.set_dla_core(1);
        runtime.set_max_threads(7).unwrap();
        assert_eq!(runtime.max_threads(), 7);
        let error = runtime.set_max_threads(0).unwrap_err();
        assert!(error.to_string().contains("condition: maxThreads > 0"), "{error}");
        assert_eq!(runtime.max_threads(), 7);
    }
}
