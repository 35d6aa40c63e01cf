//! Plans of one major version where another is preferred.

use nereid_tensorrt::{Libraries, LoadOptions, PlanError};

use crate::fixture::{ADD_SUB, Folder, device, options, plan, quiet};

fn plan_of(version: &str) -> String {
    plan(&format!("version {version}\n{ADD_SUB}"))
}

#[test]
fn each_plan_gets_its_library() {
    let folder = Folder::new();
    folder.add(10, "libnvinfer.so.10", "");
    folder.add(11, "libnvinfer.so.11", "");
    let libraries = Libraries::new(options(folder.path()));
    assert_eq!(libraries.first().unwrap().version().major, 11);
    for (version, major) in [("10.16.1", 10), ("11.4.0", 11), ("10.16.1", 10)] {
        let configured = std::cell::Cell::new(0);
        let configure = |_: &nereid_tensorrt::Runtime| configured.set(configured.get() + 1);
        let engine = libraries.deserialize(plan_of(version).as_bytes(), &device(), &configure).unwrap();
        assert_eq!(engine.runtime().library().version().major, major);
        assert_eq!(configured.get(), if major == 11 { 1 } else { 2 });
    }
}

#[test]
fn a_plan_that_no_library_takes() {
    let folder = Folder::new();
    folder.add(11, "libnvinfer.so.11", "");
    let libraries = Libraries::new(options(folder.path()));
    let error = libraries.deserialize(plan_of("10.16.1").as_bytes(), &device(), &|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("TensorRT 11.4.0.1: deserializeCudaEngine failed: "), "{text}");
    assert!(text.contains("Version tag does not match"), "{text}");
    assert!(
        text.contains("The plan was built by another version of TensorRT than the installed one"),
        "{text}"
    );

    folder.add(10, "libnvinfer.so.10", "");
    let error =
        libraries.deserialize(plan_of("10.3.0").as_bytes(), &device(), &|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("; TensorRT 10.16.1.11: ") && error.contains("got 10.3.0, please rebuild"),
        "{error}"
    );
    assert!(error.contains("than those installed"), "{error}");

    let error = libraries.deserialize(b"\0garbage", &device(), &|_| ()).unwrap_err().to_string();
    assert!(!error.contains("another version") && !error.contains("10.16"), "{error}");
}

#[test]
fn a_library_that_is_installed_later() {
    let folder = Folder::new();
    let libraries = Libraries::new(LoadOptions {
        path: Some(folder.path().to_owned()),
        log: quiet(),
        ..LoadOptions::default()
    });
    let error = libraries.deserialize(plan_of("11.4.0").as_bytes(), &device(), &|_| ()).unwrap_err();
    assert!(matches!(&error, PlanError::Load(error) if error.tried.len() == 4), "{error}");
    folder.add(11, "libnvinfer.so.11", "");
    libraries.deserialize(plan_of("11.4.0").as_bytes(), &device(), &|_| ()).unwrap();
}
