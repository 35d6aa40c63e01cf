//! Outputs whose size depends on data: TensorRT asks for memory while it runs.

use nereid_core::DataType::{Fp32, Int64};
use nereid_core::ModelConfig;

use crate::fixture::{config, input, on_both, output, outputs, tensor};

const PLAN: &str = "op nonzero\nin X 0 -1x-1 1x1 4x4 64x64\nout AT 8 2x-1";

fn nonzero() -> ModelConfig {
    config(0, vec![input("X", Fp32, &[-1, -1])], vec![output("AT", Int64, &[2, -1])])
}

#[test]
fn sizes_that_the_execution_tells() {
    on_both(|setup| {
        let served = setup.load(nonzero(), PLAN);
        let mut instance = served.instance();
        let mut run = |shape: [i64; 2], values: &[f32]| {
            let responses = served.run(&mut *instance, &[served.request(&[("X", &shape, values)])]).unwrap();
            outputs(&responses[0])
        };
        assert_eq!(run([2, 2], &[0., 1., 1., 0.]), [tensor("AT", &[2, 2], &[0., 1., 1., 0.])]);
        assert_eq!(run([1, 3], &[0.; 3]), [tensor("AT", &[2, 0], &[])], "nothing is an output, too");
        let all = run([32, 32], &[1.; 1024]);
        assert_eq!((&all[0].1[..], all[0].2[1023], all[0].2[2047]), (&[2, 1024][..], 31., 31.));
        let live = setup.device.live();
        assert_eq!(run([1, 2], &[0., 5.]), [tensor("AT", &[2, 1], &[0., 1.])]);
        assert_eq!(setup.device.live(), live, "what has grown stays");
    });
}

#[test]
fn too_little_memory_fails_the_batch_only() {
    on_both(|setup| {
        let served = setup.load(nonzero(), PLAN);
        let mut instance = served.instance();
        let request = |values: &[f32]| served.request(&[("X", &[1, values.len() as i64], values)]);
        assert!(served.run(&mut *instance, &[request(&[1., 0.])]).is_ok());
        setup.device.limit_memory(setup.device.live().bytes);
        let error = served.run_error(&mut *instance, &[request(&[1.; 60])]);
        assert!(
            error.starts_with("Internal: unable to enqueue for inference m_0: enqueueV3 failed: "),
            "{error}"
        );
        assert!(error.contains("IOutputAllocator returned nullptr for AT and 960 bytes"), "{error}");
        assert!(error.contains("CUDA_ERROR_OUT_OF_MEMORY"), "{error}");
        setup.device.limit_memory(1 << 20);
        assert!(served.run(&mut *instance, &[request(&[1.; 60])]).is_ok());
    });
}
