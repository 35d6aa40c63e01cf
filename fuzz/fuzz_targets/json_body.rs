//! The body of an inference request over HTTP: two bytes that say where the JSON ends, one that chooses a config,
//! and the body.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nereid_fuzz::{MAX_INPUT_BYTES, assert_fits, config, rewrite};
use nereid_protocol::rest::{self, InputData, Request};
use nereid_server::http::fuzzing;

fuzz_target!(|data: &[u8]| {
    let Some(([low, high, choice], body)) = data.split_first_chunk() else { return };
    let body = Bytes::copy_from_slice(body);
    let header_length = match u16::from_le_bytes([*low, *high]) {
        0 => None,
        length => Some(usize::from(length)), // also one that is longer than the body
    };
    if let Ok(request) = rest::parse_request(&body, header_length, "m", MAX_INPUT_BYTES) {
        is_bounded(&request, body.len());
        reads_the_same_again(&request);
    }
    let config = config(*choice);
    for length in [header_length, Some(0)] {
        if let Ok(request) = fuzzing::decode(body.clone(), length, &config, MAX_INPUT_BYTES) {
            assert_fits(&request, &config);
        }
    }
});

/// A datum takes two characters and becomes eight bytes at most.
fn is_bounded(request: &Request, sent: usize) {
    let decoded = request.inputs.iter().map(|input| match &input.data {
        InputData::Bytes(data) => data.len(),
        InputData::SharedMemory(_) => 0,
    });
    assert!(decoded.sum::<usize>() <= sent * 4, "{sent} bytes became {request:?}");
}

fn reads_the_same_again(request: &Request) {
    let Some(again) = rewrite(request) else { return };
    let read = rest::parse_request(&again.body, Some(again.header_length), "m", usize::MAX);
    // As text, because NaN is not equal to itself.
    assert_eq!(format!("{read:?}"), format!("Ok({request:?})"), "{again:?}");
}
