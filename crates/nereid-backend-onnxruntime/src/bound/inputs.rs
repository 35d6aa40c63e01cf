//! Binds the inputs of a batch: gathered into device memory, or as they lie there; strings, and what the graph reads on the
//! CPU, in host memory.

use nereid_core::batch::{Batch, batch_input};
use nereid_core::{DataType, Result, ValidRequest};
use nereid_cuda::Stream;
use nereid_cuda::staging::{Area, gather, put};

use super::binding::Binding;
use crate::gpu::Gpu;
use crate::inputs::{Borrowed, borrow_in, host_tensor, host_value};
use crate::placement::Placement;
use crate::plan::Plan;
use crate::raw::Value;
use crate::runtime::Runtime;

/// Memory that an instance keeps for its inputs.
#[derive(Debug)]
pub(super) struct Inputs {
    /// One per input of the plan, then one per batch input.
    areas: Vec<Area>,
    /// As above, for those in host memory.
    on_host: Vec<Vec<u8>>,
    /// Host memory that is bound.
    pub(super) borrowed: Borrowed,
}

/// What binding needs besides the batch.
#[derive(Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) plan: &'a Plan,
    pub(super) placement: &'a Placement,
    pub(super) gpu: &'a Gpu,
    pub(super) stream: &'a Stream,
}

impl Inputs {
    pub(super) fn new(plan: &Plan, gpu: &Gpu, pinned: bool) -> Self {
        let count = plan.inputs.len() + plan.batch_inputs.len();
        let area = || Area::new(&gpu.device, pinned.then(|| gpu.pool.clone()));
        Self {
            areas: std::iter::repeat_with(area).take(count).collect(),
            on_host: vec![Vec::new(); count],
            borrowed: Borrowed::default(),
        }
    }

    /// Binds each input that the batch has. Copies to the device are under way when this returns. The bound values borrow
    /// from the batch and from `self` without the compiler's knowledge.
    ///
    /// # Errors
    /// The requests do not go together, the GPU has no memory left, or ONNX Runtime refuses a value.
    ///
    /// # Safety
    /// The batch stays, and this is not called again, until `binding` is cleared and the stream has been waited for, also
    /// after an error.
    pub(super) unsafe fn bind(
        &mut self,
        session: Session<'_>,
        binding: &mut Binding,
        batch: &Batch<'_>,
    ) -> Result<()> {
        let Session { runtime, plan, placement, gpu, stream } = session;
        let mut values: Vec<(_, Value)> = Vec::with_capacity(self.areas.len());
        self.borrowed.clear();
        let mut waits = false;
        let places = placement.inputs.iter().zip(self.areas.iter_mut().zip(&mut self.on_host));
        for (input, (on_device, (area, buffer))) in plan.inputs.iter().zip(places) {
            let has_slice = |r: &&_| ValidRequest::input(r, input.index).is_some_and(|i| i.device.is_some());
            if input.datatype == DataType::Bytes || !(*on_device || batch.requests().iter().any(has_slice)) {
                let Some(tensor) = host_tensor(batch, input, buffer)? else { continue };
                // SAFETY: the caller promises it.
                let value = unsafe { host_value(runtime, input, &tensor, &mut self.borrowed) }?;
                values.push((&input.name, value));
                continue;
            }
            // SAFETY: the stream is the GPU's, and the caller promises the rest.
            let Some(tensor) = (unsafe { gather(area, batch, input.index, true, stream) })? else { continue };
            let shape: &[i64] = if input.scalar { &[] } else { &tensor.shape };
            let (start, length) = (tensor.address as *mut u8, tensor.byte_size);
            // SAFETY: area and batch keep the memory, as the caller promises.
            let value = unsafe { borrow_in(runtime, &gpu.memory, start, length, shape, input.element) }?;
            values.push((&input.name, value));
            waits |= !on_device;
        }
        let first = plan.inputs.len();
        let places = self.areas[first..].iter_mut().zip(&mut self.on_host[first..]);
        let inputs = plan.batch_inputs.iter().zip(&placement.batch_inputs);
        for ((input, on_device), (area, buffer)) in inputs.zip(places) {
            let shape = batch_input(batch, &batch.config().batch_inputs[input.index], buffer)?;
            let (mut start, length, mut memory) = (buffer.as_mut_ptr(), buffer.len(), &runtime.cpu);
            if *on_device {
                // SAFETY: as above; the buffer is kept, too.
                start = unsafe { put(area, buffer, stream) }? as *mut u8;
                memory = &gpu.memory;
            }
            for target in &input.targets {
                // SAFETY: as above; nobody writes to what targets share.
                let value = unsafe { borrow_in(runtime, memory, start, length, &shape, input.element) }?;
                values.push((target, value));
            }
        }
        if waits {
            // ONNX Runtime copies such an input while it is bound, and does not know of the stream then.
            stream.synchronize()?;
        }
        values.iter().try_for_each(|(name, value)| binding.input(name, value))
    }
}
