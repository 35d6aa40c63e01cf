//! A response as bytes, and back. Bytes that come from elsewhere may be anything: every length is checked against what
//! is there, nothing is allocated by a number alone, and one byte too many or too few makes it no response.
//!
//! Version, outputs, parameters. Numbers are little-endian; texts have a length of four bytes in front, tensors one of
//! eight.

use bytes::{Buf, Bytes};
use nereid_core::{DataType, InferResponse, OutputTensor, Parameter, Shape};

/// Changes with the form.
const VERSION: u8 = 1;

/// Most dimensions of a tensor.
const MAX_RANK: usize = 255;

/// `response`, without its moments. `None` if it has more of something than the form has room for.
pub(crate) fn encode(response: &InferResponse) -> Option<Vec<u8>> {
    let tensors: usize = response.outputs.iter().map(|output| output.data.len() + 64).sum();
    let mut to = Vec::with_capacity(tensors + 16);
    to.push(VERSION);
    put_count(&mut to, response.outputs.len())?;
    for output in &response.outputs {
        put_text(&mut to, &output.name)?;
        to.push(output.datatype as u8);
        to.push(u8::try_from(output.shape.len()).ok()?);
        output.shape.iter().for_each(|dim| to.extend_from_slice(&dim.to_le_bytes()));
        to.extend_from_slice(&(output.data.len() as u64).to_le_bytes());
        to.extend_from_slice(&output.data);
    }
    put_count(&mut to, response.parameters.len())?;
    for (name, value) in &response.parameters {
        put_text(&mut to, name)?;
        match value {
            Parameter::Bool(value) => to.extend_from_slice(&[0, (*value).into()]),
            Parameter::Int(value) => {
                to.push(1);
                to.extend_from_slice(&value.to_le_bytes());
            }
            Parameter::Double(value) => {
                to.push(2);
                to.extend_from_slice(&value.to_le_bytes());
            }
            Parameter::Text(value) => {
                to.push(3);
                put_text(&mut to, value)?;
            }
        }
    }
    Some(to)
}

/// The response that [`encode`] made `bytes` of, which its tensors share; `None` if they are anything else.
pub(crate) fn decode(mut bytes: Bytes) -> Option<InferResponse> {
    let from = &mut bytes;
    if from.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut outputs = Vec::new();
    for _ in 0..from.try_get_u32_le().ok()? {
        outputs.push(output(from)?);
    }
    let mut parameters = Vec::new();
    for _ in 0..from.try_get_u32_le().ok()? {
        parameters.push((text(from)?, parameter(from)?));
    }
    from.is_empty().then_some(InferResponse { outputs, parameters, ..InferResponse::default() })
}

fn output(from: &mut Bytes) -> Option<OutputTensor> {
    let name = text(from)?.into();
    let datatype = DataType::from_number(from.try_get_u8().ok()?.into())?;
    let rank = usize::from(from.try_get_u8().ok()?);
    debug_assert!(rank <= MAX_RANK);
    let mut shape = Shape::new();
    for _ in 0..rank {
        shape.push(from.try_get_i64_le().ok()?);
    }
    let length = from.try_get_u64_le().ok()?;
    let data = part(from, usize::try_from(length).ok()?)?;
    Some(OutputTensor { name, datatype, shape, data })
}

fn parameter(from: &mut Bytes) -> Option<Parameter> {
    Some(match from.try_get_u8().ok()? {
        0 => match from.try_get_u8().ok()? {
            0 => Parameter::Bool(false),
            1 => Parameter::Bool(true),
            _ => return None,
        },
        1 => Parameter::Int(from.try_get_i64_le().ok()?),
        2 => Parameter::Double(from.try_get_f64_le().ok()?),
        3 => Parameter::Text(text(from)?),
        _ => return None,
    })
}

fn text(from: &mut Bytes) -> Option<String> {
    let length = from.try_get_u32_le().ok()?;
    String::from_utf8(part(from, usize::try_from(length).ok()?)?.to_vec()).ok()
}

fn part(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= from.len()).then(|| from.split_to(length))
}

fn put_count(to: &mut Vec<u8>, count: usize) -> Option<()> {
    to.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
    Some(())
}

fn put_text(to: &mut Vec<u8>, text: &str) -> Option<()> {
    put_count(to, text.len())?;
    to.extend_from_slice(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> InferResponse {
        let output = |name: &str, datatype, shape: &[i64], data: &[u8]| OutputTensor {
            name: name.into(),
            datatype,
            shape: Shape::from_slice(shape),
            data: data.to_vec().into(),
        };
        InferResponse {
            outputs: vec![
                output("X", DataType::Fp32, &[1, 2], &[0, 0, 128, 63, 1, 2, 3, 4]),
                output("é", DataType::Bytes, &[], &[1, 0, 0, 0, b'a']),
                output("", DataType::Bf16, &[0, 7, 1, 1, 1], &[]),
            ],
            parameters: vec![
                ("b".into(), Parameter::Bool(true)),
                ("i".into(), Parameter::Int(-1)),
                ("d".into(), Parameter::Double(0.5)),
                ("t".into(), Parameter::Text("ü".into())),
            ],
            ..InferResponse::default()
        }
    }

    fn shown(response: &InferResponse) -> String {
        format!("{response:?}")
    }

    #[test]
    fn what_goes_in_comes_out() {
        for response in [InferResponse::default(), response()] {
            let bytes = Bytes::from(encode(&response).unwrap());
            assert_eq!(shown(&decode(bytes).unwrap()), shown(&response));
        }
    }

    #[test]
    fn tensors_are_not_copied() {
        let bytes = Bytes::from(encode(&response()).unwrap());
        let decoded = decode(bytes.clone()).unwrap();
        assert!(bytes.as_ptr_range().contains(&decoded.outputs[0].data.as_ptr()));
    }

    #[test]
    fn cut_or_longer_bytes_are_no_response() {
        let bytes = encode(&response()).unwrap();
        for end in 0..bytes.len() {
            assert!(decode(Bytes::copy_from_slice(&bytes[..end])).is_none(), "{end}");
        }
        assert!(decode([&bytes[..], &[0]].concat().into()).is_none());
    }

    /// Whatever one byte becomes, it is another response or none.
    #[test]
    fn changed_bytes_do_no_harm() {
        let bytes = encode(&response()).unwrap();
        let good = shown(&response());
        let mut others = 0;
        for at in 0..bytes.len() {
            for byte in [0, 1, 2, 127, 128, 255, bytes[at].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                if let Some(decoded) = decode(changed.into()) {
                    others += usize::from(shown(&decoded) != good);
                }
            }
        }
        assert!(others > 0, "data can be anything");
        let mut huge = vec![VERSION];
        huge.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(huge.into()).is_none());
    }
}
