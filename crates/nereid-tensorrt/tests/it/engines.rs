//! What an engine says about itself.

use nereid_tensorrt::{
    Profile, ProfileInput, TensorDataType, TensorFormat, TensorInfo, TensorLocation, TensorMode,
};

use crate::fixture::{ADD_SUB, Folder, MAJORS, device, engine, load, plan};

const ALL: &str = "name everything
op identity
memory 4096
in DATA 0 -1x3x4 1x3x4 2x3x4 8x3x4 9x3x4 10x3x4 16x3x4
in SHAPE 8 2 location=host shape_io values=1,1:2,2:4,4;5,5:6,6:7,7
in PACKED 2 1x3x2x2 format=5 vectorized_dim=1 components=32 bytes=1
in FLAG 4 scalar
out HALF 1 -1x3x4
out BRAIN 7 2
out LONG 8 2 location=host shape_io
out BYTE 5 2
out EIGHT 6 2";

#[test]
fn tensors() {
    for major in MAJORS {
        let engine = engine(major, ALL);
        assert_eq!((engine.name(), engine.device_memory_size()), ("everything", 4096));
        let tensors = engine.tensors();
        assert_eq!(
            tensors[0],
            TensorInfo {
                name: "DATA".to_owned(),
                mode: TensorMode::Input,
                datatype: TensorDataType::Float,
                shape: vec![-1, 3, 4],
                location: TensorLocation::Device,
                is_shape_io: false,
                format: TensorFormat::Linear,
                vectorized_dim: -1,
                components_per_element: -1,
                bytes_per_component: -1,
            }
        );
        assert_eq!((tensors[1].location, tensors[1].is_shape_io), (TensorLocation::Host, true));
        let packed = &tensors[2];
        assert_eq!(
            (packed.format, packed.vectorized_dim, packed.components_per_element, packed.bytes_per_component),
            (TensorFormat::Chw32, 1, 32, 1)
        );
        assert!(tensors[3].shape.is_empty());
        let types: Vec<_> = tensors.iter().map(|tensor| tensor.datatype.name()).collect();
        assert_eq!(types, ["FLOAT", "INT64", "INT8", "BOOL", "HALF", "BF16", "INT64", "UINT8", "FP8"]);
        let outputs = tensors.iter().filter(|tensor| tensor.mode == TensorMode::Output).count();
        assert_eq!(outputs, 5);
    }
}

#[test]
fn profiles() {
    for major in MAJORS {
        let engine = engine(major, ALL);
        let profiles = engine.profiles();
        assert_eq!(profiles.len(), 2);
        let names: Vec<_> = profiles[0].inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["DATA", "SHAPE", "PACKED", "FLAG"]);
        let data = &profiles[1].inputs[0];
        assert_eq!(
            (&data.min[..], &data.opt[..], &data.max[..]),
            (&[9, 3, 4][..], &[10, 3, 4][..], &[16, 3, 4][..])
        );
        assert_eq!(data.values, None);
        let shape = &profiles[1].inputs[1];
        assert_eq!(shape.values, Some([vec![5, 5], vec![6, 6], vec![7, 7]]));
        assert_eq!(shape.min, [2]);
    }
}

/// Methods that came later, and what stands in for them before.
#[test]
fn early_versions() {
    for version in ["10.0.1.6", "10.1.0.1", "10.10.0.1", "10.11.0.1"] {
        let folder = Folder::new();
        let library = load(&folder.add(10, "libnvinfer.so.10", &format!("version {version}")));
        let runtime = nereid_tensorrt::Runtime::new(&library, &device()).unwrap();
        let engine = runtime.deserialize(plan(ALL).as_bytes()).unwrap();
        assert_eq!(engine.device_memory_size(), 4096, "{version}");
        let shape = &engine.profiles()[0].inputs[1];
        assert_eq!(shape.values, Some([vec![1, 1], vec![2, 2], vec![4, 4]]), "{version}");
        let mut context = engine.create_context(nereid_tensorrt::AllocationStrategy::UserManaged).unwrap();
        #[allow(unsafe_code, reason = "the memory is never used")]
        // SAFETY: nothing is enqueued.
        unsafe {
            context.set_device_memory(256, 4096);
        }
    }
}

#[test]
fn an_input_that_does_not_vary_has_its_shape_in_every_profile() {
    for major in MAJORS {
        let engine = engine(major, "op identity\nin X 3 2x2\nout Y 3 2x2");
        let expected = ProfileInput {
            name: "X".to_owned(),
            min: vec![2, 2],
            opt: vec![2, 2],
            max: vec![2, 2],
            values: None,
        };
        assert_eq!(engine.profiles(), [Profile { inputs: vec![expected] }]);
    }
    assert_eq!(engine(10, ADD_SUB).profiles()[0].inputs.len(), 2);
}
