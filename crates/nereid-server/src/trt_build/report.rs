//! The table of what was built.

use nereid_tensorrt::builder::{BuildProfile, NetworkTensor};

use super::shapes::written;

/// Inputs and outputs, with the shapes of the profile.
pub(super) fn table(
    inputs: &[NetworkTensor],
    outputs: &[NetworkTensor],
    profile: Option<&BuildProfile>,
) -> String {
    let mut rows = vec![["", "name", "datatype", "shape", "min", "opt", "max"].map(str::to_owned)];
    for (direction, tensors) in [("input", inputs), ("output", outputs)] {
        for tensor in tensors {
            let shapes =
                profile.and_then(|profile| profile.inputs.iter().find(|input| input.name == tensor.name));
            let [min, opt, max] = match shapes {
                Some(shapes) => [&shapes.min, &shapes.opt, &shapes.max].map(|shape| written(shape)),
                None => [const { String::new() }; 3],
            };
            let (name, datatype) = (tensor.name.clone(), tensor.datatype.name().to_owned());
            rows.push([direction.to_owned(), name, datatype, written(&tensor.shape), min, opt, max]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}
