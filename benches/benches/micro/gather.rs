//! Gathering the inputs of 8 requests of 3 kB into one tensor, and splitting the outputs again.

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use nereid_benches::model::{input_values, to_bytes};
use nereid_core::batch::{Batch, concat, split};
use nereid_core::config::{InputConfig, OutputConfig};
use nereid_core::{DataType, InferRequest, InputTensor, ModelConfig, OutputTensor, Shape, ValidRequest};

const BATCH: usize = 8;

/// Adds them.
pub(crate) fn all(criterion: &mut Criterion) {
    gather(criterion);
    validate(criterion);
}

fn config() -> ModelConfig {
    let (datatype, reshape) = (DataType::Fp32, None);
    let input = InputConfig {
        name: "input".into(),
        datatype,
        dims: vec![1, 28, 28],
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    };
    ModelConfig {
        name: "mnist_mlp".into(),
        max_batch_size: BATCH as u32,
        inputs: vec![input],
        outputs: vec![OutputConfig {
            name: "output".into(),
            datatype,
            dims: vec![10],
            reshape,
            form: Default::default(),
        }],
        ..Default::default()
    }
}

fn request(config: &ModelConfig) -> ValidRequest {
    let input = InputTensor {
        name: "input".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 1, 28, 28]),
        data: to_bytes(&input_values(784)).into(),
    };
    ValidRequest::new(InferRequest { inputs: vec![input], ..Default::default() }, config)
        .expect("fits the config")
}

fn gather(criterion: &mut Criterion) {
    let config = config();
    let requests: Vec<ValidRequest> = (0..BATCH).map(|_| request(&config)).collect();
    let requests: Vec<&ValidRequest> = requests.iter().collect();
    for count in [1, BATCH] {
        let batch = Batch::new(&config, &requests[..count]);
        let mut buffer = Vec::new();
        criterion.bench_function(&format!("gather/concat {count} × 3 kB"), |b| {
            b.iter(|| concat(black_box(&batch), 0, &mut buffer).expect("joinable").map(|g| g.data.len()));
        });
    }

    let batch = Batch::new(&config, &requests);
    let output = OutputTensor {
        name: config.outputs[0].name.clone(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[BATCH as i64, 10]),
        data: Bytes::from(to_bytes(&input_values(BATCH * 10))),
    };
    criterion.bench_function("gather/split 8 × 40 B", |b| {
        b.iter(|| split(black_box(&batch), vec![output.clone()]).expect("whole"));
    });
}

fn validate(criterion: &mut Criterion) {
    let config = config();
    criterion.bench_function("gather/validate one request", |b| {
        let input = InputTensor {
            name: "input".into(),
            datatype: DataType::Fp32,
            shape: Shape::from_slice(&[1, 1, 28, 28]),
            data: to_bytes(&input_values(784)).into(),
        };
        let request = InferRequest { inputs: vec![input], ..Default::default() };
        b.iter(|| ValidRequest::new(black_box(request.clone()), &config).expect("fits the config"));
    });
}
