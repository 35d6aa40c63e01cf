//! CUDA graphs: captured when an instance is made, run for the batches that they serve.

use std::sync::Arc;

use nereid_core::config::{DynamicBatching, GraphShape, GraphSpec, Scheduling, TensorForm};
use nereid_core::{DataType, DeviceSlice, DeviceTensors, ModelConfig};
use nereid_cuda::DeviceBuffer;

use crate::fixture::{
    ADD_SUB, add_sub_config, check_counting, config, counting, encode, input, on_both, output, outputs,
    tensor,
};

fn graphs(mut config: ModelConfig) -> ModelConfig {
    config.optimization.cuda.graphs = true;
    config
}

fn shape(batch_size: u32, inputs: &[(&str, &[i64])]) -> GraphShape {
    let inputs = inputs.iter().map(|(name, dims)| ((*name).into(), dims.to_vec())).collect();
    GraphShape { batch_size, inputs }
}

/// How many graphs there are, and for batches of which rows one runs.
fn check(config: ModelConfig, count: usize, rows: &[(i64, bool)]) {
    on_both(|setup| {
        let served = setup.load(config.clone(), ADD_SUB);
        let mut instance = served.instance();
        assert_eq!(setup.device.live().graphs, count);
        // Twice, in both orders: what ran before leaves nothing behind.
        for (at, (rows, has_graph)) in rows.iter().chain(rows.iter().rev()).enumerate() {
            let before = setup.device.launches();
            let first = at as f32 * 50.0;
            let responses = served.run(&mut *instance, &[counting(&served, *rows, first)]).unwrap();
            check_counting(&responses[0], *rows, first);
            assert_eq!(setup.device.launches() - before, usize::from(*has_graph), "{rows} rows");
        }
    });
}

#[test]
fn the_usual_sizes() {
    check(
        graphs(add_sub_config()),
        6,
        &[(1, true), (2, true), (3, true), (4, true), (5, false), (6, true), (7, false), (8, true)],
    );
    let batching = DynamicBatching { preferred_batch_sizes: vec![4], ..Default::default() };
    let scheduling = Scheduling::DynamicBatching(batching);
    check(
        graphs(ModelConfig { scheduling, ..add_sub_config() }),
        3,
        &[(1, true), (2, false), (4, true), (8, true)],
    );
    check(add_sub_config(), 0, &[(1, false), (8, false)]);
}

#[test]
fn rows_to_spare() {
    let mut config = graphs(add_sub_config());
    config.optimization.cuda.graph_specs = vec![
        GraphSpec {
            shape: shape(8, &[("A", &[4]), ("B", &[4])]),
            lower_bound: Some(shape(5, &[("A", &[4]), ("B", &[4])])),
        },
        GraphSpec { shape: shape(2, &[]), lower_bound: None },
        // An input is not named: logged, and left out.
        GraphSpec { shape: shape(3, &[("A", &[4])]), lower_bound: None },
    ];
    check(config, 2, &[(1, false), (2, true), (4, false), (5, true), (7, true), (8, true)]);
}

#[test]
fn requests_share_a_graph() {
    on_both(|setup| {
        let mut config = graphs(add_sub_config());
        config.optimization.cuda.graph_specs =
            vec![GraphSpec { shape: shape(8, &[]), lower_bound: Some(shape(1, &[])) }];
        let served = setup.load(config, ADD_SUB);
        let mut instance = served.instance();
        let memory = setup.device.live();
        // What a request has on the GPU is copied to where the graph reads it.
        let mut buffer = DeviceBuffer::new(&setup.device.device(), 16).unwrap();
        buffer.write(0, &encode(DataType::Fp32, &[1., 2., 3., 4.])).unwrap();
        let slice = DeviceSlice::new(0, buffer.address(), 16, Arc::new(buffer));
        let on_gpu = served.placed(
            &[("A", &[1, 4], &[]), ("B", &[1, 4], &[1.0; 4])],
            DeviceTensors { inputs: vec![(0, slice)], outputs: Vec::new() },
        );
        let requests = [counting(&served, 2, 5.0), on_gpu, counting(&served, 1, 70.0)];
        let responses = served.run(&mut *instance, &requests).unwrap();
        check_counting(&responses[0], 2, 5.0);
        assert_eq!(outputs(&responses[1])[0], tensor("SUM", &[1, 4], &[2., 3., 4., 5.]));
        check_counting(&responses[2], 1, 70.0);
        assert_eq!(setup.device.launches(), 1);
        drop(requests);
        assert_eq!(setup.device.live().bytes, memory.bytes, "no other memory is needed");
    });
}

#[test]
fn a_graph_for_each_profile() {
    on_both(|setup| {
        let plan = "op identity\nin X 0 -1x-1 1x1 1x4 2x4 1x6 2x8 4x8\nout Y 0 -1x-1";
        let mut config = graphs(config(
            4,
            vec![input("X", DataType::Fp32, &[-1])],
            vec![output("Y", DataType::Fp32, &[-1])],
        ));
        config.instances[0].profiles = vec!["0".into(), "1".into()];
        let served = setup.load(config, plan);
        let mut instance = served.instance();
        // Of 1 and 2 rows for the first, of 1 to 4 for the second.
        assert_eq!(setup.device.live().graphs, 6);
        for (dims, has_graph) in [([2, 4], true), ([2, 3], false), ([4, 8], true), ([3, 7], false)] {
            let before = setup.device.launches();
            let values: Vec<f32> = (0..dims[0] * dims[1]).map(|n| n as f32).collect();
            let responses = served.run(&mut *instance, &[served.request(&[("X", &dims, &values)])]).unwrap();
            assert_eq!(outputs(&responses[0]), [tensor("Y", &dims, &values)]);
            assert_eq!(setup.device.launches() - before, usize::from(has_graph), "{dims:?}");
        }
    });
}

/// What cannot be captured runs without a graph.
#[test]
fn no_graphs() {
    on_both(|setup| {
        let plan = "op nonzero\nin X 0 -1x-1 1x1 4x4 64x64\nout AT 8 2x-1";
        let x = input("X", DataType::Fp32, &[-1, -1]);
        let served =
            setup.load(graphs(config(0, vec![x], vec![output("AT", DataType::Int64, &[2, -1])])), plan);
        let mut instance = served.instance();
        let responses = served.run(&mut *instance, &[served.request(&[("X", &[1, 2], &[0., 1.])])]).unwrap();
        assert_eq!(outputs(&responses[0]), [tensor("AT", &[2, 1], &[0., 1.])]);
        drop(instance);
        let plan = "op fill\nin SHAPE 3 1 location=host shape_io values=1:4:8\nout Y 0 -1";
        let mut shape = input("SHAPE", DataType::Int32, &[1]);
        shape.form = TensorForm::Shape;
        let served =
            setup.load(graphs(config(0, vec![shape], vec![output("Y", DataType::Fp32, &[-1])])), plan);
        let mut instance = served.instance();
        let responses = served.run(&mut *instance, &[served.request(&[("SHAPE", &[1], &[2.])])]).unwrap();
        assert_eq!(outputs(&responses[0]), [tensor("Y", &[2], &[0., 1.])]);
        drop(instance);
        let plan =
            "op fail\nin A 0 -1x4 1x4 4x4 8x4\nin B 0 -1x4 1x4 4x4 8x4\nout SUM 0 -1x4\nout DIFF 0 -1x4";
        let served = setup.load(graphs(add_sub_config()), plan);
        drop(served.instance());
        assert_eq!(setup.device.launches(), 0);
        // Without memory for them, too.
        let served = setup.load(graphs(add_sub_config()), ADD_SUB);
        setup.device.limit_memory(100);
        let mut instance = served.instance();
        setup.device.limit_memory(1 << 20);
        let responses = served.run(&mut *instance, &[counting(&served, 1, 1.0)]).unwrap();
        check_counting(&responses[0], 1, 1.0);
    });
}

#[test]
fn specs_that_make_no_sense() {
    on_both(|setup| {
        let mut config = graphs(add_sub_config());
        config.optimization.cuda.graph_specs = vec![GraphSpec { shape: shape(9, &[]), lower_bound: None }];
        assert_eq!(
            setup.load(config, ADD_SUB).instance_error(),
            "Invalid argument: graph spec expects 'batch_size' to be >= 1 and <= 8"
        );
    });
}
