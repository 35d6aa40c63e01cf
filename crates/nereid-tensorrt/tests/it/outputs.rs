//! Outputs whose size depends on data.

use std::sync::Arc;

use nereid_cuda::{Device, DeviceBuffer, RawStream};
use nereid_tensorrt::{AllocationStrategy, ExecutionContext, OutputAllocator, Runtime};
use parking_lot::Mutex;

use crate::fixture::{Folder, MAJORS, bind, buffer, choose, context, device, enqueue, load, plan, values};

const NONZERO: &str = "op nonzero\nin X 0 -1x2 1x2 2x2 4x2\nout Y 8 2x-1";

/// Grows a buffer, and refuses above a limit.
#[derive(Debug)]
struct Growing {
    device: Arc<dyn Device>,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffer: Option<DeviceBuffer>,
    shape: Option<Vec<i64>>,
    asked: Vec<u64>,
}

impl OutputAllocator for Growing {
    fn reallocate(
        &self,
        tensor: &str,
        current: u64,
        bytes: u64,
        alignment: u64,
        stream: RawStream,
    ) -> Option<u64> {
        assert_eq!((tensor, current, alignment, stream), ("Y", 0, 256, RawStream(0)));
        let mut state = self.state.lock();
        state.asked.push(bytes);
        if bytes > self.limit {
            return None;
        }
        let enough = state.buffer.as_ref().is_some_and(|buffer| buffer.byte_size() as u64 >= bytes);
        if !enough {
            state.buffer = Some(DeviceBuffer::new(&self.device, bytes as usize).expect("there is memory"));
        }
        state.buffer.as_ref().map(DeviceBuffer::address)
    }

    fn notify_shape(&self, tensor: &str, shape: &[i64]) {
        assert_eq!(tensor, "Y");
        self.state.lock().shape = Some(shape.to_vec());
    }
}

#[derive(Debug)]
struct Panicking;

impl OutputAllocator for Panicking {
    fn reallocate(&self, _: &str, _: u64, _: u64, _: u64, _: RawStream) -> Option<u64> {
        panic!("an allocator of this test");
    }

    fn notify_shape(&self, _: &str, _: &[i64]) {
        panic!("an allocator of this test");
    }
}

fn run(context: &mut ExecutionContext, device: &Arc<dyn Device>, input: &[f32]) -> Result<(), String> {
    let input_buffer = buffer(device, input);
    context.set_input_shape(0, &[input.len() as i64 / 2, 2]).expect("the profile allows it");
    bind(context, 0, input_buffer.address());
    enqueue(context)
}

#[test]
fn memory_grows_and_may_be_nothing() {
    for major in MAJORS {
        let device = device();
        let mut context = context(major, NONZERO);
        choose(&mut context, 0);
        let state = Mutex::default();
        let allocator = Arc::new(Growing { device: Arc::clone(&device), limit: u64::MAX, state });
        context.set_output_allocator(1, Some(allocator.clone())).unwrap();
        assert_eq!(context.tensor_shape(1).unwrap(), [2, -1]);
        for (input, count, expected) in [
            (&[0_f32, 0.][..], 0, &[][..]),
            (&[0., 1.], 1, &[0, 1]),
            (&[1., 0., 0., 2.], 2, &[0, 1, 0, 1]),
            (&[3., 0.], 1, &[0, 0]),
        ] {
            run(&mut context, &device, input).unwrap();
            let state = allocator.state.lock();
            assert_eq!(state.shape, Some(vec![2, count]));
            let address = state.buffer.as_ref().unwrap().address();
            assert_eq!(values::<i64>(&device, address, expected.len()), expected);
        }
        assert_eq!(allocator.state.lock().asked, [1, 16, 32, 16], "even nothing needs an address");
    }
}

/// TensorRT-RTX has left a method out of the allocator, so that the others lie elsewhere.
#[test]
fn the_allocator_of_tensorrt_rtx() {
    let folder = Folder::new();
    let library = load(&folder.add(11, "libtensorrt_rtx.so.1", "version 1.7.0.1"));
    let device = device();
    let engine = Runtime::new(&library, &device).unwrap().deserialize(plan(NONZERO).as_bytes()).unwrap();
    let mut context = engine.create_context(AllocationStrategy::Static).unwrap();
    let state = Mutex::default();
    let allocator = Arc::new(Growing { device: Arc::clone(&device), limit: u64::MAX, state });
    context.set_output_allocator(1, Some(allocator.clone())).unwrap();
    run(&mut context, &device, &[1., 0., 0., 2.]).unwrap();
    assert_eq!(allocator.state.lock().shape, Some(vec![2, 2]));
}

#[test]
fn an_allocator_that_has_nothing() {
    for major in MAJORS {
        let device = device();
        let mut context = context(major, NONZERO);
        let state = Mutex::default();
        let allocator = Arc::new(Growing { device: Arc::clone(&device), limit: 16, state });
        context.set_output_allocator(1, Some(allocator)).unwrap();
        run(&mut context, &device, &[0., 1.]).unwrap();
        let error = run(&mut context, &device, &[1., 1.]).unwrap_err();
        assert!(error.contains("IOutputAllocator returned nullptr for Y and 32 bytes"), "{error}");
        run(&mut context, &device, &[0., 1.]).unwrap();
    }
}

#[test]
fn an_allocator_that_panics() {
    for major in MAJORS {
        let device = device();
        let mut context = context(major, NONZERO);
        context.set_output_allocator(1, Some(Arc::new(Panicking))).unwrap();
        assert!(run(&mut context, &device, &[0., 1.]).is_err());
    }
}

/// The one before goes with the next one, or with none, and TensorRT does not call it any more.
#[test]
fn allocators_are_replaced() {
    for major in MAJORS {
        let device = device();
        let mut context = context(major, NONZERO);
        let first: Arc<dyn OutputAllocator> = Arc::new(Panicking);
        context.set_output_allocator(1, Some(Arc::clone(&first))).unwrap();
        let state = Mutex::default();
        let second = Arc::new(Growing { device: Arc::clone(&device), limit: u64::MAX, state });
        context.set_output_allocator(1, Some(second.clone())).unwrap();
        assert_eq!(Arc::strong_count(&first), 1);
        run(&mut context, &device, &[0., 1.]).unwrap();
        context.set_output_allocator(1, None).unwrap();
        assert_eq!(Arc::strong_count(&second), 1);
        let output = buffer(&device, &[0_i64; 4]);
        bind(&mut context, 1, output.address());
        assert_eq!(context.max_output_size(1).unwrap(), Some(32));
        run(&mut context, &device, &[1., 1.]).unwrap();
        assert_eq!(values::<i64>(&device, output.address(), 4), [0, 0, 0, 1]);
        let error = context.set_output_allocator(0, Some(Arc::new(Panicking))).unwrap_err();
        assert!(error.to_string().contains("X is no output"), "{error}");
    }
}
