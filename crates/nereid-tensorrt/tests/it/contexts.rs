//! Shapes, addresses, execution.

#![allow(unsafe_code, reason = "contexts take addresses")]

use nereid_cuda::{Stream, StreamPriority};
use nereid_tensorrt::AllocationStrategy;

use crate::fixture::{ADD_SUB, MAJORS, bind, buffer, choose, context, device, engine, enqueue, values};

#[test]
fn add_and_subtract() {
    for major in MAJORS {
        let device = device();
        let mut context = context(major, ADD_SUB);
        let left = buffer(&device, &[1_f32, 2., 3., 4., 5., 6., 7., 8.]);
        let right = buffer(&device, &[10_f32; 8]);
        let [sum, difference] = [buffer(&device, &[0_f32; 8]), buffer(&device, &[0_f32; 8])];
        choose(&mut context, 0);
        assert_eq!(context.missing_inputs().unwrap(), ["INPUT0", "INPUT1"]);
        for tensor in 0..2 {
            context.set_input_shape(tensor, &[2, 4]).unwrap();
        }
        assert_eq!(context.missing_inputs().unwrap(), Vec::<String>::new());
        assert_eq!(context.tensor_shape(2).unwrap(), [2, 4]);
        assert_eq!(context.max_output_size(2).unwrap(), Some(32));
        for (tensor, memory) in [&left, &right, &sum, &difference].into_iter().enumerate() {
            bind(&mut context, tensor, memory.address());
        }
        enqueue(&mut context).unwrap();
        assert_eq!(values::<f32>(&device, sum.address(), 8), [11., 12., 13., 14., 15., 16., 17., 18.]);
        assert_eq!(values::<f32>(&device, difference.address(), 2), [-9., -8.]);
    }
}

#[test]
fn shapes_that_the_profile_does_not_allow() {
    for major in MAJORS {
        let mut context = context(major, ADD_SUB);
        for (shape, expected) in [
            (&[0, 4][..], "Valid range for profile 0: [1,4]..[8,4]"),
            (&[9, 4], "Set dimension [9,4] for tensor INPUT0 does not satisfy any optimization profiles"),
            (&[2, 5], "Static dimension mismatch while setting input shape for INPUT0"),
            (&[2], "engineDims.nbDims == dims.nbDims"),
            (&[2, 4, 1], "engineDims.nbDims == dims.nbDims"),
            (&[], "engineDims.nbDims == dims.nbDims"),
            (&[1; 9], "has more than 8 dimensions"),
        ] {
            let error = context.set_input_shape(0, shape).unwrap_err().to_string();
            assert!(
                error.starts_with("setInputShape failed: ") && error.contains(expected),
                "{shape:?}: {error}"
            );
        }
        context.set_input_shape(0, &[8, 4]).unwrap();
    }
}

#[test]
fn what_is_not_there() {
    for major in MAJORS {
        let mut context = context(major, ADD_SUB);
        let error = context.set_input_shape(4, &[1]).unwrap_err().to_string();
        assert!(error.contains("there is no tensor 4: the plan has 4"), "{error}");
        let error = context.set_input_shape(2, &[1, 4]).unwrap_err().to_string();
        assert!(error.contains("Given invalid tensor name: OUTPUT0"), "{error}");
        // SAFETY: nothing is enqueued.
        let error = unsafe { context.set_profile(1, crate::fixture::STREAM) }.unwrap_err().to_string();
        assert!(error.contains("there is no profile 1: the plan has 1"), "{error}");
        // SAFETY: nothing is enqueued.
        let error = unsafe { context.set_tensor_address(0, 0x1001) }.unwrap_err().to_string();
        assert!(error.contains("not aligned to 256"), "{error}");
    }
}

#[test]
fn enqueueing_too_early() {
    for major in MAJORS {
        let memory = buffer(&device(), &[0_f32; 4]);
        let mut context = context(major, ADD_SUB);
        let check = |context: &mut nereid_tensorrt::ExecutionContext, expected: &str| {
            let error = enqueue(context).unwrap_err();
            assert!(error.starts_with("enqueueV3 failed: ") && error.contains(expected), "{error}");
        };
        check(&mut context, "Not all dimensions are specified for input tensor INPUT0");
        context.set_input_shape(0, &[1, 4]).unwrap();
        context.set_input_shape(1, &[1, 4]).unwrap();
        check(&mut context, "Address is not set for input tensor INPUT0");
        for tensor in 0..3 {
            bind(&mut context, tensor, memory.address());
        }
        check(&mut context, "Neither address or allocator is set for output tensor OUTPUT1");
        bind(&mut context, 3, buffer(&device(), &[0_f32; 4]).address());
    }
}

#[test]
fn several_profiles() {
    for major in MAJORS {
        let mut context = context(major, "op identity\nin X 0 -1 1 2 4 5 6 8\nout Y 0 -1");
        let device = device();
        let [from, to] = [buffer(&device, &[3_f32; 8]), buffer(&device, &[0_f32; 8])];
        bind(&mut context, 0, from.address());
        bind(&mut context, 1, to.address());
        context.set_input_shape(0, &[4]).unwrap();
        let error = enqueue(&mut context).unwrap_err();
        assert!(error.contains("no optimization profile was chosen"), "{error}");
        choose(&mut context, 1);
        assert_eq!(context.missing_inputs().unwrap(), ["X"], "a new profile forgets the shapes");
        assert!(context.set_input_shape(0, &[4]).is_err());
        assert_eq!(context.max_output_size(1).unwrap(), Some(32));
        context.set_input_shape(0, &[7]).unwrap();
        enqueue(&mut context).unwrap();
        assert_eq!(values::<f32>(&device, to.address(), 8)[..], [3., 3., 3., 3., 3., 3., 3., 0.]);
    }
}

#[test]
fn a_failed_execution() {
    for major in MAJORS {
        let mut context = context(major, "op fail\nin X 0 1\nout Y 0 1");
        let error = enqueue(&mut context).unwrap_err();
        let expected = "enqueueV3 failed: IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal memory access \
                        was encountered)";
        assert_eq!(error, expected);
    }
}

#[test]
fn memory_of_the_caller() {
    for major in MAJORS {
        let engine = engine(major, "op identity\nmemory 1024\nin X 0 1\nout Y 0 1");
        let device = device();
        let mut context = engine.create_context(AllocationStrategy::UserManaged).unwrap();
        let [from, to] = [buffer(&device, &[3_f32]), buffer(&device, &[0_f32])];
        bind(&mut context, 0, from.address());
        bind(&mut context, 1, to.address());
        let error = enqueue(&mut context).unwrap_err();
        assert!(error.contains("the device memory of the context was not set"), "{error}");
        let memory = buffer(&device, &[0_u8; 1024]);
        // SAFETY: the memory is there until the end of the test.
        unsafe { context.set_device_memory(memory.address(), 1024) };
        enqueue(&mut context).unwrap();
        assert_eq!(values::<f32>(&device, to.address(), 1), [3.]);
    }
}

/// An execution is part of a graph that is captured around it.
#[test]
fn graphs() {
    for major in MAJORS {
        let device = device();
        let mut context = context(major, "op identity\nin X 0 2\nout Y 0 2");
        let [from, to] = [buffer(&device, &[1_f32, 2.]), buffer(&device, &[0_f32; 2])];
        bind(&mut context, 0, from.address());
        bind(&mut context, 1, to.address());
        let stream = Stream::new(&device, StreamPriority::Default).unwrap();
        // SAFETY: this thread ends the capture.
        unsafe { device.begin_capture(stream.raw()) }.unwrap();
        // SAFETY: the stream is the device's, and the buffers live longer.
        unsafe { context.enqueue(stream.raw()) }.unwrap();
        assert_eq!(values::<f32>(&device, to.address(), 2), [0., 0.], "recorded, not run");
        // SAFETY: begun by this thread.
        let graph = unsafe { device.end_capture(stream.raw()) }.unwrap();
        // SAFETY: both are the device's, and the buffers are there.
        unsafe { device.launch(graph, stream.raw()) }.unwrap();
        assert_eq!(values::<f32>(&device, to.address(), 2), [1., 2.]);
        // SAFETY: not used any more.
        unsafe { device.destroy_graph(graph) }.unwrap();
    }
}

/// Shape tensors: values that decide shapes, and shapes that are outputs.
#[test]
fn shape_tensors() {
    const RESHAPE: &str = "op reshape
in DATA 0 -1x4 1x4 2x4 4x4
in SHAPE 8 2 location=host shape_io values=1,1:4,2:16,16
out OUT 0 -1x-1";
    for major in MAJORS {
        let mut context = context(major, RESHAPE);
        choose(&mut context, 0);
        context.set_input_shape(0, &[2, 4]).unwrap();
        assert_eq!(context.missing_inputs().unwrap(), ["SHAPE"]);
        assert_eq!(context.tensor_shape(2).unwrap(), [-1, -1]);
        let shape = [4_i64, 2];
        bind(&mut context, 1, shape.as_ptr() as u64);
        assert_eq!(context.missing_inputs().unwrap(), Vec::<String>::new());
        assert_eq!(context.tensor_shape(2).unwrap(), [4, 2]);
        let wrong = [5_i64, 2];
        bind(&mut context, 1, wrong.as_ptr() as u64);
        let error = context.missing_inputs().unwrap_err().to_string();
        assert!(
            error.contains("inferShapes failed") && error.contains("reshape would change volume"),
            "{error}"
        );
        let outside = [17_i64, 2];
        bind(&mut context, 1, outside.as_ptr() as u64);
        let error = context.missing_inputs().unwrap_err().to_string();
        assert!(error.contains("[17,2], which do not satisfy profile 0: [1,1]..[16,16]"), "{error}");
    }
    for major in MAJORS {
        let mut context =
            self::context(major, "op shape\nin X 0 -1x3 1x3 2x3 4x3\nout Y 8 2 location=host shape_io");
        context.set_input_shape(0, &[3, 3]).unwrap();
        let mut shape = Box::new([0_i64; 2]);
        bind(&mut context, 1, shape.as_mut_ptr() as u64);
        context.missing_inputs().unwrap();
        assert_eq!(*shape, [3, 3]);
    }
}

#[test]
fn events() {
    for major in MAJORS {
        let mut context = context(major, ADD_SUB);
        let device = device();
        let event = device.create_event(false).unwrap();
        for event in [Some(event), None] {
            // SAFETY: the event is there, and nothing is enqueued.
            unsafe { context.set_input_consumed_event(event) }.unwrap();
        }
        // SAFETY: not used any more.
        unsafe { device.destroy_event(event) }.unwrap();
    }
}

/// A context can be handed to another thread.
#[test]
fn contexts_move() {
    fn sent<T: Send>(_: &T) {}
    sent(&context(10, ADD_SUB));
}
