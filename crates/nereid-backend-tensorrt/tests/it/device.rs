//! Tensors of requests that lie on the GPU: read where they are, written where they are wanted.

use std::sync::Arc;

use nereid_core::{DataType, DeviceSlice, DeviceTensors};
use nereid_cuda::DeviceBuffer;
use nereid_cuda::host::Copies;

use crate::fixture::{
    ADD_SUB, Served, Setup, add_sub_config, check_counting, counting, decode, encode, on_both, outputs,
    tensor,
};

/// `values` on the GPU, `skip` bytes into an allocation.
fn on_gpu(setup: &Setup, values: &[f32], skip: usize) -> DeviceSlice {
    let data = encode(DataType::Fp32, values);
    let mut buffer = DeviceBuffer::new(&setup.device.device(), data.len() + skip).unwrap();
    buffer.write(skip, &data).unwrap();
    DeviceSlice::new(0, buffer.address() + skip as u64, data.len(), Arc::new(buffer))
}

fn place(setup: &Setup, bytes: usize) -> (Arc<DeviceBuffer>, DeviceSlice) {
    let buffer = Arc::new(DeviceBuffer::new(&setup.device.device(), bytes).unwrap());
    let slice = DeviceSlice::new(0, buffer.address(), bytes, buffer.clone());
    (buffer, slice)
}

fn read(buffer: &DeviceBuffer) -> Vec<f32> {
    let mut data = vec![0; buffer.byte_size()];
    buffer.read(0, &mut data).unwrap();
    decode(DataType::Fp32, &data)
}

const ONES: [f32; 4] = [1.0; 4];

fn with_a(served: &Served<'_>, a: DeviceSlice) -> nereid_core::ValidRequest {
    let device = DeviceTensors { inputs: vec![(0, a)], outputs: Vec::new() };
    served.placed(&[("A", &[1, 4], &[]), ("B", &[1, 4], &ONES)], device)
}

#[test]
fn inputs() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        assert_eq!(instance.device_memory(), Some(0));
        let values = [1., 2., 3., 4.];
        let expected =
            [tensor("SUM", &[1, 4], &[2., 3., 4., 5.]), tensor("DIFF", &[1, 4], &[0., 1., 2., 3.])];
        // Alone and aligned it is not copied at all.
        for (skip, on_device) in [(0, 0), (256, 0), (4, 1)] {
            setup.device.take_copies();
            let request = with_a(&served, on_gpu(setup, &values, skip));
            let responses = served.run(&mut *instance, &[request]).unwrap();
            assert_eq!(outputs(&responses[0]), expected);
            assert_eq!(
                setup.device.take_copies(),
                Copies { to_device: 1, to_host: 1, on_device },
                "{skip} bytes into an allocation"
            );
        }
        let requests = [
            with_a(&served, on_gpu(setup, &values, 0)),
            counting(&served, 1, 5.0),
            with_a(&served, on_gpu(setup, &values, 8)),
        ];
        let responses = served.run(&mut *instance, &requests).unwrap();
        assert_eq!((outputs(&responses[0]), outputs(&responses[2])), (expected.to_vec(), expected.to_vec()));
        check_counting(&responses[1], 1, 5.0);
        assert_eq!(setup.device.take_copies().on_device, 2);
    });
}

#[test]
fn outputs_go_where_requests_want_them() {
    on_both(|setup| {
        let served = setup.load(add_sub_config(), ADD_SUB);
        let mut instance = served.instance();
        let request = |first: f32, places: Vec<(&str, DeviceSlice)>| {
            let outputs = places.into_iter().map(|(name, slice)| (name.to_owned(), slice)).collect();
            let device = DeviceTensors { inputs: Vec::new(), outputs };
            let a = [0., 1., 2., 3.].map(|n| first + n);
            served.placed(&[("A", &[1, 4], &a), ("B", &[1, 4], &ONES)], device)
        };
        let sum = |first: f32| tensor("SUM", &[1, 4], &[1., 2., 3., 4.].map(|n| first + n));
        let difference = |first: f32| tensor("DIFF", &[1, 4], &[-1., 0., 1., 2.].map(|n| first + n));
        let empty = |(name, shape, _): (String, Vec<i64>, Vec<f32>)| (name, shape, Vec::new());
        let (own, slice) = place(setup, 16);
        let (large, large_slice) = place(setup, 1024);
        let (small, small_slice) = place(setup, 12);
        setup.device.take_copies();
        let requests = [
            request(10.0, Vec::new()),
            request(20.0, vec![("DIFF", slice)]),
            request(30.0, vec![("DIFF", small_slice), ("SUM", large_slice)]),
        ];
        let responses = served.run(&mut *instance, &requests).unwrap();
        assert_eq!(outputs(&responses[0]), [sum(10.0), difference(10.0)]);
        assert_eq!(outputs(&responses[1]), [sum(20.0), empty(difference(20.0))]);
        assert_eq!(outputs(&responses[2]), [empty(sum(30.0)), difference(30.0)], "no room: it comes as data");
        assert_eq!(read(&own), difference(20.0).2);
        assert_eq!(read(&large)[..4], sum(30.0).2);
        let untouched = f32::from_ne_bytes([0xA5; 4]);
        assert!(read(&small).iter().all(|value| *value == untouched), "and nothing else is written");
        assert_eq!(setup.device.take_copies().on_device, 2);
        // All of it on the GPU: nothing goes to the host.
        let ((at_sum, to_sum), (at_difference, to_difference)) = (place(setup, 16), place(setup, 16));
        let responses = served
            .run(&mut *instance, &[request(5.0, vec![("SUM", to_sum), ("DIFF", to_difference)])])
            .unwrap();
        assert_eq!(outputs(&responses[0]), [empty(sum(5.0)), empty(difference(5.0))]);
        assert_eq!(setup.device.take_copies(), Copies { to_device: 1, to_host: 0, on_device: 2 });
        assert_eq!((read(&at_sum), read(&at_difference)), (sum(5.0).2, difference(5.0).2));
    });
}
