//! A response as the local cache keeps it: in memory of its own, so that what it weighs is what it holds. Outputs of a
//! response are slices of a whole batch's, which a few of them would keep alive.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nereid_core::{InferResponse, OutputTensor, Parameter, Timing};

/// A response without its moments. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Stored(Arc<InferResponse>);

impl Stored {
    /// A copy of `response`.
    pub(crate) fn copy(response: &InferResponse) -> Self {
        let data: usize = response.outputs.iter().map(|output| output.data.len()).sum();
        let mut rest = BytesMut::with_capacity(data);
        response.outputs.iter().for_each(|output| rest.extend_from_slice(&output.data));
        let mut rest = rest.freeze();
        let outputs = response.outputs.iter().map(|output| {
            let data = rest.split_to(output.data.len());
            OutputTensor { data, ..output.clone() }
        });
        Self(Arc::new(InferResponse {
            outputs: outputs.collect(),
            states: Vec::new(),
            parameters: response.parameters.clone(),
            timing: Timing::default(),
        }))
    }

    /// What a copy of `response` weighs: its bytes, and those of everything around them. Names are shared with the
    /// model's config.
    pub(crate) fn weight(response: &InferResponse) -> u64 {
        let output = |output: &OutputTensor| {
            let dims = if output.shape.spilled() { size_of_val(output.shape.as_slice()) } else { 0 };
            size_of::<OutputTensor>() + dims + output.data.len()
        };
        let parameter = |(name, value): &(String, Parameter)| {
            let text = if let Parameter::Text(text) = value { text.len() } else { 0 };
            size_of::<(String, Parameter)>() + name.len() + text
        };
        let tensors: usize = response.outputs.iter().map(output).sum();
        let parameters: usize = response.parameters.iter().map(parameter).sum();
        (size_of::<InferResponse>() + 2 * size_of::<usize>() + ENTRY_BYTES + tensors + parameters) as u64
    }

    /// The response to a request with these moments. Its data is shared.
    pub(crate) fn recall(&self, timing: Timing) -> InferResponse {
        InferResponse { timing, ..(*self.0).clone() }
    }
}

/// The key twice, as the map and the list have it, and their links.
const ENTRY_BYTES: usize = 2 * 32 + 6 * size_of::<usize>() + size_of::<Bytes>();

#[cfg(test)]
mod tests {
    use nereid_core::{DataType, Shape, Timestamp};

    use super::*;

    #[test]
    fn a_copy_holds_nothing_of_the_batch() {
        let batch = Bytes::from(vec![1; 1 << 20]);
        let output = |name: &str, data| OutputTensor {
            name: name.into(),
            datatype: DataType::Uint8,
            shape: Shape::from_slice(&[8]),
            data,
        };
        let response = InferResponse {
            states: Vec::new(),
            outputs: vec![
                output("X", batch.slice(8..16)),
                output("Y", Bytes::new()),
                output("Z", batch.slice(99..100)),
            ],
            parameters: vec![("p".into(), Parameter::Text("t".into()))],
            timing: Timing::default(),
        };
        let stored = Stored::copy(&response);
        let weight = Stored::weight(&response);
        assert!((9..2_000).contains(&weight), "{weight}");
        let outputs = &stored.0.outputs;
        assert_eq!(outputs.iter().map(|output| output.data.len()).collect::<Vec<_>>(), [8, 0, 1]);
        let in_batch = |data: &Bytes| batch.as_ptr_range().contains(&data.as_ptr());
        assert!(outputs.iter().all(|output| !in_batch(&output.data)));
        let timing = Timing { queue_start: Timestamp::from_ns(7), ..Timing::default() };
        let recalled = stored.recall(timing);
        assert_eq!((recalled.timing, &recalled.parameters), (timing, &response.parameters));
        assert_eq!(recalled.outputs[0].data.as_ptr(), outputs[0].data.as_ptr(), "shared, not copied");
        assert_eq!(recalled.outputs[0].name, "X".into());
    }

    #[test]
    fn everything_weighs() {
        let with = |data: usize, text: &str| {
            let shape = Shape::from_slice(&[1; 9]);
            let output = OutputTensor {
                name: "X".into(),
                datatype: DataType::Uint8,
                shape,
                data: vec![0; data].into(),
            };
            let parameters = vec![("p".to_owned(), Parameter::Text(text.into()))];
            Stored::weight(&InferResponse { outputs: vec![output], parameters, ..InferResponse::default() })
        };
        assert_eq!(with(100, "") - with(0, ""), 100);
        assert_eq!(with(0, "abc") - with(0, ""), 3);
        assert!(with(0, "") > Stored::weight(&InferResponse::default()) + 72);
    }
}
