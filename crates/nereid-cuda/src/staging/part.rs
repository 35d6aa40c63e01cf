//! One request's part of an output, or a whole one, before its data has arrived.

use std::ops::Range;

use bytes::Bytes;
use nereid_core::OutputTensor;

/// A tensor, and where its data will be.
#[derive(Debug)]
pub struct Part {
    pub tensor: OutputTensor,
    /// Its bytes in what is downloaded. `None`: the tensor has its data, or gets none, since that is on a GPU.
    pub fetched: Option<Range<usize>>,
}

impl Part {
    /// The tensor with its bytes of `data`, which was downloaded.
    pub fn with(self, data: &Bytes) -> OutputTensor {
        match self.fetched {
            Some(range) => OutputTensor { data: data.slice(range), ..self.tensor },
            None => self.tensor,
        }
    }
}
