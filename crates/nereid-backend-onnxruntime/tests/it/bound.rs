//! Tensors that requests have in device memory, as inputs and as places for outputs: what is copied, what is not, and that
//! nothing is left.

use std::sync::Arc;

use nereid_backend_onnxruntime::{Gpus, HostGpus, OnnxRuntime, Options};
use nereid_core::DataType::{self, Fp32, Int64};
use nereid_core::backend::Instance;
use nereid_core::config::{InputConfig, OutputConfig};
use nereid_core::{DeviceSlice, DeviceTensors, InferRequest, InputTensor, Shape, ValidRequest};
use nereid_cuda::host::{Copies, HostDevice, Live};
use nereid_cuda::{Device, DeviceBuffer, PinnedPool};

use crate::compared::gpu;
use crate::fixture::{Fixture, backend_on, config, input, output, parts, unary_config};
use crate::onnx::{Graph, floats, longs, unary};

/// A model, an instance of it, and the GPU that it is on.
struct Bound {
    fixture: Fixture,
    host: Arc<HostDevice>,
    instance: Box<dyn Instance>,
}

impl Bound {
    fn new(fixture: Fixture) -> Self {
        let host = HostDevice::new(0);
        let instance = fixture.load_with(&backend_on(&host)).unwrap().create_instance(&gpu()).unwrap();
        Self { fixture, host, instance }
    }

    /// Of a session that wants its tensors on the CPU.
    fn as_placed(fixture: Fixture) -> Self {
        let host = HostDevice::new(0);
        let gpus = Gpus::InHostMemory(HostGpus { devices: vec![host.device()], as_placed: true });
        let backend = OnnxRuntime::new(Options { gpus, ..Default::default() }).unwrap();
        let instance = fixture.load_with(&backend).unwrap().create_instance(&gpu()).unwrap();
        Self { fixture, host, instance }
    }

    fn slice(&self, content: &[u8]) -> DeviceSlice {
        self.slice_at(0, content)
    }

    fn slice_at(&self, at: usize, content: &[u8]) -> DeviceSlice {
        let mut buffer = DeviceBuffer::new(&self.host.device(), at + content.len()).unwrap();
        buffer.write(at, content).unwrap();
        let address = buffer.address() + at as u64;
        DeviceSlice::new(0, address, content.len(), Arc::new(buffer))
    }

    fn content(&self, slice: &DeviceSlice) -> Vec<u8> {
        let mut data = vec![0; slice.byte_size];
        // SAFETY: nobody else uses the memory.
        #[expect(unsafe_code, reason = "memory is by address")]
        unsafe { self.host.read(&mut data, slice.address) }.unwrap();
        data
    }

    /// A request with these inputs, on the device or not, and places for outputs.
    fn request(
        &self,
        inputs: &[(&str, &[i64], Source<'_>)],
        places: &[(&str, &DeviceSlice)],
    ) -> ValidRequest {
        let mut device = DeviceTensors::default();
        device.outputs.extend(places.iter().map(|(name, place)| (name.to_string(), (*place).clone())));
        let mut tensors = Vec::new();
        for (at, (name, shape, source)) in inputs.iter().enumerate() {
            let config = &self.fixture.config;
            let datatype = config.inputs[config.input_index(name).unwrap()].datatype;
            let data = match source {
                Source::Host(data) => data.to_vec().into(),
                Source::Device(slice) => {
                    device.inputs.push((at, (*slice).clone()));
                    Default::default()
                }
            };
            let shape = Shape::from_slice(shape);
            tensors.push(InputTensor { name: name.to_string(), datatype, shape, data });
        }
        let request = InferRequest { inputs: tensors, device: Some(Box::new(device)), ..Default::default() };
        ValidRequest::new(request, &self.fixture.config).unwrap()
    }

    /// The outputs of each request of one batch, and the copies.
    #[track_caller]
    fn run(&mut self, requests: &[ValidRequest]) -> (Vec<Vec<Output>>, Copies) {
        self.host.take_copies();
        let responses = self.fixture.run(&mut *self.instance, requests).unwrap();
        let outputs = |response: &nereid_core::InferResponse| {
            let outputs = parts(&response.outputs).into_iter();
            outputs.map(|(name, shape, data)| (name.to_owned(), shape.to_vec(), data.to_vec())).collect()
        };
        (responses.iter().map(outputs).collect(), self.host.take_copies())
    }
}

type Output = (String, Vec<i64>, Vec<u8>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Host(&'a [u8]),
    Device(&'a DeviceSlice),
}

use Source::{Device as There, Host as Here};

fn copies(to_device: usize, on_device: usize, to_host: usize) -> Copies {
    Copies { to_device, on_device, to_host }
}

fn y(rows: i64, data: &[u8]) -> Vec<Output> {
    vec![("y".to_owned(), vec![rows, 2], data.to_vec())]
}

fn negation() -> Bound {
    Bound::new(Fixture::new(unary_config(8, Fp32, &[2]), &unary("Neg", Fp32, &[-1, 2])))
}

#[test]
fn nothing_passes_through_the_host_that_is_on_the_device() {
    let mut bound = negation();
    let (input, place) = (bound.slice(&floats(&[1.0, 2.0])), bound.slice(&[0; 8]));
    let there = bound.request(&[("x", &[1, 2], There(&input))], &[("y", &place)]);
    assert_eq!(bound.run(&[there]), (vec![y(1, &[])], copies(0, 0, 0)));
    assert_eq!(bound.content(&place), floats(&[-1.0, -2.0]));

    let in_only = bound.request(&[("x", &[1, 2], There(&input))], &[]);
    assert_eq!(bound.run(&[in_only]), (vec![y(1, &floats(&[-1.0, -2.0]))], copies(0, 0, 1)));
    let out_only = bound.request(&[("x", &[1, 2], Here(&floats(&[3.0, 4.0])))], &[("y", &place)]);
    assert_eq!(bound.run(&[out_only]), (vec![y(1, &[])], copies(1, 0, 0)));
    assert_eq!(bound.content(&place), floats(&[-3.0, -4.0]));
    let neither = bound.request(&[("x", &[1, 2], Here(&floats(&[3.0, 4.0])))], &[]);
    assert_eq!(bound.run(&[neither]), (vec![y(1, &floats(&[-3.0, -4.0]))], copies(1, 0, 1)));
}

#[test]
fn requests_of_a_batch_may_differ_in_where_their_tensors_are() {
    let mut bound = negation();
    let (input, place) = (bound.slice(&floats(&[1.0, 2.0])), bound.slice(&[0; 24]));
    let small = bound.slice(&[0; 7]);
    let requests = [
        bound.request(&[("x", &[1, 2], There(&input))], &[]),
        bound.request(&[("x", &[2, 2], Here(&floats(&[3.0, 4.0, 5.0, 6.0])))], &[("y", &place)]),
        bound.request(&[("x", &[1, 2], Here(&floats(&[7.0, 8.0])))], &[("y", &small)]),
    ];
    for _ in 0..2 {
        let (outputs, made) = bound.run(&requests);
        assert_eq!(made, copies(2, 2, 2));
        // What does not fit its place comes back: the frontend knows the error for it.
        assert_eq!(outputs, [y(1, &floats(&[-1.0, -2.0])), y(2, &[]), y(1, &floats(&[-7.0, -8.0]))]);
        assert_eq!(bound.content(&place)[..16], floats(&[-3.0, -4.0, -5.0, -6.0]));
        assert_eq!((&bound.content(&place)[16..], &bound.content(&small)[..]), (&[0; 8][..], &[0; 7][..]));
    }
}

#[test]
fn what_the_graph_has_on_the_cpu_goes_there() {
    let mut bound =
        Bound::as_placed(Fixture::new(unary_config(8, Fp32, &[2]), &unary("Neg", Fp32, &[-1, 2])));
    let (input, place) = (bound.slice(&floats(&[1.0, 2.0])), bound.slice(&[7; 8]));
    let there = bound.request(&[("x", &[1, 2], There(&input))], &[("y", &place)]);
    let here = bound.request(&[("x", &[1, 2], Here(&floats(&[3.0, 4.0])))], &[("y", &place)]);
    let negative = floats(&[-1.0, -2.0]);
    assert_eq!(bound.run(std::slice::from_ref(&there)), (vec![y(1, &negative)], copies(0, 0, 0)));
    assert_eq!(bound.run(std::slice::from_ref(&here)).1, copies(0, 0, 0));
    let outputs = vec![y(1, &negative), y(1, &floats(&[-3.0, -4.0]))];
    assert_eq!(bound.run(&[there, here]), (outputs, copies(1, 1, 0)));
    assert_eq!(bound.content(&place), [7; 8]); // the frontend writes it
}

#[test]
fn a_place_that_is_an_input_as_well_is_written_after_the_run() {
    let mut bound = negation();
    let both = bound.slice(&floats(&[1.0, 2.0]));
    let request = bound.request(&[("x", &[1, 2], There(&both))], &[("y", &both)]);
    assert_eq!(bound.run(&[request]), (vec![y(1, &[])], copies(0, 1, 0)));
    assert_eq!(bound.content(&both), floats(&[-1.0, -2.0]));
    let crooked = bound.slice_at(4, &floats(&[1.0, 2.0]));
    let request = bound.request(&[("x", &[1, 2], There(&crooked))], &[("y", &crooked)]);
    assert_eq!(bound.run(&[request]), (vec![y(1, &[])], copies(0, 2, 0)));
    assert_eq!(bound.content(&crooked), floats(&[-1.0, -2.0]));
}

#[test]
fn every_datatype_stays_on_the_device() {
    let linear = DataType::ALL.into_iter().filter(|d| !matches!(d, DataType::Bool | DataType::Bytes));
    for datatype in linear {
        for dims in [&[3][..], &[-1]] {
            let shape = [&[-1], dims].concat();
            let fixture = Fixture::new(unary_config(8, datatype, dims), &unary("Identity", datatype, &shape));
            let mut bound = Bound::new(fixture);
            let data: Vec<u8> = (0..6 * datatype.size_bytes().unwrap()).map(|i| (i % 2) as u8).collect();
            let (input, place) = (bound.slice(&data), bound.slice(&vec![9; data.len()]));
            let request = bound.request(&[("x", &[2, 3], There(&input))], &[("y", &place)]);
            let (outputs, made) = bound.run(&[request]);
            assert_eq!(outputs, [[("y".to_owned(), vec![2, 3], vec![])]], "{datatype} {dims:?}");
            // Of unknown size, it is copied from where ONNX Runtime has put it.
            assert_eq!(made, copies(0, usize::from(dims == [-1]), 0), "{datatype} {dims:?}");
            assert_eq!(bound.content(&place), data, "{datatype} {dims:?}");
        }
    }
}

#[test]
fn sizes_that_depend_on_the_data() {
    let model = Graph::new()
        .input("x", Fp32, &[-1])
        .output("y", Int64, &[1, -1])
        .node("NonZero", &["x"], &["y"])
        .build();
    let config = config(0, vec![input("x", Fp32, &[-1])], vec![output("y", Int64, &[1, -1])]);
    let mut bound = Bound::new(Fixture::new(config, &model));
    let place = bound.slice(&[0; 16]);
    for (x, expected, made) in [
        (&[0.0, 1.0, 2.0][..], None, copies(1, 1, 0)),
        (&[1.0, 1.0, 1.0], Some(longs(&[0, 1, 2])), copies(1, 0, 1)), // 24 bytes
    ] {
        let request = bound.request(&[("x", &[3], Here(&floats(x)))], &[("y", &place)]);
        let count = if expected.is_some() { 3 } else { 2 };
        let expected = vec![("y".to_owned(), vec![1, count], expected.unwrap_or_default())];
        assert_eq!(bound.run(&[request]), (vec![expected], made));
        assert_eq!(bound.content(&place), longs(&[1, 2]));
    }
}

#[test]
fn outputs_keep_their_order_wherever_they_go() {
    let model = Graph::new()
        .input("x", Fp32, &[-1, -1])
        .input("z", Fp32, &[-1, 2])
        .input("s", DataType::Bytes, &[-1, 1])
        .output("a", Fp32, &[-1, 2])
        .output("b", DataType::Bytes, &[-1, 1])
        .output("c", Fp32, &[-1, -1])
        .output("d", Fp32, &[-1, 2])
        .node("Neg", &["z"], &["a"])
        .node("Identity", &["s"], &["b"])
        .node("Abs", &["x"], &["c"])
        .node("Abs", &["z"], &["d"])
        .build();
    let outputs = vec![
        output("d", Fp32, &[2]),
        output("c", Fp32, &[-1]),
        output("b", DataType::Bytes, &[1]),
        output("a", Fp32, &[2]),
    ];
    let inputs = vec![input("x", Fp32, &[-1]), input("z", Fp32, &[2]), input("s", DataType::Bytes, &[1])];
    let mut bound = Bound::new(Fixture::new(config(8, inputs, outputs), &model));
    let (text, x) = ([2, 0, 0, 0, b'h', b'i'], floats(&[1.0, -2.0]));
    let place = bound.slice(&[0; 8]);
    let request = |places: &[(&str, &DeviceSlice)]| {
        let inputs = [("s", &[1, 1][..], Here(&text)), ("x", &[1, 2], Here(&x)), ("z", &[1, 2], Here(&x))];
        bound.request(&inputs, places)
    };
    let requests = [request(&[("d", &place)]), request(&[]), request(&[])];
    let (outputs, made) = bound.run(&requests);
    let of = |name: &str, columns: i64, data: &[u8]| (name.to_owned(), vec![1, columns], data.to_vec());
    let (negative, absolute) = (floats(&[-1.0, 2.0]), floats(&[1.0, 2.0]));
    let expected =
        |d: &[u8]| vec![of("a", 2, &negative), of("b", 1, &text), of("c", 2, &absolute), of("d", 2, d)];
    assert_eq!(outputs, [expected(&[]), expected(&absolute), expected(&absolute)]);
    assert_eq!(made, copies(6, 1, 3)); // `c`, which nobody wants on the device, is not there
    assert_eq!(bound.content(&place), absolute);
}

#[test]
fn ragged_and_optional_inputs() {
    let model = Graph::new()
        .input("x", Fp32, &[-1])
        .input("w", Fp32, &[1])
        .initializer("w", Fp32, &[1], &floats(&[10.0]))
        .output("y", Fp32, &[-1])
        .node("Add", &["x", "w"], &["y"])
        .build();
    let x = InputConfig { allow_ragged_batch: true, ..input("x", Fp32, &[-1]) };
    let w = InputConfig { optional: true, ..input("w", Fp32, &[1]) };
    let mut bound = Bound::new(Fixture::new(config(0, vec![x, w], vec![output("y", Fp32, &[-1])]), &model));
    let (input, other) = (bound.slice(&floats(&[1.0, 2.0])), bound.slice(&floats(&[100.0])));
    let run = |bound: &mut Bound, inputs: &[(&str, &[i64], Source<'_>)]| {
        let request = bound.request(inputs, &[]);
        let (mut outputs, made) = bound.run(&[request]);
        (outputs.remove(0).remove(0).2, made)
    };
    let without = run(&mut bound, &[("x", &[2], There(&input))]);
    assert_eq!(without, (floats(&[11.0, 12.0]), copies(0, 0, 0)));
    let with = run(&mut bound, &[("x", &[2], There(&input)), ("w", &[1], There(&other))]);
    assert_eq!(with, (floats(&[101.0, 102.0]), copies(0, 0, 0)));
}

#[test]
fn a_reshaped_output_is_placed_too() {
    let outputs = vec![OutputConfig { reshape: Some(vec![]), ..output("y", Fp32, &[1]) }];
    let config = config(8, vec![InputConfig { reshape: Some(vec![]), ..input("x", Fp32, &[1]) }], outputs);
    let mut bound = Bound::new(Fixture::new(config, &unary("Neg", Fp32, &[-1])));
    let place = bound.slice(&[0; 8]);
    let request = bound.request(&[("x", &[2, 1], Here(&floats(&[1.0, 2.0])))], &[("y", &place)]);
    assert_eq!(bound.run(&[request]).0, [[("y".to_owned(), vec![2, 1], vec![])]]);
    assert_eq!(bound.content(&place), floats(&[-1.0, -2.0]));
}

#[test]
fn a_failed_run_leaves_the_instance_and_the_memory_usable() {
    let model = Graph::new()
        .input("x", Fp32, &[3])
        .input("i", Int64, &[1])
        .output("y", Fp32, &[1])
        .node("Gather", &["x", "i"], &["y"])
        .build();
    let inputs = vec![input("x", Fp32, &[3]), input("i", Int64, &[1])];
    let mut bound = Bound::new(Fixture::new(config(0, inputs, vec![output("y", Fp32, &[1])]), &model));
    let (x, place) = (bound.slice(&floats(&[1.0, 2.0, 3.0])), bound.slice(&[0; 4]));
    for (index, expected) in [(9, false), (2, true), (-9, false), (2, true)] {
        let i = longs(&[index]);
        let request = bound.request(&[("x", &[3], There(&x)), ("i", &[1], Here(&i))], &[("y", &place)]);
        let got = bound.fixture.run(&mut *bound.instance, &[request]);
        assert_eq!(got.is_ok(), expected, "{got:?}");
    }
    assert_eq!(bound.content(&place), floats(&[3.0]));

    bound.host.limit_memory(0);
    let more = bound.request(&[("x", &[3], Here(&floats(&[1.0; 3]))), ("i", &[1], Here(&longs(&[0])))], &[]);
    let got = bound.fixture.run(&mut *bound.instance, &[more]).unwrap_err();
    assert!(got.with_code().starts_with("Unavailable: cuMemAlloc"), "{}", got.with_code());
    bound.host.limit_memory(1 << 30);
    let again = bound.request(&[("x", &[3], There(&x)), ("i", &[1], Here(&longs(&[0])))], &[]);
    assert_eq!(bound.run(&[again]).0[0][0].2, floats(&[1.0]));
}

#[test]
fn memory_is_given_back() {
    let host = HostDevice::new(0);
    let pool = PinnedPool::new(1 << 20);
    let gpus = Gpus::InHostMemory(HostGpus { devices: vec![host.device()], as_placed: false });
    let options = Options { gpus, pinned_pool: Some(pool.clone()), ..Default::default() };
    let backend = OnnxRuntime::new(options).unwrap();
    let mut config = unary_config(8, Fp32, &[2]);
    (config.optimization.pinned_input, config.optimization.pinned_output) = (true, true);
    let fixture = Fixture::new(config, &unary("Neg", Fp32, &[-1, 2]));
    let model = fixture.load_with(&backend).unwrap();
    let mut instances = [(); 2].map(|()| model.create_instance(&gpu()).unwrap());
    assert_eq!(host.live(), Live { streams: 2, ..Live::default() });
    for instance in &mut instances {
        let request = fixture.request(&[("x", &[1, 2], &floats(&[1.0, 2.0]))]);
        let outputs = fixture.run_one(&mut **instance, request);
        assert_eq!(parts(&outputs), [("y", &[1, 2][..], &floats(&[-1.0, -2.0])[..])]);
    }
    assert_eq!(host.live(), Live { streams: 2, allocations: 4, bytes: 32, pinned: 4, ..Live::default() });
    assert_eq!(pool.values().used, 32);
    drop((instances, model));
    assert_eq!((host.live(), pool.values().used), (Live::default(), 0));
}

#[test]
fn a_gpu_that_is_not_there() {
    let fixture = Fixture::new(unary_config(8, Fp32, &[2]), &unary("Neg", Fp32, &[-1, 2]));
    let model = fixture.load_with(&backend_on(&HostDevice::new(3))).unwrap();
    let error = model.create_instance(&gpu()).map(drop).unwrap_err();
    assert_eq!(error.with_code(), "Internal: there is no GPU 0; the CUDA driver shows 1");
}
