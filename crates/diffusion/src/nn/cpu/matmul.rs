//! Matrix products with the `gemm` crate.
#![expect(unsafe_code, reason = "gemm takes raw pointers; bounds are asserted here")]

use super::disjoint::DisjointMut;
use gemm::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// A view of a matrix: value (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Matrix<'a> {
    data: &'a [f32],
    pub(in crate::nn) rows: usize,
    pub(in crate::nn) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix whose rows start `row_stride` values apart.
    pub(in crate::nn) fn with_stride(
        data: &'a [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(rows > 0 && columns > 0 && (rows - 1) * row_stride + columns <= data.len());
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// A row-major matrix without gaps.
    pub(in crate::nn) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_stride(data, rows, columns, columns)
    }

    /// Value (i, j).
    #[inline(always)]
    pub(in crate::nn) fn value(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.row_stride + j * self.column_stride]
    }

    /// Row `i` of a row-major matrix.
    #[inline(always)]
    pub(in crate::nn) fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.row_stride..][..self.columns]
    }

    /// Column `j` of a column-major matrix.
    #[inline(always)]
    pub(in crate::nn) fn column(&self, j: usize) -> &'a [f32] {
        &self.data[j * self.column_stride..][..self.rows]
    }

    /// Whether rows are contiguous; otherwise columns are.
    #[inline(always)]
    pub(in crate::nn) fn is_row_major(&self) -> bool {
        self.column_stride == 1
    }

    fn narrow_rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start < rows.end && rows.end <= self.rows);
        Self { data: &self.data[rows.start * self.row_stride..], rows: rows.len(), ..self }
    }

    /// The transpose, as a view of the same values.
    pub(in crate::nn) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Which threads compute a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Threads {
    /// Only the calling thread, which is one of many already.
    Caller,
    /// Every thread of the pool.
    Pool,
}

/// `out = a b`, or `out += a b` with `accumulate`; rows of `out` start `row_stride` values apart.
pub(in crate::nn) fn multiply(
    out: &mut [f32],
    row_stride: usize,
    accumulate: bool,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    // SAFETY: `out` is borrowed exclusively.
    unsafe { multiply_block(&DisjointMut::new(out), 0, row_stride, accumulate, a, b, threads) }
}

/// As [`multiply`], into a block of `out` that starts at `offset`.
///
/// # Safety
/// No other thread may access the block's values at the same time. With `accumulate` they must be initialised.
pub(in crate::nn) unsafe fn multiply_block(
    out: &DisjointMut<'_>,
    offset: usize,
    row_stride: usize,
    accumulate: bool,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    assert_eq!(a.columns, b.rows);
    let start = out.pointer(offset, (a.rows - 1) * row_stride + b.columns);
    let parallelism = match threads {
        Threads::Pool if rayon::current_num_threads() > 1 => Parallelism::Rayon(rayon::current_num_threads()),
        _ => Parallelism::None,
    };
    // SAFETY: each `Matrix` was checked against its slice on construction; `pointer` asserts that the block is in bounds,
    // and the caller promises that it is unaliased.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            start,
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
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `a b`, with `bias` added to every row, on every thread of the pool.
///
/// The product is split into blocks because the `gemm` crate packs its operands on one thread. Columns are split first,
/// because `b` is packed again for every block of rows. (Where `b` is the transpose of a weight whose rows are a multiple
/// of 4 KB apart, packing takes as long as a hundred rows of the product.) The split depends on the sizes alone, so the
/// result does not depend on the number of threads.
pub(in crate::nn) fn product(a: Matrix<'_>, b: Matrix<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, columns) = (a.rows, b.columns);
    assert!(bias.is_none_or(|bias| bias.len() == columns));
    let horizontal = Split::new(columns, MIN_COLUMNS, MAX_BLOCKS);
    let vertical = Split::new(rows, MIN_ROWS, MAX_BLOCKS / horizontal.count);
    let blocks = horizontal.count * vertical.count;
    let threads = if blocks == 1 { Threads::Pool } else { Threads::Caller };
    let mut product = Vec::new();
    let output = DisjointMut::uninitialised(&mut product, rows * columns);
    let compute = |i: usize| {
        let block_rows = vertical.range(i / horizontal.count);
        let block_columns = horizontal.range(i % horizontal.count);
        // SAFETY: no other block has these rows and columns of the output; with `accumulate` the bias was written first.
        unsafe {
            if let Some(bias) = bias {
                for row in block_rows.clone() {
                    let values = bias[block_columns.clone()].iter().copied();
                    output.write(row * columns + block_columns.start, values);
                }
            }
            let offset = block_rows.start * columns + block_columns.start;
            let a = a.narrow_rows(block_rows);
            let b = b.transposed().narrow_rows(block_columns).transposed();
            multiply_block(&output, offset, columns, bias.is_some(), a, b, threads);
        }
    };
    if blocks == 1 {
        compute(0)
    } else {
        (0..blocks).into_par_iter().for_each(compute)
    }
    // SAFETY: this many values were reserved, and the blocks cover them.
    unsafe { product.set_len(rows * columns) };
    product
}

/// The largest number of blocks of a product.
const MAX_BLOCKS: usize = 16;
/// The fewest columns of a block, unless the product has fewer.
const MIN_COLUMNS: usize = 128;
/// The fewest rows of a block, unless the product has fewer.
const MIN_ROWS: usize = 1024;

/// A range of rows or columns, split into parts of equal length (the last may be shorter).
struct Split {
    length: usize,
    part: usize,
    count: usize,
}

impl Split {
    /// At most `max_count` parts of at least `min_part`.
    fn new(length: usize, min_part: usize, max_count: usize) -> Self {
        let part = length.div_ceil((length / min_part).clamp(1, max_count)).next_multiple_of(16);
        Self { length, part, count: length.div_ceil(part) }
    }

    fn range(&self, i: usize) -> Range<usize> {
        i * self.part..((i + 1) * self.part).min(self.length)
    }
}
