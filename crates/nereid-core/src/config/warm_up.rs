//! What a model runs before it takes requests.

use crate::DataType;

/// One batch of requests, all alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUpSample {
    /// For the log and for errors.
    pub name: String,
    /// Requests of the batch, of one row each; at least 1.
    pub batch_size: u32,
    /// Times that it runs; at least 1.
    pub count: u32,
    pub inputs: Vec<WarmUpInput>,
}

/// One input of each request of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUpInput {
    pub name: String,
    pub datatype: DataType,
    /// Without the batch dimension; not checked.
    pub dims: Vec<i64>,
    pub data: WarmUpData,
}

/// Where the data of an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmUpData {
    Zero,
    /// Any bytes; for strings, empty ones.
    Random,
    /// A file in the folder `warmup` of the model.
    File(String),
}
