//! Whether a response that comes from elsewhere can be one of this model: what follows relies on shapes, datatypes and
//! sizes that agree. Whether its numbers are right, nobody can tell.

use nereid_core::{InferResponse, ModelConfig, OutputTensor, shape, string_tensor};

/// Whether `response` can be an answer of the model with this config.
pub(crate) fn is_plausible(response: &InferResponse, config: &ModelConfig) -> bool {
    let mut seen = vec![false; config.outputs.len()];
    response.outputs.iter().all(|output| {
        let Some(index) = config.output_index(&output.name) else { return false };
        !std::mem::replace(&mut seen[index], true)
            && output.datatype == config.outputs[index].datatype
            && is_whole(output)
    })
}

fn is_whole(output: &OutputTensor) -> bool {
    let Some(elements) = shape::element_count(&output.shape) else { return false };
    match output.datatype.size_bytes() {
        Some(size) => elements.checked_mul(size) == Some(output.data.len()),
        None => {
            let mut walk = string_tensor::elements(&output.data);
            walk.try_fold(0, |count, element| element.map(|_| count + 1)) == Ok(elements)
        }
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::testing::identity_config;
    use nereid_core::{DataType, Shape};

    use super::*;

    #[track_caller]
    fn check(expected: bool, name: &str, datatype: DataType, shape: &[i64], data: &[u8]) {
        let mut config = identity_config(8);
        config.outputs.push(nereid_core::config::OutputConfig {
            name: "S".into(),
            datatype: DataType::Bytes,
            ..config.outputs[0].clone()
        });
        let shape = Shape::from_slice(shape);
        let output = OutputTensor { name: name.into(), datatype, shape, data: data.to_vec().into() };
        let mut response = InferResponse { outputs: vec![output], ..Default::default() };
        assert_eq!(is_plausible(&response, &config), expected);
        response.outputs.push(response.outputs[0].clone());
        assert!(!is_plausible(&response, &config), "twice the same");
    }

    #[test]
    fn names_types_shapes_and_sizes_must_agree() {
        check(true, "OUTPUT0", DataType::Fp32, &[2, 1], &[0; 8]);
        check(true, "OUTPUT0", DataType::Fp32, &[2, 0], &[]);
        check(false, "OUTPUT", DataType::Fp32, &[2, 1], &[0; 8]);
        check(false, "OUTPUT0", DataType::Int32, &[2, 1], &[0; 8]);
        check(true, "OUTPUT0", DataType::Fp32, &[], &[0; 4]);
        check(false, "OUTPUT0", DataType::Fp32, &[2, 1], &[0; 9]);
        check(false, "OUTPUT0", DataType::Fp32, &[2, i64::MAX], &[0; 8]);
        check(false, "OUTPUT0", DataType::Fp32, &[2, -1], &[0; 8]);
        check(true, "S", DataType::Bytes, &[2, 1], &[1, 0, 0, 0, b'a', 0, 0, 0, 0]);
        check(false, "S", DataType::Bytes, &[2, 2], &[1, 0, 0, 0, b'a', 0, 0, 0, 0]);
        check(false, "S", DataType::Bytes, &[2, 1], &[1, 0, 0, 0, b'a', 0, 0, 0, 0, 0]);
        check(false, "S", DataType::Bytes, &[2, 1], &[1, 0, 0, 0, b'a', 255, 0, 0, 0]);
    }
}
