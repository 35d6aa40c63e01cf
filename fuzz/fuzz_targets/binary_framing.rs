//! Where the JSON ends and which bytes behind it belong to which input, against a plain account of the same.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nereid_protocol::rest::{self, InputData};

#[derive(Debug, Arbitrary)]
struct Body<'a> {
    /// Of `Inference-Header-Content-Length`.
    header: &'a str,
    content_length: u32,
    sizes: Vec<Size>,
    binary: &'a [u8],
}

#[derive(Debug, Arbitrary)]
enum Size {
    Small(u8),
    Any(u64),
    Negative(i64),
    Rest,
}

fuzz_target!(|body: Body| {
    header(body.header, body.content_length as usize);
    header(&body.content_length.to_string(), body.content_length as usize);
    framing(&body.sizes, body.binary);
});

fn header(value: &str, content_length: usize) {
    let found = rest::header_length(value, content_length);
    let text = value.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let digits = unsigned[..end].trim_start_matches('0');
    let length = match digits {
        _ if end == 0 => None,
        "" => Some(0),
        _ if text.starts_with('-') => None,
        digits => digits.parse().ok().filter(|length| *length <= content_length && *length <= 0x7fff_ffff),
    };
    assert_eq!(found.ok(), length, "{value:?} of {content_length}");
}

fn framing(sizes: &[Size], binary: &[u8]) {
    let mut left = Some(binary);
    let mut parts = Vec::new();
    let mut inputs = Vec::new();
    for size in sizes {
        let size = match size {
            Size::Small(size) => i128::from(*size),
            Size::Any(size) => i128::from(*size),
            Size::Negative(size) => i128::from(*size),
            Size::Rest => left.map_or(0, <[u8]>::len) as i128,
        };
        inputs.push(format!(
            r#"{{"name":"a","datatype":"UINT8","shape":[1],"parameters":{{"binary_data_size":{size}}}}}"#
        ));
        let cut = usize::try_from(size).ok().and_then(|size| left?.split_at_checked(size));
        parts.extend(cut.map(|(part, _)| part));
        left = cut.map(|(_, rest)| rest);
    }
    let json = format!(r#"{{"inputs":[{}]}}"#, inputs.join(","));
    let body = Bytes::from([json.as_bytes(), binary].concat());
    let request = rest::parse_request(&body, Some(json.len()), "m", usize::MAX);
    assert_eq!(request.is_ok(), left == Some(&[]), "{request:?}");
    let Ok(request) = request else { return };
    assert_eq!(request.inputs.len(), parts.len());
    for (input, part) in request.inputs.iter().zip(parts) {
        let InputData::Bytes(data) = &input.data else { panic!("{input:?}") };
        assert_eq!(data, part);
        let inside = body.as_ptr_range();
        assert!(data.is_empty() || inside.contains(&data.as_ptr()), "a binary tensor was copied");
    }
}
