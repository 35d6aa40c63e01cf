//! Bytes as a BYTES tensor: the walk neither loses nor invents any, and a model gets only what is whole.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use nereid_core::string_tensor::{self, elements};
use nereid_core::{DataType, InferRequest, InputTensor, Shape, ValidRequest};
use nereid_fuzz::{assert_fits, config};

/// [`config`] of BYTES without a batch dimension.
const STRINGS: u8 = 12;

fuzz_target!(|data: &[u8]| {
    let whole: Result<Vec<_>, _> = elements(data).collect();
    let mut written = BytesMut::new();
    for element in elements(data).map_while(Result::ok) {
        string_tensor::push(&mut written, element);
    }
    assert!(data.starts_with(&written));
    assert_eq!(whole.is_ok(), written.len() == data.len());

    let config = config(STRINGS);
    let count = elements(data).count() as i64;
    for claimed in [count, count - 1, count + 1, 0, i64::MAX] {
        let input = InputTensor {
            name: "a".to_owned(),
            datatype: DataType::Bytes,
            shape: Shape::from_slice(&[claimed]),
            data: Bytes::copy_from_slice(data),
        };
        let request = InferRequest { inputs: vec![input], ..Default::default() };
        let accepted = ValidRequest::new(request, &config);
        assert_eq!(accepted.is_ok(), claimed == count && whole.is_ok(), "{claimed}: {accepted:?}");
        if let Ok(request) = accepted {
            assert_fits(&request, &config);
        }
    }
});
