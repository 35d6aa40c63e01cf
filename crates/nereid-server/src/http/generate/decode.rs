//! The body of `generate` → [`InferRequest`]: which member is an input and in what shape, which a parameter. Mirror image
//! of `encode.rs`; order of checks and texts are Triton's (`ConvertGenerateRequest`, `ExactMappingInput`).

use std::collections::HashSet;

use bytes::Bytes;
use nereid_core::config::InputConfig;
use nereid_core::{Error, InferRequest, InputTensor, ModelConfig, Result, Shape, duplicate_input};
use nereid_protocol::rest::{self, Datatype, Member};

use crate::http::decode::{error, parameter};

/// The member whose own members count like those around it.
const NESTED: &str = "parameters";

/// Decodes `body` for the model of `config`. All inputs together have at most `max_input_bytes`.
///
/// # Errors
/// Triton's text for the first thing that makes no sense.
pub(super) fn decode(body: &[u8], config: &ModelConfig, max_input_bytes: usize) -> Result<InferRequest> {
    let members = rest::parse_members(body, max_input_bytes).map_err(error)?;
    let id = members.iter().find(|member| member.name() == "id");
    let id = id.map_or(Ok(String::new()), |id| id.as_text("id").map_err(error))?;
    let mut mapping = Mapping {
        config,
        max_input_bytes,
        used_bytes: 0,
        request: InferRequest { id, ..Default::default() },
    };
    mapping.object(&members, Some(NESTED))?;
    Ok(mapping.request)
}

/// A request on its way.
struct Mapping<'c> {
    config: &'c ModelConfig,
    max_input_bytes: usize,
    /// Bytes of the inputs so far.
    used_bytes: u64,
    request: InferRequest,
}

impl Mapping<'_> {
    /// Maps the members of an object; the one called `nested` is an object of the same kind.
    fn object(&mut self, members: &[Member<'_>], nested: Option<&str>) -> Result<()> {
        let mut names = HashSet::with_capacity(members.len().min(64));
        for member in members {
            let name = member.name();
            if nested == Some(&name) {
                self.nested(member, &name)?;
            } else if let Some(index) = self.config.input_index(&name) {
                self.input(member, &self.config.inputs[index])?;
            } else if names.insert(name.clone()) {
                // Of equal names Triton sees the first.
                let value = member.parameter(&name).map_err(error)?;
                self.request.parameters.push((name, parameter(value)));
            }
        }
        Ok(())
    }

    fn nested(&mut self, member: &Member<'_>, name: &str) -> Result<()> {
        if self.config.input_index(name).is_some() {
            return Err(Error::invalid_arg(format!(
                "Keyword '{name}' for nested schema also given as input tensor name"
            )));
        }
        let members = member.members().map_err(error);
        let members =
            members.map_err(|e| e.prefixed(&format!("Expected JSON object for keyword: '{name}': ")))?;
        self.object(&members, None).map_err(|e| e.prefixed(&format!("Converting keyword: '{name}': ")))
    }

    fn input(&mut self, member: &Member<'_>, config: &InputConfig) -> Result<()> {
        let name = &*config.name;
        if self.request.inputs.iter().any(|input| input.name == name) {
            return Err(duplicate_input(name, &self.request.id));
        }
        let datatype = Datatype::ALL.into_iter().find(|d| d.number() == config.datatype as i32);
        let datatype = datatype.ok_or_else(|| {
            Error::invalid_arg(format!("input '{name}' has unsupported datatype {}", config.datatype))
        })?;
        let tensor = member.tensor(datatype, self.max_input_bytes).map_err(error)?;
        let (mut shape, mut data) = (Shape::new(), Bytes::new());
        if tensor.byte_size > 0 {
            self.take(tensor.byte_size, name)?;
            shape = self.shape(tensor.count, config).ok_or_else(|| {
                Error::invalid_arg(format!(
                    "The schema can not convert input '{name}' to tensor with proper shape"
                ))
            })?;
            data = tensor.read(name).map_err(error)?;
        } // else it has no shape either, and the model's check says what it thinks of that
        self.request.inputs.push(InputTensor {
            name: name.to_owned(),
            datatype: config.datatype,
            shape,
            data,
        });
        Ok(())
    }

    /// Counts `bytes` more of input.
    fn take(&mut self, bytes: u64, name: &str) -> Result<()> {
        let used = self.used_bytes;
        self.used_bytes = used.saturating_add(bytes);
        if self.used_bytes > self.max_input_bytes as u64 {
            return Err(Error::invalid_arg(format!(
                "request size of {used} bytes with input '{name}' of size {bytes} bytes exceeds the maximum allowed \
                 input size of {}. Use --http-max-input-size to increase the limit.",
                self.max_input_bytes
            )));
        }
        Ok(())
    }

    /// The shape of an input of `count` elements: fixed dimensions are what they are, the innermost variable one takes
    /// what is left, the batch size last of all; the others are 1. `None` if that does not come out even.
    fn shape(&self, count: usize, config: &InputConfig) -> Option<Shape> {
        let batch = self.config.batches().then_some(-1);
        let mut shape: Shape = batch.into_iter().chain(config.dims.iter().copied()).collect();
        let mut left = i64::try_from(count).ok()?;
        for &dim in shape.iter().rev().filter(|dim| **dim != -1) {
            if left.checked_rem(dim)? != 0 {
                return None;
            }
            left /= dim;
        }
        for dim in shape.iter_mut().rev().filter(|dim| **dim == -1) {
            *dim = std::mem::replace(&mut left, 1);
        }
        (left == 1).then_some(shape)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
