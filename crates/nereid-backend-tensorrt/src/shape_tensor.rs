//! Tensors whose values are sizes of other tensors: an engine reads and writes them in host memory, once for a whole batch.
//!
//! In a model that batches, the engine's tensor has one value more than the client's, the first: the rows of the batch.

use bytes::Bytes;
use nereid_core::batch::Batch;
use nereid_core::shape::element_count;
use nereid_core::{DataType, Error, OutputTensor, Result, Shape};
use nereid_cuda::staging::ALIGNMENT;
use smallvec::SmallVec;

use crate::plan::TensorPlan;

/// Values of a shape tensor.
pub(crate) type Values = SmallVec<[i64; 8]>;

/// Whether the engine reads or writes `tensor` in host memory.
pub(crate) fn is_on_host(tensor: &TensorPlan) -> bool {
    tensor.is_shape_tensor || tensor.on_host
}

/// The values of input `index` for `batch`. Requests of a batch have the same; the scheduler sees to that.
///
/// # Errors
/// The requests leave it out, or have it on a GPU, or it is of no type that sizes can have.
pub(crate) fn values(batch: &Batch<'_>, index: usize, datatype: DataType) -> Result<Values> {
    let name = || batch.config().all_inputs().nth(index).map_or("", |input| &input.name);
    let request = batch.requests().first().ok_or_else(|| Error::internal("empty batch"))?;
    let input = request.input(index).ok_or_else(|| {
        Error::invalid_arg(format!("{}unknown request input name {}", request.log_prefix(), name()))
    })?;
    if input.device.is_some() {
        return Err(Error::invalid_arg(format!(
            "shape tensor for input '{}' must be in single contiguous buffer on CPU",
            name()
        )));
    }
    let rows = batch.config().batches().then(|| i64::try_from(batch.size()).unwrap_or(i64::MAX));
    let size = width(datatype)
        .ok_or_else(|| Error::invalid_arg("Unsupported data type received for Shape tensor"))?;
    Ok(rows.into_iter().chain(input.data.chunks_exact(size).map(read)).collect())
}

/// Writes `values` into `memory` as elements of `datatype`.
///
/// # Errors
/// One does not fit.
pub(crate) fn write(values: &[i64], datatype: DataType, memory: &mut HostMemory) -> Result<()> {
    let size = width(datatype).unwrap_or(size_of::<i64>());
    memory.reserve(values.len().saturating_mul(size));
    for (value, to) in values.iter().zip(memory.bytes_mut().chunks_exact_mut(size)) {
        match datatype {
            DataType::Int32 => {
                let narrow = i32::try_from(*value)
                    .map_err(|_| Error::invalid_arg(format!("shape value {value} does not fit INT32")))?;
                to.copy_from_slice(&narrow.to_ne_bytes());
            }
            _ => to.copy_from_slice(&value.to_ne_bytes()),
        }
    }
    Ok(())
}

/// The output `name`, of which `memory` holds the values and `shape` is the engine's shape, as all rows of the batch see it.
///
/// # Errors
/// The first value is not the batch size, or there are fewer values than the shape says.
pub(crate) fn output(
    batch: &Batch<'_>,
    (name, datatype): (&std::sync::Arc<str>, DataType),
    shape: &[i64],
    memory: &HostMemory,
) -> Result<OutputTensor> {
    let failed =
        || Error::internal(format!("failed to retrieve the output shape values from binding '{name}'"));
    let size = width(datatype).ok_or_else(failed)?;
    let count = element_count(shape).ok_or_else(failed)?;
    let data = memory.bytes().get(..count.checked_mul(size).ok_or_else(failed)?).ok_or_else(failed)?;
    if !batch.config().batches() {
        let data = Bytes::copy_from_slice(data);
        return Ok(OutputTensor { name: name.clone(), datatype, shape: Shape::from_slice(shape), data });
    }
    // The first value is the batch size, and every row sees the others.
    let (first, others) = data.split_at_checked(size).ok_or_else(failed)?;
    if usize::try_from(read(first)) != Ok(batch.size()) {
        return Err(failed());
    }
    let per_row = i64::try_from(count - 1).map_err(|_| failed())?;
    let rows = i64::try_from(batch.size()).map_err(|_| failed())?;
    let data = others.repeat(batch.size());
    Ok(OutputTensor {
        name: name.clone(),
        datatype,
        shape: Shape::from_slice(&[rows, per_row]),
        data: data.into(),
    })
}

/// Bytes of an element, of the types that sizes can have.
pub(crate) fn width(datatype: DataType) -> Option<usize> {
    matches!(datatype, DataType::Int32 | DataType::Int64).then(|| datatype.size_bytes()).flatten()
}

fn read(element: &[u8]) -> i64 {
    match *element {
        [a, b, c, d] => i32::from_ne_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => i64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// Host memory at an address that TensorRT takes.
#[derive(Debug, Default)]
pub(crate) struct HostMemory {
    blocks: Vec<Block>,
    byte_size: usize,
}

#[derive(Debug, Clone)]
#[repr(C, align(256))]
struct Block([u8; ALIGNMENT]);

const _: () = assert!(align_of::<Block>() == ALIGNMENT);

impl HostMemory {
    /// Makes it `byte_size` bytes, which may lie elsewhere afterwards.
    pub(crate) fn reserve(&mut self, byte_size: usize) {
        let blocks = byte_size.div_ceil(ALIGNMENT).max(1);
        if self.blocks.len() < blocks {
            self.blocks.resize(blocks, Block([0; ALIGNMENT]));
        }
        self.byte_size = byte_size;
    }

    /// Where it is; it must have been reserved.
    pub(crate) fn address(&mut self) -> u64 {
        self.blocks.as_mut_ptr().expose_provenance() as u64
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the blocks are nothing but bytes, and there are at least `byte_size` of them.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.byte_size) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.byte_size) }
    }
}
