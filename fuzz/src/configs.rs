//! Model configs by number: every datatype, with and without a batch dimension, an optional input, a reshape.

use nereid_core::config::{InputConfig, OutputConfig};
use nereid_core::{DataType, ModelConfig};

/// The config that `choice` stands for. Its input is `a`, a second and optional one is `b`; its outputs are `x`, `y`.
pub fn config(choice: u8) -> ModelConfig {
    let flag = |bit: u8| choice & bit != 0;
    let datatype = DataType::ALL[usize::from(choice & 0x0f) % DataType::ALL.len()];
    let dims = if flag(0x40) { vec![2, -1] } else { vec![-1] };
    let reshape = flag(0x40).then(|| vec![-1, 2, 1]);
    let mut inputs = vec![InputConfig {
        name: "a".into(),
        datatype,
        dims: dims.clone(),
        reshape: reshape.clone(),
        optional: false,
        allow_ragged_batch: false, form: Default::default() }];
    if flag(0x20) {
        inputs.push(InputConfig {
            name: "b".into(),
            datatype: DataType::Int8,
            dims: vec![2],
            reshape: None,
            optional: true,
            allow_ragged_batch: false, form: Default::default() });
    }
    let output = |name: &str| OutputConfig { name: name.into(), datatype, dims: dims.clone(), reshape: None, form: Default::default() };
    ModelConfig {
        name: "m".into(),
        max_batch_size: if flag(0x10) { 8 } else { 0 },
        inputs,
        outputs: vec![output("x"), output("y")],
        ..Default::default()
    }
}
