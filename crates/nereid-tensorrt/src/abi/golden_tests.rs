//! Every position that this crate uses, against the table that was made from NVIDIA's headers.

use super::{error_recorder, logger, output_allocator, slots};
use crate::version::{Family, Flavor};

const GOLDEN: &str = include_str!("../../tests/slots_golden.tsv");

#[derive(Debug)]
struct Row {
    slot: usize,
    /// Minor version.
    since: i32,
    signature: &'static str,
}

fn rows(family: &str, class: &str) -> Vec<Row> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split('\t');
            if fields.next() != Some(family) || fields.next() != Some(class) {
                return None;
            }
            let slot = fields.next().unwrap().parse().unwrap();
            let since = fields.next().unwrap().split('.').nth(1).unwrap().parse().unwrap();
            Some(Row { slot, since, signature: fields.next().unwrap() })
        })
        .collect()
}

/// The one method of `class` whose signature begins so after the class.
fn find(family: &str, class: &str, signature: &str) -> Option<Row> {
    let wanted = format!("{class}::{signature}");
    let whole = signature.ends_with([')', ']', 't']);
    let mut found: Vec<Row> = rows(family, class)
        .into_iter()
        .filter(|row| {
            row.signature.find(&wanted).is_some_and(|at| {
                let before = &row.signature[..at];
                let after = &row.signature[at + wanted.len()..];
                (before.is_empty() || before.ends_with([' ', '*', '&', ':']))
                    && (!whole || after.is_empty() || after == " const")
            })
        })
        .collect();
    assert!(found.len() <= 1, "{family} {wanted}: {found:?}");
    found.pop()
}

#[test]
fn every_method_that_is_called() {
    for (name, family) in [("V10", Family::V10), ("V11", Family::V11)] {
        let all = slots::all(family);
        assert!(all.len() > 60, "{}", all.len());
        for (class, signature, place) in all {
            // The parser's header is among TensorRT's from 10.14 on; it is older, and was only added to at the end.
            let since = |row: &Row| if class.starts_with("IParser") { 0 } else { row.since };
            let golden = find(name, class, signature).map(|row| (row.slot, since(&row)));
            assert_eq!(place, golden, "{name} {class}::{signature}");
        }
    }
}

/// TensorRT-RTX is called with the positions of TensorRT 11, but for one method.
#[test]
fn tensorrt_rtx_is_like_tensorrt_11() {
    for (class, signature, place) in slots::all(Family::V11) {
        let golden = find("RTX1_5", class, signature).map(|row| row.slot);
        if signature == "isShapeTensor() const" {
            assert_eq!(slots::RTX_IS_SHAPE_TENSOR.place().map(|(slot, _)| slot), golden);
        } else {
            assert_eq!(place.map(|(slot, _)| slot), golden, "{class}::{signature}");
        }
    }
}

#[test]
fn every_method_of_ours() {
    for (name, family, flavor) in [
        ("V10", Family::V10, Flavor::Full),
        ("V11", Family::V11, Flavor::Full),
        ("RTX1_5", Family::V11, Flavor::Rtx),
    ] {
        for (class, ours) in [
            ("ILogger", logger::golden(family)),
            ("IErrorRecorder", error_recorder::golden()),
            ("IOutputAllocator", output_allocator::golden(flavor)),
        ] {
            let golden = rows(name, class);
            assert_eq!(golden.len(), ours.len(), "{name} {class}");
            for row in golden {
                let position = ours.iter().find(|(signature, _)| row.signature.contains(signature));
                let (_, offset) = position.unwrap_or_else(|| panic!("{name} {row:?} is missing"));
                assert_eq!(offset / size_of::<usize>(), row.slot, "{name} {row:?}");
            }
        }
    }
}
