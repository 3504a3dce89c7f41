//! Matrix products, by the `gemm` crate.
#![expect(unsafe_code, reason = "gemm takes raw pointers; bounds are asserted here")]

use super::disjoint::Disjoint;
use gemm::Parallelism;
use rayon::prelude::*;

/// A view of a matrix: value (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another, `row_stride` apart.
    pub(super) fn with_stride(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(rows > 0 && columns > 0 && (rows - 1) * row_stride + columns <= data.len());
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Rows one after another without gaps.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_stride(data, rows, columns, columns)
    }

    /// Rows `from..to`.
    fn narrow_rows(self, from: usize, to: usize) -> Self {
        assert!(from < to && to <= self.rows);
        Self { data: &self.data[from * self.row_stride..], rows: to - from, ..self }
    }

    /// The same values, rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The calling thread: it is one of many already.
    Caller,
    /// Every thread of the pool.
    Pool,
}

/// `out = scale a b`, or `out += scale a b`; rows of `out` lie `row_stride` apart.
pub(super) fn multiply(
    out: &mut [f32],
    row_stride: usize,
    accumulate: bool,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    assert!((a.rows - 1) * row_stride + b.columns <= out.len());
    // SAFETY: the block is in bounds by the assertion, and `out` is borrowed exclusively.
    unsafe { multiply_raw(out.as_mut_ptr(), row_stride, accumulate, scale, a, b, threads) }
}

/// `out = scale a b`, or `out += scale a b`, by every thread of the pool: the output is cut along its longer side, since the
/// `gemm` crate packs operands on one thread. The cuts depend on the sizes alone, and so do the results.
pub(super) fn multiply_in_parts(out: &mut [f32], accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    let columns = b.columns;
    let longer = a.rows.max(columns);
    let part = longer.div_ceil((longer / PART).clamp(1, PARTS)).next_multiple_of(16);
    if part >= longer {
        return multiply(out, columns, accumulate, 1.0, a, b, Threads::Pool);
    }
    let output = Disjoint::new(out);
    (0..longer.div_ceil(part)).into_par_iter().for_each(|i| {
        let (from, to) = (i * part, ((i + 1) * part).min(longer));
        let (offset, a, b) = if a.rows >= columns {
            (from * columns, a.narrow_rows(from, to), b)
        } else {
            (from, a, b.transposed().narrow_rows(from, to).transposed())
        };
        // SAFETY: these rows or columns of the output: no other part has them.
        unsafe { output.multiply(offset, columns, accumulate, a, b, Threads::Caller) };
    });
}

/// Rows or columns of a part at least, and the most parts of a product.
const PART: usize = 128;
const PARTS: usize = 16;

/// As [`multiply`], to a block known by its address.
///
/// # Safety
/// `out` must be valid for `a.rows` rows of `b.columns` values, `row_stride` apart, that nobody else touches.
pub(super) unsafe fn multiply_raw(
    out: *mut f32,
    row_stride: usize,
    accumulate: bool,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    assert_eq!(a.columns, b.rows);
    let parallelism = match threads {
        Threads::Pool if rayon::current_num_threads() > 1 => Parallelism::Rayon(rayon::current_num_threads()),
        _ => Parallelism::None,
    };
    // SAFETY: `Matrix` was checked against its slice when made; `out` is the caller's promise.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            row_stride.cast_signed(),
            accumulate,
            a.data.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.data.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
