//! Executions that fail: the batch does, with a reason, and what comes after it is served or told why it is not.

use nereid_core::{DataType, InferRequest, ValidRequest};

use crate::fixture::{ADD_SUB, add_sub_config, check_counting, config, counting, input, on_both, output};

#[test]
fn tensorrt_refuses_to_enqueue() {
    on_both(|setup| {
        let plan = "op fail\nin X 0 1\nout Y 0 1";
        let served = setup.load(
            config(0, vec![input("X", DataType::Fp32, &[1])], vec![output("Y", DataType::Fp32, &[1])]),
            plan,
        );
        let mut instance = served.instance();
        for _ in 0..2 {
            assert_eq!(
                served.run_error(&mut *instance, &[served.request(&[("X", &[1], &[1.])])]),
                "Internal: unable to enqueue for inference m_0: enqueueV3 failed: IExecutionContext::enqueueV3: Error Code \
                 1: Cuda Runtime (an illegal memory access was encountered)"
            );
        }
    });
}

#[test]
fn memory_runs_out() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        setup.device.limit_memory(0);
        let error = served.run_error(&mut *instance, &[counting(&served, 8, 1.0)]);
        assert_eq!(
            error,
            "Unavailable: unable to allocate 512 bytes for inputs for m_0: cuMemAlloc_v2 failed with error 2: \
             CUDA_ERROR_OUT_OF_MEMORY, out of memory"
        );
        setup.device.limit_memory(512);
        let error = served.run_error(&mut *instance, &[counting(&served, 8, 1.0)]);
        assert!(
            error.starts_with("Unavailable: unable to allocate 512 bytes for outputs for m_0: "),
            "{error}"
        );
        setup.device.limit_memory(1 << 20);
        let responses = served.run(&mut *instance, &[counting(&served, 8, 1.0)]).unwrap();
        check_counting(&responses[0], 8, 1.0);
    });
}

#[test]
fn a_gpu_that_has_failed_is_not_asked_again() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        served.run(&mut *instance, &[counting(&served, 1, 1.0)]).unwrap();
        setup.device.break_down();
        let expected = "Internal: instance 'm_0' cannot run any more since GPU 0 failed: cuStreamSynchronize failed with \
                        error 700: CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was encountered. Restart the \
                        server";
        for _ in 0..3 {
            setup.device.take_copies();
            assert_eq!(served.run_error(&mut *instance, &[counting(&served, 1, 1.0)]), expected);
        }
        assert_eq!(setup.device.take_copies(), Default::default());
    });
}

/// What a client left out, and the engine needs.
#[test]
fn an_input_is_missing() {
    on_both(|setup| {
        let mut config = add_sub_config();
        config.inputs[1].optional = true;
        let served = setup.load(config, ADD_SUB);
        let mut instance = served.instance();
        let whole = counting(&served, 1, 1.0);
        let input = nereid_core::InputTensor {
            name: "A".into(),
            datatype: DataType::Fp32,
            shape: whole.inputs()[0].shape.clone(),
            data: whole.inputs()[0].data.clone(),
        };
        let request = InferRequest { id: "7".into(), inputs: vec![input], ..Default::default() };
        let request = ValidRequest::new(request, &served.config).unwrap();
        assert_eq!(
            served.run_error(&mut *instance, &[request]),
            "Invalid argument: [request id: 7] unknown request input name B"
        );
        check_counting(&served.run(&mut *instance, &[whole]).unwrap()[0], 1, 1.0);
    });
}
