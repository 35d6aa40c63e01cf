//! Each refusal of a tensor once.

use nereid_protocol::inference::ModelTensorReshape;

use super::*;

fn input(dims: &[i64], reshape: Option<&[i64]>) -> ModelInput {
    ModelInput {
        name: "a".into(),
        data_type: DataType::TypeFp32 as i32,
        dims: dims.to_vec(),
        reshape: reshape.map(|shape| ModelTensorReshape { shape: shape.to_vec() }),
        ..Default::default()
    }
}

fn config(max_batch_size: i32, input: ModelInput) -> ModelConfig {
    let name = "m".to_owned();
    ModelConfig {
        name,
        platform: "onnxruntime_onnx".into(),
        max_batch_size,
        input: vec![input],
        ..Default::default()
    }
}

#[track_caller]
fn refused(config: &ModelConfig, expected: &str) {
    let error = validate(config).unwrap_err();
    assert_eq!(error.message(), format!("{expected} for m"));
    assert_eq!(error.code(), nereid_core::ErrorCode::InvalidArg);
}

#[test]
fn fields() {
    let good = || input(&[1], None);
    for (input, expected) in [
        (ModelInput { name: String::new(), ..good() }, "model input must specify 'name'"),
        (ModelInput { data_type: 0, ..good() }, "model input 'a' must specify 'data_type'"),
        (input(&[], None), "model input 'a' must specify 'dims'"),
        (ModelInput { format: Format::Nhwc as i32, ..good() }, "model input NHWC/NCHW require 3 dims"),
        (
            ModelInput { is_shape_tensor: true, ..good() },
            "shape tensors are only supported for TensorRT platform",
        ),
        (
            ModelInput { is_non_linear_format_io: true, ..good() },
            "Non-linear IO format is only supported for the TensorRT platform",
        ),
        (
            input(&[1, 0], None),
            "model input 'a' dimension must be integer >= 1, or -1 to indicate a variable-size dimension",
        ),
        (
            input(&[1, -2], None),
            "model input 'a' dimension must be integer >= 1, or -1 to indicate a variable-size dimension",
        ),
        (
            input(&[1], Some(&[0])),
            "model input 'a' reshape dimensions must be integer >= 1, or -1 to indicate a variable-size dimension",
        ),
    ] {
        refused(&config(8, input), expected);
    }
    let mut tensorrt = config(8, ModelInput { is_non_linear_format_io: true, ..good() });
    tensorrt.platform = TENSORRT.0.into();
    refused(&tensorrt, "Non-linear IO format input requires 3 dims");
    let mut no_type = config(8, good());
    no_type.output = vec![ModelOutput { name: "o".into(), ..Default::default() }];
    refused(&no_type, "model output 'o' must specify 'data_type'");
}

#[test]
fn reshapes() {
    let sizes = "model input 'a' has different size for dims and reshape";
    let counts = "model input 'a' has different number of variable-size dimensions for dims and reshape";
    let huge: &[i64] = &[1 << 40, 1 << 40];
    for (max_batch_size, dims, reshape, expected) in [
        (8, &[2, 2][..], &[4][..], None),
        (8, &[1], &[], None),
        (8, &[2, 4, -1, 6], &[8, -1, 1, 6], None),
        (8, &[-1], &[1, -1], None),
        (8, &[2], &[3], Some(sizes)),
        (8, &[2], &[], Some(sizes)),
        (8, &[-1], &[], Some(sizes)),
        (8, &[2, -1], &[-1, 2], Some(sizes)),
        (8, &[-1, -1], &[-1], Some(counts)),
        (
            8,
            huge,
            huge,
            Some("element count for tensor 'a dims' exceeds maximum size of 9223372036854775807"),
        ),
        (
            0,
            &[1],
            &[],
            Some(
                "model input 'a' cannot have empty reshape for non-batching model as scalar tensors are not supported",
            ),
        ),
    ] {
        let config = config(max_batch_size, input(dims, Some(reshape)));
        match expected {
            None => assert_eq!(validate(&config), Ok(()), "{dims:?} {reshape:?}"),
            Some(expected) => refused(&config, expected),
        }
    }
}

#[test]
fn names_are_given_once() {
    let mut config = config(8, input(&[1], None));
    config.output = vec![ModelOutput { name: "a".into(), ..Default::default() }];
    assert_eq!(unique_names(&config), Ok(()), "an input and an output may share a name");
    config.input.push(input(&[1], None));
    let error = unique_names(&config).unwrap_err();
    assert_eq!(error.message(), "model input 'a' is specified more than once for m");
}
