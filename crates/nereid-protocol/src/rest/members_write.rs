//! The answer of `generate`: one flat JSON object.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::Error;
use super::json_write as json;
use super::parameters::Parameter;
use super::response::{OutputView, Response, capacity, element_count, write_data, write_value};

/// Writes `response` as Triton does (`ConvertGenerateResponse`): id, model, parameters and outputs side by side, sorted
/// by name, the first of a name counts. A tensor of one element stands without brackets, any other is a flat list. How
/// the outputs are to be encoded is not looked at.
///
/// # Errors
/// An output is FP16 or BF16, or its data does not fit its shape.
pub fn write_members(response: &Response<'_>) -> Result<Bytes, Error> {
    let version = response.model_version.to_string();
    let mut members = BTreeMap::new();
    let mut add = |name, member| {
        members.entry(name).or_insert(member);
    };
    if !response.id.is_empty() {
        add("id", Member::Text(response.id));
    }
    add("model_name", Member::Text(response.model_name));
    add("model_version", Member::Text(&version));
    response.parameters.iter().for_each(|(name, value)| add(name, Member::Parameter(value)));
    response.outputs.iter().for_each(|output| add(output.name, Member::Tensor(output)));

    let mut out = Vec::with_capacity(capacity(response));
    for (name, member) in members {
        out.push(if out.is_empty() { b'{' } else { b',' });
        json::string(&mut out, name.as_bytes());
        out.push(b':');
        member.write(&mut out)?;
    }
    out.push(b'}');
    Ok(out.into())
}

enum Member<'r> {
    Text(&'r str),
    Parameter(&'r Parameter),
    Tensor(&'r OutputView<'r>),
}

impl Member<'_> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Text(text) => json::string(out, text.as_bytes()),
            Self::Parameter(value) => write_value(out, value),
            Self::Tensor(output) if element_count(output.shape) == Some(1) => write_data(out, output)?,
            Self::Tensor(output) => {
                out.push(b'[');
                write_data(out, output)?;
                out.push(b']');
            }
        }
        Ok(())
    }
}
