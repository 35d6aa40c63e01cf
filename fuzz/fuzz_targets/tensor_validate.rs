//! Requests of all shapes against configs of all kinds: what is accepted fits, whatever wire it came by.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nereid_core::{DataType, InferRequest, InputTensor, Shape, ValidRequest, shape};
use nereid_fuzz::{assert_fits, config};

#[derive(Debug, Arbitrary)]
struct Request {
    config: u8,
    inputs: Vec<Input>,
    outputs: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
struct Input {
    name: u8,
    /// `None` is what the config says.
    datatype: Option<u8>,
    dims: Vec<Dim>,
    data: Data,
}

#[derive(Debug, Arbitrary)]
enum Dim {
    Small(u8),
    Any(i64),
}

#[derive(Debug, Arbitrary)]
enum Data {
    /// As many bytes as the shape asks for, if that is not many, and a few more or less.
    Fitting(u8, i8),
    Any(Vec<u8>),
}

/// Most bytes of a fitting tensor.
const MOST: usize = 1 << 16;

fuzz_target!(|request: Request| {
    let config = config(request.config);
    let inputs = request.inputs.into_iter().map(|input| {
        let datatype = match input.datatype {
            Some(choice) => DataType::ALL[usize::from(choice) % DataType::ALL.len()],
            None => config.inputs[usize::from(input.name) % config.inputs.len()].datatype,
        };
        let shape: Shape = input
            .dims
            .iter()
            .map(|dim| match dim {
                Dim::Small(dim) => i64::from(*dim % 4),
                Dim::Any(dim) => *dim,
            })
            .collect();
        let data = match input.data {
            Data::Any(data) => data,
            Data::Fitting(byte, more) => {
                let size = shape::byte_size(datatype, &shape).or(shape::element_count(&shape));
                let size = size.unwrap_or(0).saturating_add_signed(isize::from(more / 64)).min(MOST);
                vec![byte; size]
            }
        };
        InputTensor { name: name(&["a", "b", "c"], input.name), datatype, shape, data: Bytes::from(data) }
    });
    let request = InferRequest {
        inputs: inputs.collect(),
        outputs: request.outputs.iter().map(|output| name(&["x", "y", "z"], *output)).collect(),
        ..Default::default()
    };
    if let Ok(request) = ValidRequest::new(request, &config) {
        assert_fits(&request, &config);
    }
});

fn name(names: &[&str; 3], choice: u8) -> String {
    names[usize::from(choice) % names.len()].to_owned()
}
