//! Matrix products, by the `gemm` crate.
#![expect(unsafe_code, reason = "gemm takes raw pointers; bounds are asserted here")]

use super::disjoint::Disjoint;
use gemm::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// A view of a matrix: value (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Matrix<'a> {
    data: &'a [f32],
    pub(in crate::nn) rows: usize,
    pub(in crate::nn) columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another, `row_stride` apart.
    pub(in crate::nn) fn with_stride(
        data: &'a [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(rows > 0 && columns > 0 && (rows - 1) * row_stride + columns <= data.len());
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Rows one after another without gaps.
    pub(in crate::nn) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::with_stride(data, rows, columns, columns)
    }

    /// Value (i, j).
    #[inline(always)]
    pub(in crate::nn) fn value(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.row_stride + j * self.column_stride]
    }

    /// Row `i`, where rows are contiguous.
    #[inline(always)]
    pub(in crate::nn) fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.row_stride..][..self.columns]
    }

    /// Column `j`, where columns are contiguous.
    #[inline(always)]
    pub(in crate::nn) fn column(&self, j: usize) -> &'a [f32] {
        &self.data[j * self.column_stride..][..self.rows]
    }

    /// Whether rows are contiguous; else columns are.
    #[inline(always)]
    pub(in crate::nn) fn by_rows(&self) -> bool {
        self.column_stride == 1
    }

    /// Some of the rows.
    fn narrow_rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start < rows.end && rows.end <= self.rows);
        Self { data: &self.data[rows.start * self.row_stride..], rows: rows.len(), ..self }
    }

    /// The same values, rows and columns exchanged.
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

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Threads {
    /// The calling thread: it is one of many already.
    Caller,
    /// Every thread of the pool.
    Pool,
}

/// `out = scale a b`, or `out += scale a b`; rows of `out` lie `row_stride` apart.
pub(in crate::nn) fn multiply(
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

/// `a b`, with `bias` added to every row, by every thread of the pool. The product is cut into blocks, since the `gemm`
/// crate packs operands on one thread; into blocks of columns first, since it packs `b` for every block of rows anew. (Where
/// `b` is a weight's transpose whose lines are a multiple of 4 KB apart, that takes as long as a hundred rows of the product.)
/// The cuts depend on the sizes alone, and so do the results.
pub(in crate::nn) fn product(a: Matrix<'_>, b: Matrix<'_>, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, columns) = (a.rows, b.columns);
    assert!(bias.is_none_or(|bias| bias.len() == columns));
    let wide = Cut::of(columns, COLUMNS, PARTS);
    let tall = Cut::of(rows, ROWS, PARTS / wide.parts);
    let parts = wide.parts * tall.parts;
    let threads = if parts == 1 { Threads::Pool } else { Threads::Caller };
    let mut product = Vec::new();
    let output = Disjoint::of_room(&mut product, rows * columns);
    let compute = |i: usize| {
        let (these, those) = (tall.part(i / wide.parts), wide.part(i % wide.parts));
        // SAFETY: these rows and columns of the output: no other part has them.
        unsafe {
            if let Some(bias) = bias {
                for row in these.clone() {
                    output.write(row * columns + those.start, bias[those.clone()].iter().copied());
                }
            }
            let offset = these.start * columns + those.start;
            let a = a.narrow_rows(these);
            let b = b.transposed().narrow_rows(those).transposed();
            output.multiply(offset, columns, bias.is_some(), a, b, threads);
        }
    };
    if parts == 1 {
        compute(0)
    } else {
        (0..parts).into_par_iter().for_each(compute)
    }
    // SAFETY: room for as many was reserved, and the parts cover it.
    unsafe { product.set_len(rows * columns) };
    product
}

/// The most blocks of a product, and the least columns and rows of one.
const PARTS: usize = 16;
const COLUMNS: usize = 128;
const ROWS: usize = 1024;

/// One side of a product, cut.
struct Cut {
    length: usize,
    part: usize,
    parts: usize,
}

impl Cut {
    /// Into parts of `least` or more, at most `most` of them.
    fn of(length: usize, least: usize, most: usize) -> Self {
        let part = length.div_ceil((length / least).clamp(1, most)).next_multiple_of(16);
        Self { length, part, parts: length.div_ceil(part) }
    }

    fn part(&self, i: usize) -> Range<usize> {
        i * self.part..((i + 1) * self.part).min(self.length)
    }
}

/// As [`multiply`], to a block known by its address.
///
/// # Safety
/// `out` must be valid for `a.rows` rows of `b.columns` values, `row_stride` apart, that nobody else touches.
pub(in crate::nn) unsafe fn multiply_raw(
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
