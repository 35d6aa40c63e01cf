//! Where the tensors of a batch lie in one piece of memory. Pure: the same sizes always give the same places, which is
//! what lets a captured CUDA graph find them again.

/// What kernels may expect addresses of tensors to be a multiple of, in bytes. Tensors that lie elsewhere are copied.
pub const ALIGNMENT: usize = 256;

/// Places of tensors, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    offsets: Vec<usize>,
    end: usize,
}

impl Places {
    /// Adds a tensor, and gives the byte at which it starts. One of no bytes has a place of its own as well, since kernels
    /// may want an address. `None`: no memory could hold all.
    pub fn push(&mut self, byte_size: usize) -> Option<usize> {
        let offset = self.byte_size();
        let end = offset.checked_add(byte_size.max(1))?;
        self.end = isize::try_from(end.checked_next_multiple_of(ALIGNMENT)?).ok().map(|_| end)?;
        self.offsets.push(offset);
        Some(offset)
    }

    /// Where the tensor lies that was added as number `position`.
    pub fn offset(&self, position: usize) -> usize {
        self.offsets[position]
    }

    /// Bytes of all, a multiple of [`ALIGNMENT`].
    pub fn byte_size(&self) -> usize {
        self.end.next_multiple_of(ALIGNMENT)
    }

    /// The byte behind the last tensor.
    pub fn end(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(sizes: &[usize]) -> Option<Places> {
        let mut places = Places::default();
        sizes.iter().try_for_each(|size| places.push(*size).map(drop))?;
        Some(places)
    }

    #[test]
    fn offsets() {
        let check = |sizes: &[usize], offsets: &[usize], byte_size: usize| {
            let places = places(sizes).unwrap();
            assert_eq!((&places.offsets[..], places.byte_size()), (offsets, byte_size), "{sizes:?}");
            let last = offsets.last().zip(sizes.last()).map_or(0, |(offset, size)| offset + size.max(&1));
            assert_eq!(places.end(), last, "{sizes:?}");
        };
        check(&[], &[], 0);
        check(&[1], &[0], 256);
        check(&[256, 257, 3], &[0, 256, 768], 1024);
        check(&[0, 0, 4], &[0, 256, 512], 768);
        assert_eq!(places(&[usize::MAX]), None);
        assert_eq!(places(&[usize::MAX / 2]), None);
        assert_eq!(places(&[usize::MAX / 2 - 600, 700]), None);
    }
}
