//! What must hold of every request that was accepted: the model may trust it without looking.

use nereid_core::{ModelConfig, ValidRequest, shape, string_tensor};

/// # Panics
/// The request does not fit `config`.
pub fn assert_fits(request: &ValidRequest, config: &ModelConfig) {
    if config.batches() {
        assert!((1..=config.max_batch_size).contains(&request.batch_size()), "{request:?}");
    }
    for (index, input) in config.inputs.iter().enumerate() {
        let given = request.input(index);
        assert!(given.is_some() || input.optional, "input '{}' is missing: {request:?}", input.name);
        let Some(given) = given else { continue };
        if config.batches() {
            assert_eq!(given.shape[0], i64::from(request.batch_size()));
        }
        let elements = shape::element_count(&given.shape).expect("shapes of accepted inputs have a size");
        match input.datatype.size_bytes() {
            Some(size) => assert_eq!(given.data.len(), elements * size, "{given:?}"),
            None => {
                let strings = string_tensor::elements(&given.data);
                let whole = strings.map(|s| s.expect("strings of accepted inputs are whole"));
                assert_eq!(whole.count(), elements, "{given:?}");
            }
        }
    }
    assert_eq!(request.inputs().len(), (0..config.inputs.len()).filter_map(|i| request.input(i)).count());
}
