//! Matrix products, by the `gemm` crate.
#![expect(unsafe_code, reason = "gemm takes raw pointers; bounds are asserted here")]

use gemm::Parallelism;

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
