//! Writing one buffer from several threads where the parts interleave (rows of a strided block), which
//! `par_chunks_mut` cannot express.
#![expect(unsafe_code, reason = "threads write disjoint, interleaved parts of one buffer")]

use super::matmul::{self, Matrix, Threads};
use std::marker::PhantomData;

/// A buffer of which each thread writes its own part.
pub(in crate::nn) struct Disjoint<'a> {
    start: *mut f32,
    len: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: the methods that touch the buffer are unsafe and demand that concurrent callers use disjoint parts.
unsafe impl Send for Disjoint<'_> {}
// SAFETY: as above.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    pub(in crate::nn) fn new(buffer: &'a mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// The room for `len` values that `buffer` is given: nothing has been written there yet. Zeros for large outputs would
    /// cost a pass over memory on one thread.
    pub(in crate::nn) fn of_room(buffer: &'a mut Vec<f32>, len: usize) -> Self {
        buffer.clear();
        buffer.reserve_exact(len);
        Self { start: buffer.spare_capacity_mut().as_mut_ptr().cast(), len, buffer: PhantomData }
    }

    /// Writes these values from `offset` on.
    ///
    /// # Safety
    /// Nobody else may touch what is written meanwhile.
    pub(in crate::nn) unsafe fn write(&self, offset: usize, values: impl ExactSizeIterator<Item = f32>) {
        assert!(offset + values.len() <= self.len);
        // No more than it said: the length is a promise that safe code may break.
        for (i, value) in (offset..self.len).zip(values) {
            // SAFETY: in bounds by the range; unaliased by the caller's promise.
            unsafe { self.start.add(i).write(value) }
        }
    }

    /// The `len` values from `offset`.
    ///
    /// # Safety
    /// No other reference to these values may exist while the result lives, and they must have been written before.
    #[expect(clippy::mut_from_ref, reason = "that is the point; see the safety contract")]
    pub(in crate::nn) unsafe fn part(&self, offset: usize, len: usize) -> &mut [f32] {
        assert!(offset + len <= self.len);
        // SAFETY: in bounds by the assertion; unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), len) }
    }

    /// `block = a b`, or `block += a b` where the block's rows begin at `offset` and lie `row_stride` apart.
    ///
    /// # Safety
    /// Nobody else may touch the block's values meanwhile.
    pub(in crate::nn) unsafe fn multiply(
        &self,
        offset: usize,
        row_stride: usize,
        accumulate: bool,
        a: Matrix<'_>,
        b: Matrix<'_>,
        threads: Threads,
    ) {
        let last = offset + (a.rows - 1) * row_stride + b.columns;
        assert!(a.rows > 0 && b.columns > 0 && last <= self.len);
        // SAFETY: the block is in bounds by the assertion; unaliased by the caller's promise.
        unsafe { matmul::multiply_raw(self.start.add(offset), row_stride, accumulate, 1.0, a, b, threads) }
    }
}
