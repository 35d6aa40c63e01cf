//! The classification extension: the top-k elements of an output as strings `value:index[:label]`.
//!
//! Triton's `classification.cc`: values print with six decimals, ties fall in an unspecified order,
//! and at most a million elements are looked at.

use std::cmp::Ordering;
use std::fmt::Write;

use bytes::BytesMut;
use nereid_core::{DataType, Error, ModelConfig, OutputTensor, Result, Shape, string_tensor};
use nereid_repository::Labels;

const MOST_ELEMENTS: usize = 1_000_000;

/// The `count` largest elements of each row of `output`; without a batch dimension there is one row. The
/// result is BYTES of shape `[rows?, min(count, n)]`.
///
/// # Errors
/// `InvalidArg` for element types without an order on the wire, and for more than a million elements.
pub(crate) fn classify(
    output: &OutputTensor,
    count: usize,
    config: &ModelConfig,
    labels: &Labels,
) -> Result<OutputTensor> {
    let batches = config.batches();
    let labelled = config.output_index(&output.name);
    let rows = if batches { output.shape.first().copied().unwrap_or(1).max(0) } else { 1 };
    let row_bytes = match usize::try_from(rows) {
        Ok(rows) if rows > 0 => output.data.len() / rows,
        _ => 0,
    };
    let element = Element::of(output.datatype)?;
    let elements = row_bytes / element.size;
    if elements > MOST_ELEMENTS {
        return Err(Error::invalid_arg("classification output tensor too large"));
    }
    let count = count.min(elements);
    let mut data = BytesMut::new();
    if count > 0 {
        for row in output.data.chunks_exact(row_bytes) {
            top(row, &element, count, |index, text| {
                if let Some(label) = labelled.and_then(|output| labels.get(output, index)) {
                    text.push(':');
                    text.push_str(label);
                }
                string_tensor::push(&mut data, text.as_bytes());
            });
        }
    }
    let mut shape = Shape::new();
    if batches {
        shape.push(rows);
    }
    shape.push(count as i64);
    Ok(OutputTensor { name: output.name.clone(), datatype: DataType::Bytes, shape, data: data.freeze() })
}

/// How to compare and print elements of one type.
struct Element {
    size: usize,
    compare: fn(&[u8], &[u8]) -> Ordering,
    print: fn(&[u8], &mut String),
}

macro_rules! element {
    ($type:ty, $format:expr, $order:expr) => {
        Element {
            size: size_of::<$type>(),
            compare: |a, b| $order(&<$type>::from_le_bytes(array(b)), &<$type>::from_le_bytes(array(a))),
            print: |bytes, text| {
                let _ = $format(text, <$type>::from_le_bytes(array(bytes))); // writing to a String does not fail
            },
        }
    };
    ($type:ident) => {
        element!($type, |text: &mut String, value| write!(text, "{value}"), $type::cmp)
    };
    ($type:ident, float) => {
        element!(
            $type,
            |text: &mut String, value: $type| match value.is_nan() {
                true => write!(text, "nan"), // as C prints it
                false => write!(text, "{value:.6}"),
            },
            // A total order, or sorting may panic: NaN counts as the smallest.
            |a: &$type, b: &$type| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b))
        )
    };
}

impl Element {
    fn of(datatype: DataType) -> Result<Self> {
        Ok(match datatype {
            DataType::Uint8 => element!(u8),
            DataType::Uint16 => element!(u16),
            DataType::Uint32 => element!(u32),
            DataType::Uint64 => element!(u64),
            DataType::Int8 => element!(i8),
            DataType::Int16 => element!(i16),
            DataType::Int32 => element!(i32),
            DataType::Int64 => element!(i64),
            DataType::Fp32 => element!(f32, float),
            DataType::Fp64 => element!(f64, float),
            DataType::Bool | DataType::Fp16 | DataType::Bf16 | DataType::Bytes => {
                return Err(Error::invalid_arg(format!(
                    "class result not available for output due to unsupported type '{datatype}'"
                )));
            }
        })
    }
}

/// The bytes of one element; rows are cut into whole elements before.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("rows are cut into elements of this size")
}

/// Calls `each` with index and `value:index` of the `count` largest elements of `row`, largest first.
fn top(row: &[u8], element: &Element, count: usize, mut each: impl FnMut(usize, &mut String)) {
    let at = |i: usize| &row[i * element.size..(i + 1) * element.size];
    let order = |a: &usize, b: &usize| (element.compare)(at(*a), at(*b)).then(a.cmp(b));
    let mut indices: Vec<usize> = (0..row.len() / element.size).collect();
    if count < indices.len() {
        indices.select_nth_unstable_by(count - 1, order);
        indices.truncate(count);
    }
    indices.sort_unstable_by(order);
    let mut text = String::new();
    for index in indices {
        text.clear();
        (element.print)(at(index), &mut text);
        let _ = write!(text, ":{index}");
        each(index, &mut text);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nereid_core::testing::identity_config;

    use super::*;

    fn strings(data: &Bytes) -> Vec<String> {
        string_tensor::elements(data).map(|e| String::from_utf8(e.unwrap().to_vec()).unwrap()).collect()
    }

    fn output(datatype: DataType, shape: &[i64], data: Vec<u8>) -> OutputTensor {
        OutputTensor { name: "o".into(), datatype, shape: Shape::from_slice(shape), data: Bytes::from(data) }
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn top_k_per_row() {
        let input = output(DataType::Fp32, &[2, 3], floats(&[0.5, 2.0, -1.0, 3.25, 1e-7, 3.5]));
        let classes = classify(&input, 2, &identity_config(8), &Labels::default()).unwrap();
        assert_eq!(classes.shape[..], [2, 2]);
        assert_eq!(strings(&classes.data), ["2.000000:1", "0.500000:0", "3.500000:2", "3.250000:0"]);
        let all = classify(&input, 99, &identity_config(0), &Labels::default()).unwrap();
        assert_eq!(all.shape[..], [6]);
        let ints =
            output(DataType::Int64, &[3], [5_i64, -7, 9].iter().flat_map(|v| v.to_le_bytes()).collect());
        assert_eq!(
            strings(&classify(&ints, 3, &identity_config(0), &Labels::default()).unwrap().data),
            ["9:2", "5:0", "-7:1"]
        );
    }

    #[test]
    fn odd_outputs() {
        let nan = output(DataType::Fp32, &[2], floats(&[f32::NAN, 1.0]));
        let classes = classify(&nan, 2, &identity_config(0), &Labels::default()).unwrap();
        assert_eq!(strings(&classes.data), ["1.000000:1", "nan:0"], "NaN counts as the smallest");
        let empty =
            classify(&output(DataType::Fp32, &[1, 0], vec![]), 3, &identity_config(8), &Labels::default())
                .unwrap();
        assert_eq!((&empty.shape[..], empty.data.len()), (&[1, 0][..], 0));
        let huge = output(DataType::Uint8, &[1_000_001], vec![0; 1_000_001]);
        let error = classify(&huge, 1, &identity_config(0), &Labels::default()).unwrap_err();
        assert_eq!(error.message(), "classification output tensor too large");
        let bytes = output(DataType::Bytes, &[0], vec![]);
        assert!(
            classify(&bytes, 1, &identity_config(0), &Labels::default())
                .unwrap_err()
                .message()
                .ends_with("type 'BYTES'")
        );
    }
}
