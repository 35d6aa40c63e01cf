//! What cannot be loaded: each with a reason that says what to do, and with nothing left behind.

use nereid_core::ModelConfig;
use nereid_core::config::{InstanceKind, InstanceSpec};

use crate::fixture::{ADD_SUB, Setup, add_sub_config, gpu, on_both};

fn plan(text: &str) -> Vec<u8> {
    format!("FAKEPLAN\n{text}\nend\n").into_bytes()
}

/// The message of a load of `content` has all `expected` parts.
#[track_caller]
fn check(setup: &Setup, config: ModelConfig, content: &[u8], expected: &[&str]) {
    let error = match setup.load_file(config, content) {
        Ok(served) => served.instance_error(),
        Err(error) => error.with_code(),
    };
    for part in expected {
        assert!(error.contains(part), "{error}\nlacks {part}");
    }
    assert_eq!(setup.live_objects(), 0, "{error}");
}

#[test]
fn files_that_are_no_plans_of_this_library() {
    on_both(|setup| {
        let engine = "Internal: unable to create TensorRT engine: ";
        let whole = plan(ADD_SUB);
        let cut = &whole[..whole.len() - 10];
        let another = "must be the complete plan of an engine that TensorRT ";
        for (content, expected) in [
            (&b""[..], &[engine, "the plan is empty"][..]),
            (b"\x08\x07\x12\x07pytorch", &[engine, "an ONNX model, not a TensorRT plan", "nereid trt-build"]),
            (b"garbage\0\xff", &[engine, "Magic tag does not match", another]),
            (cut, &[engine, "Size specified in header does not match archive size", another]),
            (&plan(&format!("version 8.6.1\n{ADD_SUB}")), &[engine, "Version tag does not match", another]),
            (&plan("op oom\nin X 0 1\nout Y 0 1"), &[engine, "too little memory left", "Unload models"]),
        ] {
            check(setup, add_sub_config(), content, expected);
        }
    });
}

#[test]
fn contexts_need_memory_too() {
    on_both(|setup| {
        let content = plan(&ADD_SUB.replace("op add_sub", "op oom_context"));
        check(setup, add_sub_config(), &content, &["Internal: unable to create TensorRT context: "]);
    });
}

#[test]
fn a_config_that_does_not_fit() {
    on_both(|setup| {
        let mut wide = add_sub_config();
        wide.inputs[0].dims = vec![5];
        check(setup, wide, &plan(ADD_SUB), &["Invalid argument: ", "'A'"]);
    });
}

#[test]
fn places_that_are_not_there() {
    on_both(|setup| {
        let on = |spec: InstanceSpec| ModelConfig { instances: vec![spec], ..add_sub_config() };
        let another = InstanceSpec { kind: InstanceKind::Gpu { device: 3 }, ..gpu() };
        check(setup, on(another), &plan(ADD_SUB), &["Internal: unable to set CUDA device to GPU 3"]);
        let cpu = InstanceSpec { kind: InstanceKind::Cpu, ..gpu() };
        check(
            setup,
            on(cpu),
            &plan(ADD_SUB),
            &["Invalid argument: unable to load model 'm', TensorRT backend supports only GPU device"],
        );
        let dla = InstanceSpec { dla_core: Some(7), ..gpu() };
        check(
            setup,
            on(dla),
            &plan(ADD_SUB),
            &[
                "Invalid argument: unable to create TensorRT runtime with DLA Core ID: 7, available number of DLA cores: ",
            ],
        );
        let served = setup.load(add_sub_config(), ADD_SUB);
        std::fs::remove_file(setup.file()).unwrap();
        let error = served.instance_error();
        assert_eq!(
            error,
            "Unavailable: unable to find '{dir}/m/1/model.plan' for model instance 'm_0'",
            "{}",
            setup.dir().display()
        );
    });
}

/// Plans by compute capability: the GPU has 9.0.
#[test]
fn plans_by_compute_capability() {
    on_both(|setup| {
        let mut config = add_sub_config();
        config.cc_model_filenames = [("9.0".into(), "model_sm90.plan".into())].into();
        let served = setup.load_file(config, b"of another GPU").unwrap();
        let file = setup.file().with_file_name("model_sm90.plan");
        std::fs::write(file, plan(ADD_SUB)).unwrap();
        drop(served.instance());
    });
}

#[test]
fn a_hundred_loads_leave_nothing() {
    on_both(|setup| {
        for _ in 0..100 {
            let served = setup.load(add_sub_config(), ADD_SUB);
            let instances = [served.instance(), served.instance()];
            drop(served);
            drop(instances);
        }
    });
}
