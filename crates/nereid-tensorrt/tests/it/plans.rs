//! Files that are no plan, or a plan that cannot be used: each an error that says so.

use nereid_tensorrt::AllocationStrategy;

use crate::fixture::{ADD_SUB, MAJORS, plan, runtime};

fn check(content: &[u8], expected: &[&str]) {
    for major in MAJORS {
        let error = runtime(major).deserialize(content).expect_err("it is no plan").to_string();
        for expected in expected {
            assert!(error.contains(expected), "{major}: '{error}' does not say '{expected}'");
        }
        assert!(error.starts_with("deserializeCudaEngine failed: ") || error.starts_with("get"), "{error}");
    }
}

#[test]
fn other_files() {
    check(b"", &["the plan is empty"]);
    check(b"\x08\x07\x12\x07pytorch\x3a\x00", &["the plan is an ONNX model", "nereid trt-build"]);
    check(b"PK\x03\x04archive/data.pkl", &["a zip archive"]);
    check(b"\x00\x01\x02\x03garbage", &["Magic tag does not match"]);
    check(
        b"name: \"model\"\nplatform: \"tensorrt_plan\"\n",
        &["the plan is text", "Magic tag does not match"],
    );
    check(b"version https://git-lfs.github.com/spec/v1\n", &["Git LFS"]);
}

#[test]
fn truncated() {
    let whole = plan(ADD_SUB);
    check(&whole.as_bytes()[..whole.len() / 2], &["Size specified in header does not match archive size"]);
}

#[test]
fn of_another_version() {
    check(plan(&format!("version 10.3.0\n{ADD_SUB}")).as_bytes(), &["ersion"]);
    let error = runtime(10).deserialize(plan(&format!("version 10.3.0\n{ADD_SUB}")).as_bytes()).unwrap_err();
    assert!(error.is_version_mismatch(), "{error}");
    assert!(
        error.to_string().contains("expecting library version 10.16.1.11 got 10.3.0, please rebuild"),
        "{error}"
    );
}

#[test]
fn no_memory() {
    for major in MAJORS {
        let error = runtime(major).deserialize(plan("op oom\nin X 0 1\nout Y 0 1").as_bytes()).unwrap_err();
        assert!(error.out_of_memory && error.to_string().contains("OutOfMemory"), "{error}");
        let engine =
            runtime(major).deserialize(plan("op oom_context\nin X 0 1\nout Y 0 1").as_bytes()).unwrap();
        let error = engine.create_context(AllocationStrategy::Static).unwrap_err();
        assert!(error.out_of_memory && error.call == "createExecutionContext", "{error}");
        let error = runtime(major).deserialize(b"\0garbage").unwrap_err();
        assert!(!error.out_of_memory, "{error}");
    }
}

/// Numbers that no honest library gives.
#[test]
fn lies() {
    let tensors = "in X 0 2\nout Y 0 2";
    for (lines, expected) in [
        ("tensors 2000000000", "the plan has 2000000000 inputs and outputs; between 1 and 4096 are possible"),
        ("tensors -1", "the plan has -1 inputs and outputs"),
        ("tensors 0", "the plan has 0 inputs and outputs"),
        ("tensors 3", "tensor 2 of 3 has no name"),
        ("profiles 0", "the plan has 0 profiles; between 1 and 1024 are possible"),
        ("profiles 2000000000", "the plan has 2000000000 profiles"),
        ("in Z 0 2 mode=0", "tensor 'Z' has mode number 0, which this server does not know"),
        ("in Z 12 2", "tensor 'Z' has datatype number 12, which this server does not know"),
        ("in Z -1 2", "tensor 'Z' has datatype number -1"),
        ("in Z 0 2 format=13", "tensor 'Z' has format number 13, which this server does not know"),
        ("in Z 0 2 rank=9", "tensor 'Z' has 9 dimensions; up to 8 are possible"),
        ("in Z 0 2 rank=-1", "tensor 'Z' has -1 dimensions"),
        ("in Z 0 -1", "profile 0 says nothing about input 'Z'"),
        (
            "in Z 3 100000x100000 location=host shape_io",
            "shape tensor 'Z' has shape [100000, 100000]; up to 4096 values are possible",
        ),
    ] {
        check(plan(&format!("op identity\n{tensors}\n{lines}")).as_bytes(), &[expected]);
    }
}
