//! The HTTP bodies of inference: KServe v2 JSON with the binary tensor extension, as Triton reads and writes it;
//! those of `generate`; and [`Json`], for the bodies of everything else.
//!
//! Bytes in, plain structs out, and back: [`parse_request`], [`write_response`], [`error_body`]; for `generate`,
//! [`parse_members`] and [`write_members`]. Nothing here knows
//! HTTP, models or shared memory; what depends on a model's config (counts, names, shapes, sizes of binary data) is
//! checked later.
//!
//! What the frontend does with the header `Inference-Header-Content-Length`, in Triton's order:
//! 1. absent: the whole body is JSON;
//! 2. present: [`header_length`] reads it against the length of the body (after decompression);
//! 3. 0, also for a body that is empty: no JSON at all, the body is the one input of the model. That needs the
//!    model's config and is not done here;
//! 4. otherwise [`parse_request`] with that length.
//!
//! Strings of a request that are not UTF-8 (names, the id, parameters) have U+FFFD in place of what is wrong;
//! elements of BYTES tensors keep every byte, NUL included.

mod binary;
mod datatype;
mod decimal;
mod document;
mod error;
mod grisu;
mod inputs;
mod json;
mod json_write;
mod members;
mod members_write;
mod number;
mod outputs;
mod parameters;
mod request;
mod response;
mod shape;
mod string;
mod tensor_data;
mod tensor_parameters;
mod value;

#[cfg(test)]
mod tests;

pub use binary::header_length;
pub use datatype::Datatype;
pub use document::Json;
pub use error::{Error, ErrorKind};
pub use inputs::{Input, InputData};
pub use members::{LooseTensor, Member, parse_members};
pub use members_write::write_members;
pub use outputs::{Encoding, Output};
pub use parameters::{CorrelationId, Parameter};
pub use request::{Request, json_too_long, parse_request};
pub use response::{OutputView, Response, ResponseBody, error_body, write_response};
pub use tensor_parameters::SharedMemory;
