//! Responses, byte by byte as Triton wrote them.

use bytes::Bytes;

use super::super::{
    Datatype, Encoding, ErrorKind, OutputView, Parameter, Response, error_body, write_response,
};

const EMPTY: Response<'_> =
    Response { id: "", model_name: "m", model_version: 1, parameters: &[], outputs: &[] };

fn data_of(datatype: Datatype, shape: &[i64], data: &[u8]) -> Result<Vec<u8>, super::Error> {
    let data = Bytes::copy_from_slice(data);
    let output = OutputView { name: "o", datatype, shape, data: &data, encoding: Some(Encoding::Json) };
    let body = write_response(&Response { outputs: &[output], ..EMPTY })?;
    assert!(body.binary.is_empty() && body.header_length().is_none());
    let text = body.json.strip_suffix(b"}]}").unwrap();
    let start = text.windows(7).position(|window| window == b"\"data\":").unwrap();
    Ok(text[start + 7..].to_vec())
}

#[track_caller]
fn check<const N: usize, T>(
    datatype: Datatype,
    values: &[T],
    to_bytes: impl Fn(&T) -> [u8; N],
    expected: &str,
) {
    let data: Vec<u8> = values.iter().flat_map(to_bytes).collect();
    let text = data_of(datatype, &[values.len() as i64], &data).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn binary_and_json_side_by_side() {
    let sum = Bytes::from_static(&[1, 0, 0, 0, 2, 0, 0, 0]);
    let difference = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let empty = Bytes::new();
    let view =
        |name, data, encoding| OutputView { name, datatype: Datatype::Int32, shape: &[1, 2], data, encoding };
    let body = write_response(&Response {
        id: "i\"d",
        model_name: "add_sub",
        model_version: 3,
        parameters: &[
            ("sequence_id".to_owned(), Parameter::Int(0)),
            ("b".to_owned(), Parameter::Bool(false)),
            ("d".to_owned(), Parameter::Double(1.0)),
            ("s".to_owned(), Parameter::Text("é".to_owned())),
        ],
        outputs: &[
            view("OUTPUT0", &sum, Some(Encoding::Binary)),
            view("OUTPUT1", &difference, Some(Encoding::Json)),
            view("OUTPUT2", &empty, Some(Encoding::Binary)),
            view("OUTPUT3", &empty, None),
        ],
    })
    .unwrap();
    let expected = concat!(
        r#"{"id":"i\"d","model_name":"add_sub","model_version":"3","#,
        r#""parameters":{"sequence_id":0,"b":false,"d":1.0,"s":"é"},"outputs":["#,
        r#"{"name":"OUTPUT0","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}},"#,
        r#"{"name":"OUTPUT1","datatype":"INT32","shape":[1,2],"data":[-1,0]},"#,
        r#"{"name":"OUTPUT2","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":0}},"#,
        r#"{"name":"OUTPUT3","datatype":"INT32","shape":[1,2]}]}"#,
    );
    assert_eq!(String::from_utf8_lossy(&body.json), expected);
    assert_eq!(body.binary.len(), 1);
    assert_eq!(body.binary[0].as_ptr(), sum.as_ptr(), "not copied");
    assert_eq!((body.header_length(), body.content_length()), (Some(expected.len()), expected.len() + 8));
}

#[test]
fn empty_binary_outputs_are_no_binary_data() {
    let empty = Bytes::new();
    let output = OutputView {
        name: "o",
        datatype: Datatype::Fp32,
        shape: &[1, 0],
        data: &empty,
        encoding: Some(Encoding::Binary),
    };
    let body = write_response(&Response { outputs: &[output], ..EMPTY }).unwrap();
    assert_eq!(body.header_length(), None);
    assert_eq!(
        &body.json[..],
        br#"{"model_name":"m","model_version":"1","outputs":[{"name":"o","datatype":"FP32","shape":[1,0],"parameters":{"binary_data_size":0}}]}"#
    );
}

#[test]
fn numbers() {
    check(Datatype::Bool, &[1_u8, 0, 2], |v| [*v], "[true,false,true]");
    check(Datatype::Uint8, &[0_u8, 255], |v| v.to_le_bytes(), "[0,255]");
    check(Datatype::Int8, &[-128_i8, 127], |v| v.to_le_bytes(), "[-128,127]");
    check(Datatype::Uint16, &[65535_u16], |v| v.to_le_bytes(), "[65535]");
    check(Datatype::Int16, &[-2_i16], |v| v.to_le_bytes(), "[-2]");
    check(Datatype::Uint32, &[u32::MAX], |v| v.to_le_bytes(), "[4294967295]");
    check(Datatype::Int32, &[i32::MIN], |v| v.to_le_bytes(), "[-2147483648]");
    check(Datatype::Uint64, &[u64::MAX], |v| v.to_le_bytes(), "[18446744073709551615]");
    check(Datatype::Int64, &[i64::MIN], |v| v.to_le_bytes(), "[-9223372036854775808]");
    check(Datatype::Fp32, &[1.5_f32, 0.1, 1.0], |v| v.to_le_bytes(), "[1.5,0.10000000149011612,1.0]");
    check::<4, f32>(Datatype::Fp32, &[], |v| v.to_le_bytes(), "[]");
}

/// The layout of RapidJSON: plain from 1e-6 to below 1e21, else with an exponent.
#[test]
fn doubles() {
    for (value, expected) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (-0.161_412_194_371_223_46, "-0.16141219437122346"),
        (-0.597_806_274_890_899_7, "-0.5978062748908997"),
        (0.41293638944625857, "0.41293638944625857"),
        (1e15, "1000000000000000.0"),
        (1e16, "10000000000000000.0"),
        (1.2345e18, "1234500000000000000.0"),
        (-123456789012345680000.0, "-123456789012345680000.0"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.5e300, "1.5e300"),
        (1e-5, "0.00001"),
        (1e-6, "0.000001"),
        (-1.25e-6, "-0.00000125"),
        (9.99e-7, "9.99e-7"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        check(Datatype::Fp64, &[value], |v| v.to_le_bytes(), &format!("[{expected}]"));
    }
}

#[test]
fn strings() {
    let element = |text: &[u8]| [&(text.len() as u32).to_le_bytes()[..], text].concat();
    let text = |elements: &[&[u8]]| {
        let data: Vec<u8> = elements.iter().flat_map(|text| element(text)).collect();
        data_of(Datatype::Bytes, &[elements.len() as i64], &data).unwrap()
    };
    assert_eq!(text(&[b"hello", b""]), br#"["hello",""]"#);
    assert_eq!(
        text(&["a\"\\/\n\t\r\u{8}\u{c}\u{1}\u{1f}\u{7f}é😀".as_bytes()]),
        "[\"a\\\"\\\\/\\n\\t\\r\\b\\f\\u0001\\u001F\u{7f}é😀\"]".as_bytes()
    );
    assert_eq!(text(&[b"a\0b"]), br#"["a\u0000b"]"#);
    assert_eq!(text(&[b"\xff\xfe"]), b"[\"\xff\xfe\"]", "not UTF-8, and sent as it is, like Triton does");
}

#[test]
fn what_cannot_be_written() {
    for (datatype, shape, data, kind, message) in [
        (
            Datatype::Fp16,
            &[1][..],
            &[0, 0][..],
            ErrorKind::InvalidArg,
            "sending FP16 data via JSON is not supported. Please use the binary data format for output",
        ),
        (
            Datatype::Bf16,
            &[1],
            &[0, 0],
            ErrorKind::InvalidArg,
            "sending BF16 data via JSON is not supported. Please use the binary data format for output",
        ),
        (
            Datatype::Fp32,
            &[2],
            &[0; 4],
            ErrorKind::Internal,
            "Failed to write 'data' field: output tensor shape does not match size of output for 'o'",
        ),
        (
            Datatype::Int16,
            &[1],
            &[0; 3],
            ErrorKind::Internal,
            "Failed to write 'data' field: output tensor shape does not match size of output for 'o'",
        ),
        (
            Datatype::Bytes,
            &[i64::MAX, 4],
            &[0; 4],
            ErrorKind::Internal,
            "output tensor shape does not match size of output for 'o'",
        ),
        (
            Datatype::Bytes,
            &[1],
            &[5, 0, 0, 0, b'x'],
            ErrorKind::Internal,
            "output tensor shape does not match size of output for 'o'",
        ),
    ] {
        let error = data_of(datatype, shape, data).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
    }
}

#[test]
fn errors() {
    assert_eq!(
        &error_body("model 'x': \"no\"\n\u{1}é")[..],
        "{\"error\":\"model 'x': \\\"no\\\"\\n\\u0001é\"}".as_bytes()
    );
}
