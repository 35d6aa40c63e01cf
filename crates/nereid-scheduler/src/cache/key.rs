//! Request → [`CacheKey`]. Two requests have the same key only if the model must answer them alike, whatever a client
//! makes up: a wrong hit is a wrong answer.
//!
//! Triton hashes the model's name and version and each input's name and bytes to 64 bits, byte by byte. Here the hash is
//! BLAKE3, which nobody can collide and which hashes large inputs faster than memory delivers them; and shapes, the
//! outputs asked for, parameters and the very files that the model was loaded from count as well.

use blake3::Hasher;
use nereid_core::cache::CacheKey;
use nereid_core::{ModelConfig, Parameter, ValidRequest};

/// What tells one loaded model from another: what its answers depend on besides the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelIdentity(pub [u8; 32]);

impl ModelIdentity {
    /// The identity of a model that is made of others; `None` if one of theirs is.
    pub(crate) fn with(self, parts: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let mut hasher = Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&part?.0);
        }
        Some(Self(*hasher.finalize().as_bytes()))
    }
}

/// The key of `request` to the model `identity` with the config `config`.
///
/// Data comes first, so that it lies where the hash wants it; what says where a tensor ends comes behind it, in a form
/// that can be read backwards.
pub(crate) fn of(identity: &ModelIdentity, config: &ModelConfig, request: &ValidRequest) -> CacheKey {
    let mut hasher = Hasher::new_keyed(&identity.0);
    let mut trailer = Trailer::default();
    for input in request.inputs() {
        hasher.update(&input.data);
        for dim in &input.shape {
            trailer.number(dim.cast_unsigned());
        }
        trailer.number(input.shape.len() as u64);
        trailer.number(input.data.len() as u64);
        trailer.number(input.index as u64);
    }
    trailer.number(request.inputs().len() as u64);
    for index in 0..config.outputs.len() {
        trailer.0.push(request.wants(index).into());
    }
    for (name, value) in request.parameters() {
        trailer.parameter(value);
        trailer.text(name);
    }
    trailer.number(request.parameters().len() as u64);
    hasher.update(&trailer.0);
    CacheKey(*hasher.finalize().as_bytes())
}

/// What follows the data.
struct Trailer(smallvec::SmallVec<[u8; 192]>);

impl Default for Trailer {
    fn default() -> Self {
        Self(smallvec::SmallVec::new())
    }
}

impl Trailer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.number(text.len() as u64);
    }

    fn parameter(&mut self, value: &Parameter) {
        let kind = match value {
            Parameter::Bool(value) => {
                self.0.push((*value).into());
                0
            }
            Parameter::Int(value) => {
                self.number(value.cast_unsigned());
                1
            }
            Parameter::Double(value) => {
                self.number(value.to_bits());
                2
            }
            Parameter::Text(value) => {
                self.text(value);
                3
            }
        };
        self.0.push(kind);
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::config::{InputConfig, OutputConfig};
    use nereid_core::{DataType, InferRequest, InputTensor, Shape};

    use super::*;

    const IDENTITY: ModelIdentity = ModelIdentity([7; 32]);

    /// Two optional inputs of any size and two outputs.
    fn config() -> ModelConfig {
        let input = |name: &str| InputConfig {
            name: name.into(),
            datatype: DataType::Uint8,
            dims: vec![-1, -1],
            reshape: None,
            optional: true,
            allow_ragged_batch: false,
            form: Default::default(),
        };
        let output = |name: &str| OutputConfig {
            name: name.into(),
            datatype: DataType::Uint8,
            dims: vec![-1],
            reshape: None,
            form: Default::default(),
        };
        ModelConfig {
            name: "m".into(),
            inputs: vec![input("A"), input("B")],
            outputs: vec![output("X"), output("Y")],
            ..Default::default()
        }
    }

    fn request(
        inputs: &[(&str, &[i64], &[u8])],
        outputs: &[&str],
        parameters: &[(&str, Parameter)],
    ) -> CacheKey {
        let inputs = inputs.iter().map(|(name, shape, data)| InputTensor {
            name: (*name).into(),
            datatype: DataType::Uint8,
            shape: Shape::from_slice(shape),
            data: data.to_vec().into(),
        });
        let request = InferRequest {
            inputs: inputs.collect(),
            outputs: outputs.iter().map(|name| (*name).into()).collect(),
            parameters: parameters.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            ..Default::default()
        };
        of(&IDENTITY, &config(), &ValidRequest::new(request, &config()).unwrap())
    }

    #[test]
    fn whatever_an_answer_may_depend_on_makes_another_key() {
        let text = |text: &str| Parameter::Text(text.into());
        let keys = [
            request(&[("A", &[2, 2], b"abcd")], &[], &[]),
            request(&[("A", &[2, 2], b"abce")], &[], &[]),
            request(&[("A", &[4, 1], b"abcd")], &[], &[]),
            request(&[("A", &[1, 4], b"abcd")], &[], &[]),
            request(&[("B", &[2, 2], b"abcd")], &[], &[]),
            request(&[("A", &[1, 2], b"ab"), ("B", &[1, 2], b"cd")], &[], &[]),
            request(&[("A", &[1, 1], b"a"), ("B", &[1, 3], b"bcd")], &[], &[]),
            request(&[("A", &[1, 0], b""), ("B", &[1, 4], b"abcd")], &[], &[]),
            request(&[("A", &[2, 2], b"abcd")], &["X"], &[]),
            request(&[("A", &[2, 2], b"abcd")], &["Y"], &[]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("p", Parameter::Int(1))]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("p", Parameter::Int(2))]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("p", Parameter::Bool(true))]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("p", Parameter::Double(f64::from_bits(1)))]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("p", text("1"))]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("p", text("1")), ("q", text(""))]),
            request(&[("A", &[2, 2], b"abcd")], &[], &[("q", text("")), ("p", text("1"))]),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(at));
        }
    }

    #[test]
    fn what_makes_no_difference_makes_none() {
        let all = request(&[("A", &[1, 1], b"a"), ("B", &[1, 1], b"b")], &[], &[]);
        assert_eq!(request(&[("B", &[1, 1], b"b"), ("A", &[1, 1], b"a")], &[], &[]), all);
        assert_eq!(request(&[("A", &[1, 1], b"a"), ("B", &[1, 1], b"b")], &["Y", "X"], &[]), all);
        let sent = InferRequest { id: "7".into(), priority: 1, timeout_us: 9, ..Default::default() };
        let key = |request| of(&IDENTITY, &config(), &ValidRequest::new(request, &config()).unwrap());
        assert_eq!(key(sent), key(InferRequest::default()));
    }

    #[test]
    fn another_model_has_other_keys() {
        let key = |identity| {
            let request = ValidRequest::new(InferRequest::default(), &config()).unwrap();
            of(&ModelIdentity(identity), &config(), &request)
        };
        assert_ne!(key([7; 32]), key([8; 32]));
    }
}
