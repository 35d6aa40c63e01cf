//! Building plans: an ONNX model goes through TensorRT's parser into a network, and with options becomes a plan.

mod build;
mod network;
mod options;
mod parser;

pub use build::{BuildError, Builder};
pub use network::{Network, NetworkTensor};
pub use options::{BuildOptions, BuildProfile, MemoryPool, Precision, ProfileShapes};
pub use parser::{OnnxParser, ParseError, ParserFault};
