//! Batches of rows: what goes in comes out, to whom it belongs, in as few copies as can be.

use nereid_core::DataType::{Fp32, Int32};
use nereid_core::config::{InputConfig, OutputConfig, StreamPriority};
use nereid_core::{InferRequest, InputTensor, ModelConfig, Shape, ValidRequest};
use nereid_cuda::host::Copies;

use crate::fixture::{
    ADD_SUB, add_sub_config, check_counting, config, counting, input, on_both, output, outputs, tensor,
};

fn check(config: &ModelConfig, batches: &[&[i64]], copies: Copies) {
    on_both(|setup| {
        let served = setup.load(config.clone(), ADD_SUB);
        let mut instance = served.instance();
        for rows in batches {
            let first = |at: usize| 100.0 * at as f32;
            let requests: Vec<_> =
                rows.iter().enumerate().map(|(at, rows)| counting(&served, *rows, first(at))).collect();
            setup.device.take_copies();
            let responses = served.run(&mut *instance, &requests).unwrap();
            assert_eq!(responses.len(), rows.len());
            for (at, (response, rows)) in responses.iter().zip(*rows).enumerate() {
                check_counting(response, *rows, first(at));
            }
            if requests.len() > 1 {
                assert_eq!(setup.device.take_copies(), copies, "{rows:?}");
            }
        }
    });
}

#[test]
fn requests_share_a_batch() {
    let batches: &[&[i64]] = &[&[1], &[3], &[1, 1], &[2, 3, 1], &[8], &[1; 8], &[4, 4]];
    let one_each_way = Copies { to_device: 1, to_host: 1, ..Default::default() };
    check(&add_sub_config(), batches, one_each_way);
    let mut streams = add_sub_config();
    streams.optimization.cuda.output_copy_stream = true;
    streams.optimization.cuda.busy_wait_events = true;
    streams.optimization.priority = StreamPriority::Highest;
    check(&streams, batches, one_each_way);
}

#[test]
fn without_page_locked_memory_data_goes_straight() {
    let mut straight = add_sub_config();
    straight.optimization.pinned_input = false;
    straight.optimization.pinned_output = false;
    // Two tensors of two requests, and both outputs together.
    check(&straight, &[&[1, 1], &[2, 3]], Copies { to_device: 4, to_host: 1, ..Default::default() });
}

/// The pieces in which large inputs are staged.
#[test]
fn large_inputs() {
    const LENGTH: i64 = 700_000;
    on_both(|setup| {
        let plan =
            format!("op identity\nin X 3 -1x{LENGTH} 1x{LENGTH} 1x{LENGTH} 3x{LENGTH}\nout Y 3 -1x{LENGTH}");
        let served = setup
            .load(config(3, vec![input("X", Int32, &[LENGTH])], vec![output("Y", Int32, &[LENGTH])]), &plan);
        let mut instance = served.instance();
        let request = |first: i64| {
            let values: Vec<f32> = (first..first + LENGTH).map(|n| n as f32).collect();
            served.request(&[("X", &[1, LENGTH], &values)])
        };
        let responses = served.run(&mut *instance, &[request(1), request(5), request(9)]).unwrap();
        for (response, first) in responses.iter().zip([1, 5, 9]) {
            let values: Vec<f32> = (first..first + LENGTH).map(|n| n as f32).collect();
            assert_eq!(outputs(response), [tensor("Y", &[1, LENGTH], &values)]);
        }
        // 8.4 MB in pieces of 1 MiB; what is left of a request goes with the first piece of the next.
        assert_eq!(setup.device.take_copies().to_device, 7);
    });
}

#[test]
fn outputs_that_nobody_wants_stay_where_they_are() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        let request = |wanted: &str| {
            let input = |name: &str| InputTensor {
                name: name.into(),
                datatype: Fp32,
                shape: Shape::from_slice(&[1, 4]),
                data: vec![0; 16].into(),
            };
            let (inputs, outputs) = (vec![input("A"), input("B")], vec![wanted.to_owned()]);
            let request = InferRequest { inputs, outputs, ..Default::default() };
            ValidRequest::new(request, &served.config).unwrap()
        };
        let names = |response: &nereid_core::InferResponse| -> Vec<String> {
            response.outputs.iter().map(|output| output.name.to_string()).collect()
        };
        let responses = served.run(&mut *instance, &[request("DIFF")]).unwrap();
        assert_eq!(names(&responses[0]), ["DIFF"]);
        let responses = served.run(&mut *instance, &[request("DIFF"), request("SUM")]).unwrap();
        assert_eq!((names(&responses[0]), names(&responses[1])), (vec!["DIFF".into()], vec!["SUM".into()]));
    });
}

#[test]
fn a_model_that_does_not_batch() {
    on_both(|setup| {
        let plan = "op identity\nin X 0 2x3\nout Y 0 2x3";
        let served =
            setup.load(config(0, vec![input("X", Fp32, &[2, 3])], vec![output("Y", Fp32, &[2, 3])]), plan);
        let mut instance = served.instance();
        let values = [1., 2., 3., 4., 5., 6.];
        let responses = served.run(&mut *instance, &[served.request(&[("X", &[2, 3], &values)])]).unwrap();
        assert_eq!(outputs(&responses[0]), [tensor("Y", &[2, 3], &values)]);
    });
}

#[test]
fn reshapes() {
    on_both(|setup| {
        let plan = "op identity\nin X 0 -1x2x3 1x2x3 2x2x3 4x2x3\nout Y 0 -1x2x3";
        let x = InputConfig { reshape: Some(vec![2, 3]), ..input("X", Fp32, &[6]) };
        let y = OutputConfig { reshape: Some(vec![2, 3]), ..output("Y", Fp32, &[3, 2]) };
        let served = setup.load(config(4, vec![x], vec![y]), plan);
        let mut instance = served.instance();
        let values = [1., 2., 3., 4., 5., 6.];
        let request = || served.request(&[("X", &[1, 6], &values)]);
        for response in served.run(&mut *instance, &[request(), request()]).unwrap() {
            assert_eq!(outputs(&response), [tensor("Y", &[1, 3, 2], &values)]);
        }
    });
}

/// Memory grows with the batches and stays.
#[test]
fn memory_is_kept() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        let mut run = |rows| served.run(&mut *instance, &[counting(&served, rows, 0.0)]).unwrap();
        assert_eq!(setup.device.live().bytes, 0);
        run(8);
        let live = setup.device.live();
        assert!(live.bytes >= 4 * 8 * 16, "{live:?}");
        for rows in [1, 8, 3] {
            run(rows);
            assert_eq!(setup.device.live(), live);
        }
    });
}
