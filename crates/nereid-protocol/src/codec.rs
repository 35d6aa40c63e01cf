//! The codec of the gRPC services: prost's, behind a look at how many fields a message has.
//!
//! An empty input takes 2 bytes on the wire and a hundred in memory, so that a message of the allowed size could ask
//! for a hundred gigabytes. Only the outermost fields are counted: inside them the worst is a list of empty
//! strings, sixteen times what was sent.

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Most fields of one message, counting each element of a list.
pub const MAX_FIELDS: usize = 1 << 18;
/// A field takes this on the wire at least.
const LEAST_FIELD_BYTES: usize = 2;

/// Messages as prost encodes and decodes them, up to [`MAX_FIELDS`].
#[derive(Debug)]
pub struct BoundedCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::new())
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

/// The receiving half of [`BoundedCodec`].
#[derive(Debug)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        use bytes::Buf;

        // tonic has the whole message in one piece.
        if source.remaining() > MAX_FIELDS * LEAST_FIELD_BYTES && has_too_many_fields(source.chunk()) {
            return Err(Status::invalid_argument(format!(
                "a message of more than {MAX_FIELDS} fields is not read"
            )));
        }
        self.0.decode(source)
    }
}

/// Walks over the fields of an encoded message. Where the encoding is broken it stops: prost will stop there as well,
/// and says why.
fn has_too_many_fields(mut message: &[u8]) -> bool {
    for _ in 0..=MAX_FIELDS {
        let Some(rest) = behind_field(message) else { return false };
        message = rest;
    }
    true
}

fn behind_field(mut message: &[u8]) -> Option<&[u8]> {
    let number = |message: &mut &[u8]| prost::decode_length_delimiter(message).ok();
    let key = number(&mut message)?;
    let size = match key & 7 {
        0 => number(&mut message).map(|_| 0),
        1 => Some(8),
        2 => number(&mut message),
        3 | 4 => Some(0), // a group: its fields are counted as if they stood outside
        5 => Some(4),
        _ => None,
    };
    message.get(size?..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ModelInferRequest;

    #[track_caller]
    fn check(field: &[u8]) {
        let message = field.repeat(MAX_FIELDS);
        assert!(!has_too_many_fields(&message));
        assert!(has_too_many_fields(&[&message, field].concat()));
        assert!(!has_too_many_fields(&[&message, &[0xff][..]].concat()), "broken, not long");
    }

    #[test]
    fn every_kind_of_field_is_counted() {
        check(b"\x2a\x00"); // an empty input
        check(b"\x3a\x03abc"); // raw contents
        check(b"\x80\x01\xff\x01"); // a varint of a tag that we do not know
        check(b"\x79\x00\x00\x00\x00\x00\x00\x00\x00");
        check(b"\x7d\x00\x00\x00\x00");
        check(b"\x7b");
        check(b"\x7c");
        let hidden = [b"\x7b\x7c".repeat(10), b"\x2a\x00".repeat(MAX_FIELDS)].concat();
        assert!(has_too_many_fields(&hidden), "behind a group");
    }

    #[test]
    fn what_is_short_is_never_refused() {
        let message = b"\x2a\x00".repeat(MAX_FIELDS);
        assert!(message.len() <= MAX_FIELDS * LEAST_FIELD_BYTES);
        assert_eq!(ModelInferRequest::decode(&message[..]).unwrap().inputs.len(), MAX_FIELDS);
    }
}
