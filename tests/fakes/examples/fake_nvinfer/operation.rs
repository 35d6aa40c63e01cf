//! What plans compute: shapes, and the work itself, which goes into the caller's stream.

use std::ffi::c_void;
use std::time::Duration;

use super::context::{Context, Set};
use super::dims::{volume, written};
use super::log::{ERROR, FAILED_ALLOCATION, Log};
use super::output;
use super::plan::{Plan, Tensor};
use super::stream;

/// The shape of tensor `index`, as far as it is known before the execution.
pub fn shape(plan: &Plan, set: &Set, index: usize) -> Vec<i64> {
    let tensor = &plan.tensors[index];
    if tensor.is_input {
        return set.shapes[index].clone().unwrap_or_else(|| tensor.shape.clone());
    }
    let source = source(plan, index);
    match plan.operation.as_str() {
        "nonzero" | "shape" => tensor.shape.clone(),
        "reshape" | "fill" => values(plan, set, source).unwrap_or_else(|| tensor.shape.clone()),
        _ => filled(&tensor.shape, &shape(plan, set, source)),
    }
}

/// The largest shape that output `index` can have.
pub fn largest_shape(plan: &Plan, set: &Set, index: usize) -> Option<Vec<i64>> {
    let known = shape(plan, set, index);
    if volume(&known).is_some() {
        return Some(known);
    }
    let source = source(plan, index);
    let input = &plan.tensors[source];
    let profile = input.profiles.get(set.profile).map(|[_, _, max]| max.clone());
    let largest = set.shapes[source].clone().or(profile).unwrap_or_else(|| input.shape.clone());
    match plan.operation.as_str() {
        "nonzero" => Some(vec![known[0], volume(&largest)? as i64]),
        "reshape" | "fill" => input.values.get(set.profile).map(|[_, _, max]| max.clone()),
        _ => Some(filled(&known, &largest)).filter(|shape| volume(shape).is_some()),
    }
}

/// The input that the shape of output `index` depends on.
fn source(plan: &Plan, index: usize) -> usize {
    let inputs = plan.positions(true);
    let outputs = plan.positions(false);
    let number = outputs.iter().position(|output| *output == index).unwrap_or(0);
    match plan.operation.as_str() {
        "reshape" => inputs[1],
        "add_sub" | "fill" | "nonzero" | "shape" => inputs[0],
        _ => *inputs.get(number).unwrap_or(&inputs[0]),
    }
}

/// `shape` with what it leaves open from `other`.
fn filled(shape: &[i64], other: &[i64]) -> Vec<i64> {
    let size = |(position, size): (usize, &i64)| {
        if *size == -1 { *other.get(position).unwrap_or(&-1) } else { *size }
    };
    shape.iter().enumerate().map(size).collect()
}

/// The values of a shape tensor, if its address is known.
fn values(plan: &Plan, set: &Set, index: usize) -> Option<Vec<i64>> {
    let tensor = &plan.tensors[index];
    let address = set.addresses[index];
    let count = volume(&tensor.shape)?;
    if address == 0 || !tensor.is_host {
        return None;
    }
    Some((0..count).map(|position| read(address, tensor, position)).collect())
}

/// What is wrong with the values of shape tensors.
fn problem(plan: &Plan, set: &Set) -> Option<String> {
    for index in plan.positions(true) {
        let tensor = &plan.tensors[index];
        let (Some(values), Some([min, _, max])) = (values(plan, set, index), tensor.values.get(set.profile))
        else {
            continue;
        };
        let in_range =
            values.iter().zip(min.iter().zip(max)).all(|(value, (min, max))| (min..=max).contains(&value));
        if !in_range {
            return Some(format!(
                "Shape tensor {} has values {}, which do not satisfy profile {}: {}..{}.",
                tensor.name.to_string_lossy(),
                written(&values),
                set.profile,
                written(min),
                written(max)
            ));
        }
    }
    if plan.operation == "reshape" {
        let inputs = plan.positions(true);
        let data = shape(plan, set, inputs[0]);
        let wanted = values(plan, set, inputs[1])?;
        if volume(&data) != volume(&wanted) {
            let (data, wanted) = (written(&data), written(&wanted));
            return Some(format!("reshape would change volume: input dimensions {data} become {wanted}."));
        }
    }
    None
}

/// Writes output shape tensors whose address is known, or says what is wrong.
pub fn write_shape_tensors(plan: &Plan, set: &Set) -> Result<(), String> {
    if let Some(problem) = problem(plan, set) {
        return Err(problem);
    }
    for index in plan.positions(false) {
        let tensor = &plan.tensors[index];
        if tensor.is_shape_io && set.addresses[index] != 0 {
            for (position, size) in shape(plan, set, source(plan, index)).into_iter().enumerate() {
                write(set.addresses[index], tensor, position, size);
            }
        }
    }
    Ok(())
}

/// Puts the work into the stream. Outputs get their memory now.
pub fn enqueue(context: &Context, set: &Set, stream: *mut c_void) -> Result<(), String> {
    let plan = &context.plan;
    write_shape_tensors(plan, set)?;
    if plan.operation == "flood" {
        flood(&context.log, plan.argument);
    }
    let inputs = plan.positions(true);
    let mut outputs = Vec::new();
    let found = (plan.operation == "nonzero").then(|| nonzero(plan, set, inputs[0]));
    for index in plan.positions(false) {
        let tensor = &plan.tensors[index];
        let mut shape = shape(plan, set, index);
        if let Some(found) = &found {
            shape[1] = found.len() as i64;
        }
        let bytes = tensor.byte_size(&shape);
        let mut address = set.addresses[index];
        let allocator = set.allocators[index] as *mut c_void;
        if !allocator.is_null() {
            address =
                output::allocate(allocator, &tensor.name, address as *mut c_void, bytes, stream) as usize;
            if address == 0 {
                let name = tensor.name.to_string_lossy();
                let what = format!("IOutputAllocator returned nullptr for {name} and {bytes} bytes");
                context.log.error("IExecutionContext::enqueueV3", FAILED_ALLOCATION, "2: OutOfMemory", &what);
                return Err(what);
            }
            output::notify(allocator, &tensor.name, &shape);
        }
        outputs.push((index, address, bytes));
    }
    if let Some(found) = found {
        let (index, address, _) = outputs[0];
        for (position, coordinates) in found.iter().enumerate() {
            for (dimension, coordinate) in coordinates.iter().enumerate() {
                write(address, &plan.tensors[index], dimension * found.len() + position, *coordinate);
            }
        }
        return Ok(());
    }
    let work = work(context, set, &inputs, &outputs)?;
    stream::launch(stream, work).then_some(()).ok_or_else(|| "the stream is none".to_owned())
}

fn work(
    context: &Context,
    set: &Set,
    inputs: &[usize],
    outputs: &[(usize, usize, usize)],
) -> Result<Box<dyn Fn() + Send>, String> {
    let plan = std::sync::Arc::clone(&context.plan);
    let outputs = outputs.to_vec();
    match plan.operation.as_str() {
        "add_sub" => {
            let [(sum, sum_at, bytes), (difference, difference_at, _)] = outputs[..] else {
                return Err("add_sub has two outputs".to_owned());
            };
            let [left, right] = [inputs[0], inputs[1]].map(|input| (input, set.addresses[input]));
            let count = bytes * 8 / plan.tensors[sum].bits();
            Ok(Box::new(move || {
                for position in 0..count {
                    let a = element(left.1, &plan.tensors[left.0], position);
                    let b = element(right.1, &plan.tensors[right.0], position);
                    set_element(sum_at, &plan.tensors[sum], position, a + b);
                    set_element(difference_at, &plan.tensors[difference], position, a - b);
                }
            }))
        }
        "shape" => Ok(Box::new(|| ())), // it was written with the other shape tensors
        "fill" => Ok(Box::new(move || {
            let (index, address, bytes) = outputs[0];
            for position in 0..bytes / 4 {
                set_element(address, &plan.tensors[index], position, position as f64);
            }
        })),
        _ => {
            let pause = if plan.operation == "delay" { plan.argument as u64 } else { 0 };
            let pairs: Vec<(usize, usize, usize)> = outputs
                .iter()
                .enumerate()
                .map(|(number, (_, address, bytes))| {
                    let input = *inputs.get(number).unwrap_or(&inputs[0]);
                    let there = plan.tensors[input].byte_size(&shape(&plan, set, input));
                    (*address, set.addresses[input], (*bytes).min(there))
                })
                .collect();
            Ok(Box::new(move || {
                std::thread::sleep(Duration::from_millis(pause));
                for &(to, from, bytes) in &pairs {
                    // SAFETY: the caller promised so many bytes at both addresses.
                    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
                }
            }))
        }
    }
}

/// Where the input is not 0: a position in each dimension.
fn nonzero(plan: &Plan, set: &Set, input: usize) -> Vec<Vec<i64>> {
    let shape = shape(plan, set, input);
    let tensor = &plan.tensors[input];
    (0..volume(&shape).unwrap_or(0))
        .filter(|position| element(set.addresses[input], tensor, *position) != 0.0)
        .map(|position| {
            let mut rest = position as i64;
            let mut coordinates: Vec<i64> = shape
                .iter()
                .rev()
                .map(|size| {
                    let coordinate = rest % size;
                    rest /= size;
                    coordinate
                })
                .collect();
            coordinates.reverse();
            coordinates
        })
        .collect()
}

fn flood(log: &Log, lines: usize) {
    let log = log.clone();
    let flooding = std::thread::spawn(move || {
        for line in 0..lines {
            log.line(ERROR, &format!("line {line} of a flood"));
        }
    });
    flooding.join().expect("the caller's logger does not unwind");
}

fn element(address: usize, tensor: &Tensor, position: usize) -> f64 {
    if tensor.datatype == 0 {
        let place = (address as *const f32).wrapping_add(position);
        // SAFETY: the caller promised as many elements at the address.
        f64::from(unsafe { place.read_unaligned() })
    } else {
        read(address, tensor, position) as f64
    }
}

fn set_element(address: usize, tensor: &Tensor, position: usize, value: f64) {
    if tensor.datatype == 0 {
        let place = (address as *mut f32).wrapping_add(position);
        // SAFETY: the caller promised as many elements at the address.
        unsafe { place.write_unaligned(value as f32) };
    } else {
        write(address, tensor, position, value as i64);
    }
}

fn read(address: usize, tensor: &Tensor, position: usize) -> i64 {
    match tensor.datatype {
        8 => {
            let place = (address as *const i64).wrapping_add(position);
            // SAFETY: the caller promised as many elements at the address.
            unsafe { place.read_unaligned() }
        }
        3 => {
            let place = (address as *const i32).wrapping_add(position);
            // SAFETY: as above.
            i64::from(unsafe { place.read_unaligned() })
        }
        _ => {
            let place = (address as *const i8).wrapping_add(position);
            // SAFETY: as above.
            i64::from(unsafe { place.read() })
        }
    }
}

fn write(address: usize, tensor: &Tensor, position: usize, value: i64) {
    match tensor.datatype {
        8 => {
            let place = (address as *mut i64).wrapping_add(position);
            // SAFETY: the caller promised as many elements at the address.
            unsafe { place.write_unaligned(value) };
        }
        3 => {
            let place = (address as *mut i32).wrapping_add(position);
            // SAFETY: as above.
            unsafe { place.write_unaligned(value as i32) };
        }
        _ => {
            let place = (address as *mut i8).wrapping_add(position);
            // SAFETY: as above.
            unsafe { place.write(value as i8) };
        }
    }
}
