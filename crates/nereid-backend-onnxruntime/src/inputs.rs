//! Binds the inputs of a batch: a batch of one straight over the request's bytes, larger ones over a
//! buffer that is gathered once and reused. The buffer also takes what lies at an odd address, where that
//! matters. Inputs that tell about the batch are made in buffers of their own.

use std::ffi::c_char;

use nereid_core::batch::{Batch, Gathered, batch_input, concat, gathered_shape};
use nereid_core::{DataType, Result, ValidInput};
use ort::sys::ONNXTensorElementDataType;

use crate::plan::{InputPlan, Plan};
use crate::raw::{MemoryInfo, Value};
use crate::runtime::Runtime;
use crate::strings;

/// Inputs of the execution at hand, in the form `Run` takes. Cleared before the batch goes away.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// Point into the plan.
    pub(crate) names: Vec<*const c_char>,
    pub(crate) values: Vec<Value>,
    /// One per input of the plan; holds what several requests were joined to, or what one was moved to.
    gathered: Vec<Vec<u8>>,
    /// One per batch input of the plan.
    made: Vec<Vec<u8>>,
    pub(crate) borrowed: Borrowed,
}

/// Host memory that values borrow.
#[derive(Debug, Default)]
pub(crate) struct Borrowed(Vec<(usize, usize)>);

impl Borrowed {
    fn push(&mut self, data: &[u8]) {
        self.0.push((data.as_ptr().addr(), data.len()));
    }

    /// Whether memory at `address` is part of a bound input.
    pub(crate) fn contain(&self, address: usize) -> bool {
        self.0.iter().any(|(start, length)| (*start..start + length).contains(&address))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Inputs {
    pub(crate) fn new(plan: &Plan) -> Self {
        let count =
            plan.inputs.len() + plan.batch_inputs.iter().map(|input| input.targets.len()).sum::<usize>();
        Self {
            names: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
            gathered: plan.inputs.iter().map(|_| Vec::new()).collect(),
            made: plan.batch_inputs.iter().map(|_| Vec::new()).collect(),
            borrowed: Borrowed(Vec::with_capacity(count)),
        }
    }

    /// Makes a value for each input that the batch has. The values borrow from the batch and from `self`
    /// without the compiler's knowledge: call [`Self::clear`] before either goes away.
    ///
    /// # Errors
    /// The requests do not go together, or ONNX Runtime refuses a value.
    pub(crate) fn bind(&mut self, runtime: &Runtime, plan: &Plan, batch: &Batch<'_>) -> Result<()> {
        self.clear();
        for (input, buffer) in plan.inputs.iter().zip(&mut self.gathered) {
            let Some(tensor) = host_tensor(batch, input, buffer)? else { continue };
            // SAFETY: the caller clears the values before the batch goes away; `gathered` is only touched again by
            // the next call, after its values are gone.
            let value = unsafe { host_value(runtime, input, &tensor, &mut self.borrowed) }?;
            self.names.push(input.name.as_ptr());
            self.values.push(value);
        }
        for (input, buffer) in plan.batch_inputs.iter().zip(&mut self.made) {
            let shape = batch_input(batch, &batch.config().batch_inputs[input.index], buffer)?;
            for target in &input.targets {
                // SAFETY: as above, with `made` in place of `gathered`; nobody writes to what targets share.
                let value =
                    unsafe { borrow(runtime, buffer.as_mut_ptr(), buffer.len(), &shape, input.element) }?;
                self.borrowed.push(buffer);
                self.names.push(target.as_ptr());
                self.values.push(value);
            }
        }
        Ok(())
    }

    /// Releases the values.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.names.clear();
        self.borrowed.clear();
    }
}

/// `input` of the whole batch in host memory, from `buffer` where it does not lie well in the only request. `None` when the
/// requests leave it out.
///
/// # Errors
/// The requests do not go together.
pub(crate) fn host_tensor<'a>(
    batch: &Batch<'a>,
    input: &InputPlan,
    buffer: &'a mut Vec<u8>,
) -> Result<Option<Gathered<'a>>> {
    let Some(tensor) = misplaced(batch, input) else { return concat(batch, input.index, buffer) };
    buffer.clear();
    buffer.extend_from_slice(&tensor.data);
    let shape = gathered_shape(batch, input.index)?.unwrap_or_default();
    Ok(Some(Gathered { shape, data: buffer }))
}

/// A value of `tensor`, which is the `input`: over its memory, which is added to `borrowed`, or with its strings.
///
/// # Errors
/// ONNX Runtime refuses it.
///
/// # Safety
/// The data stays where it is while the value lives.
pub(crate) unsafe fn host_value(
    runtime: &Runtime,
    input: &InputPlan,
    tensor: &Gathered<'_>,
    borrowed: &mut Borrowed,
) -> Result<Value> {
    let shape: &[i64] = if input.scalar { &[] } else { &tensor.shape };
    if input.datatype == DataType::Bytes {
        return strings::to_value(runtime, tensor.data, shape);
    }
    borrowed.push(tensor.data);
    let (start, length) = (tensor.data.as_ptr().cast_mut(), tensor.data.len());
    // SAFETY: the caller promises it, and nobody writes to an input.
    unsafe { borrow(runtime, start, length, shape, input.element) }
}

/// The only request's `input`, if its address is no multiple of the element's size: data follows names and
/// numbers in a message at any address. x86-64 reads it all the same, elsewhere an operator may fault; an
/// allocation of its own is aligned.
fn misplaced<'a>(batch: &Batch<'a>, input: &InputPlan) -> Option<&'a ValidInput> {
    if cfg!(target_arch = "x86_64") {
        return None;
    }
    let [request] = batch.requests() else { return None };
    let tensor = request.input(input.index)?;
    (!is_aligned(&tensor.data, input.datatype)).then_some(tensor)
}

fn is_aligned(data: &[u8], datatype: DataType) -> bool {
    datatype.size_bytes().is_none_or(|size| data.as_ptr().addr().is_multiple_of(size))
}

/// A tensor over memory that ONNX Runtime does not own.
///
/// # Safety
/// `data` has `length` bytes, and they stay where they are while the value lives: readable for an input,
/// writable and used by nobody else for an output.
#[inline]
pub(crate) unsafe fn borrow(
    runtime: &Runtime,
    data: *mut u8,
    length: usize,
    shape: &[i64],
    element: ONNXTensorElementDataType,
) -> Result<Value> {
    // SAFETY: the caller promises it.
    unsafe { borrow_in(runtime, &runtime.cpu, data, length, shape, element) }
}

/// As [`borrow`], in the memory that `memory` says; `data` is an address there.
///
/// # Safety
/// As for [`borrow`].
#[inline]
pub(crate) unsafe fn borrow_in(
    runtime: &Runtime,
    memory: &MemoryInfo,
    data: *mut u8,
    length: usize,
    shape: &[i64],
    element: ONNXTensorElementDataType,
) -> Result<Value> {
    Value::create(|out| {
        let (create, memory) = (runtime.api.CreateTensorWithDataAsOrtValue, memory.as_ptr());
        // SAFETY: the memory info lives during the call; the caller vouches for the data, and ONNX Runtime checks that
        // its length fits the shape.
        unsafe { create(memory, data.cast(), length, shape.as_ptr(), shape.len(), element, out) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_is_by_element() {
        let memory = [0_u64; 2];
        // SAFETY: the bytes of the array, which lives.
        let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<u8>(), 16) };
        for (offset, datatype, expected) in [
            (0, DataType::Fp64, true),
            (4, DataType::Fp64, false),
            (4, DataType::Fp32, true),
            (2, DataType::Int64, false),
            (2, DataType::Fp16, true),
            (1, DataType::Bf16, false),
            (1, DataType::Bool, true),
            (1, DataType::Bytes, true),
        ] {
            assert_eq!(is_aligned(&bytes[offset..], datatype), expected, "{offset} {datatype}");
        }
    }
}
