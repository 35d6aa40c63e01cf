//! Which instances share an engine, and when it goes.

use crate::fixture::{ADD_SUB, add_sub_config, config, input, on_both, on_both_with, output};
use nereid_core::DataType::Fp32;

#[test]
fn instances_share_an_engine() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let first = served.instance();
        let alone = setup.live_objects();
        let second = served.instance();
        assert_eq!(setup.live_objects(), alone + 1, "a context more");
        drop(first);
        assert_eq!(setup.live_objects(), alone);
        drop(second);
        assert_eq!(setup.live_objects(), 0, "the engine goes with its last instance");
        drop(served.instance());
    });
}

/// A plan that brings an older TensorRT along may have its rules.
#[test]
fn version_compatible_plans_of_varying_shapes_are_not_shared() {
    on_both_with(&[("version-compatible", "true")], |setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let first = served.instance();
        let alone = setup.live_objects();
        let second = served.instance();
        assert_eq!(setup.live_objects(), 2 * alone);
        drop((first, second));
        let plan = "op identity\nin X 0 2\nout Y 0 2";
        let served = setup.load(config(0, vec![input("X", Fp32, &[2])], vec![output("Y", Fp32, &[2])]), plan);
        let first = served.instance();
        let alone = setup.live_objects();
        let second = served.instance();
        assert_eq!(setup.live_objects(), alone + 1);
        drop((first, second));
    });
}

#[test]
fn a_model_may_go_before_its_instances() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        let request = crate::fixture::counting(&served, 1, 1.0);
        let crate::fixture::Served { model, config, .. } = served;
        drop(model);
        let requests = [&request];
        let batch = nereid_core::batch::Batch::new(&config, &requests);
        instance.execute(&batch).unwrap();
    });
}
