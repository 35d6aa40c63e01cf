//! Makes the inputs that tell a model about its batch (`batch_input`), from shapes alone. Values and shapes are those
//! of Triton's backends (`ProcessBatchInput` in backend_input_collector.cc).

use crate::batch::Batch;
use crate::config::{BatchInput, BatchInputElement, BatchInputKind};
use crate::shape::{Dims, element_count};
use crate::{Error, Result, Shape, ValidInput, ValidRequest};

/// Makes `input` for `batch`: its shape, and its data in `buffer`, whose content goes.
///
/// # Errors
/// A request comes without the source, or with more elements than the tensor's type can count.
pub fn batch_input(batch: &Batch<'_>, input: &BatchInput, buffer: &mut Vec<u8>) -> Result<Shape> {
    buffer.clear();
    let mut made = Made { batch, input, data: buffer, length: 0 };
    match input.kind {
        BatchInputKind::ElementCount => made.element_counts()?,
        BatchInputKind::AccumulatedElementCount => made.accumulated_element_counts()?,
        BatchInputKind::AccumulatedElementCountWithZero => {
            made.push(0)?;
            made.accumulated_element_counts()?;
        }
        BatchInputKind::MaxElementCountAsShape => made.largest_element_count()?,
        BatchInputKind::ItemShapeFlatten => made.item_shapes()?,
        BatchInputKind::ItemShape => {
            made.item_shapes()?;
            let (rows, rank) = made.items()?;
            return Ok(Shape::from_slice(&[rows, rank]));
        }
    }
    Ok(Shape::from_slice(&[made.length]))
}

/// A tensor in the making.
struct Made<'a> {
    batch: &'a Batch<'a>,
    input: &'a BatchInput,
    data: &'a mut Vec<u8>,
    length: i64,
}

impl Made<'_> {
    fn element_counts(&mut self) -> Result<()> {
        for request in self.batch.requests() {
            self.push(self.elements(request)?)?;
        }
        Ok(())
    }

    fn accumulated_element_counts(&mut self) -> Result<()> {
        let mut sum = 0_i64;
        for request in self.batch.requests() {
            sum = sum.checked_add(self.elements(request)?).ok_or_else(|| self.too_many(i64::MAX))?;
            self.push(sum)?;
        }
        Ok(())
    }

    /// A tensor that is as long as the largest source has elements: no longer than what the client has sent.
    fn largest_element_count(&mut self) -> Result<()> {
        let mut largest = 0;
        for request in self.batch.requests() {
            largest = largest.max(self.elements(request)?);
        }
        let size = usize::try_from(largest).ok().and_then(|count| count.checked_mul(size_of::<f32>()));
        match size {
            Some(size) if self.data.try_reserve(size).is_ok() => self.data.resize(size, 0),
            _ => return Err(self.too_many(largest)),
        }
        self.length = largest;
        Ok(())
    }

    fn item_shapes(&mut self) -> Result<()> {
        for request in self.batch.requests() {
            let source = self.source(request)?;
            let (rows, dims) = split_rows(source);
            if !self.batch.config().batches() && rows > self.elements(request)? {
                // Nothing but this number says that there are so many.
                return Err(Error::invalid_arg(format!(
                    "unexpected total byte size for batch input: input '{}' has shape {}",
                    self.batch.config().inputs[self.input.source].name,
                    Dims(&source.shape)
                )));
            }
            for _ in 0..rows {
                dims.iter().try_for_each(|dim| self.push(*dim))?;
            }
        }
        Ok(())
    }

    /// Rows of the whole batch, and the dimensions of each.
    fn items(&self) -> Result<(i64, i64)> {
        let (mut rows, mut rank) = (0, 0);
        for request in self.batch.requests() {
            let (count, dims) = split_rows(self.source(request)?);
            rows += count;
            rank = dims.len() as i64;
        }
        Ok((rows, rank))
    }

    fn source<'r>(&self, request: &'r ValidRequest) -> Result<&'r ValidInput> {
        request.input(self.input.source).ok_or_else(|| {
            let name = &self.batch.config().inputs[self.input.source].name;
            Error::invalid_arg(format!("{}unknown request input name {name}", request.log_prefix()))
        })
    }

    fn elements(&self, request: &ValidRequest) -> Result<i64> {
        let count = element_count(&self.source(request)?.shape);
        count.and_then(|count| i64::try_from(count).ok()).ok_or_else(|| self.too_many(i64::MAX))
    }

    fn push(&mut self, value: i64) -> Result<()> {
        let bytes = match self.input.element {
            BatchInputElement::Fp32 => (value as f32).to_le_bytes(),
            BatchInputElement::Int32 => i32::try_from(value).map_err(|_| self.too_many(value))?.to_le_bytes(),
        };
        self.data.extend_from_slice(&bytes);
        self.length += 1;
        Ok(())
    }

    fn too_many(&self, value: i64) -> Error {
        let target = self.input.targets.first().map_or("", |name| &**name);
        Error::internal(format!("batch input '{target}' cannot hold {value}"))
    }
}

/// The first dimension, and the others.
fn split_rows(source: &ValidInput) -> (i64, &[i64]) {
    source.shape.split_first().map_or((0, &[]), |(rows, dims)| (*rows, dims))
}
