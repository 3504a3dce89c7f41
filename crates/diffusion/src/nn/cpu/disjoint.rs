//! Concurrent writes to one buffer where the parts of the threads interleave (rows of a strided block), which
//! `par_chunks_mut` cannot express.
#![expect(unsafe_code, reason = "threads write disjoint, interleaved parts of one buffer")]

use std::marker::PhantomData;

/// A mutable buffer that several threads write at once, each its own part.
pub(in crate::nn) struct DisjointMut<'a> {
    start: *mut f32,
    len: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: the methods that touch the buffer are unsafe and require concurrent callers to use disjoint parts.
unsafe impl Send for DisjointMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for DisjointMut<'_> {}

impl<'a> DisjointMut<'a> {
    pub(in crate::nn) fn new(buffer: &'a mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// Reserves `len` uninitialised values in `buffer`, whose length stays 0 until the caller sets it. Zeroing a large
    /// output would cost a pass over memory on one thread.
    pub(in crate::nn) fn uninitialised(buffer: &'a mut Vec<f32>, len: usize) -> Self {
        buffer.clear();
        buffer.reserve_exact(len);
        Self { start: buffer.spare_capacity_mut().as_mut_ptr().cast(), len, buffer: PhantomData }
    }

    /// Writes `values` from `offset` on.
    ///
    /// # Safety
    /// No other thread may access the written values at the same time.
    pub(in crate::nn) unsafe fn write(&self, offset: usize, values: impl ExactSizeIterator<Item = f32>) {
        assert!(offset + values.len() <= self.len);
        // The range bounds the loop, because safe code may return a wrong length from `ExactSizeIterator`.
        for (i, value) in (offset..self.len).zip(values) {
            // SAFETY: in bounds by the range; unaliased by the caller's promise.
            unsafe { self.start.add(i).write(value) }
        }
    }

    /// The `len` values from `offset` on.
    ///
    /// # Safety
    /// The values must be initialised, and no other reference to them may exist while the result lives.
    #[expect(clippy::mut_from_ref, reason = "the safety contract forbids aliasing")]
    pub(in crate::nn) unsafe fn part(&self, offset: usize, len: usize) -> &mut [f32] {
        // SAFETY: in bounds by the assertion in `pointer`; initialised and unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(offset, len), len) }
    }

    /// A pointer to the value at `offset`, from which `len` values are in bounds.
    pub(in crate::nn) fn pointer(&self, offset: usize, len: usize) -> *mut f32 {
        assert!(offset + len <= self.len);
        self.start.wrapping_add(offset)
    }
}
