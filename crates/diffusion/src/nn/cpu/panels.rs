//! Products of matrices with one side as narrow as an attention head.
//!
//! The `gemm` crate packs both operands into the order its kernel reads, which pays off where every value is used
//! hundreds of times. A head has 20 to 160 columns, so here only the right operand, which many rows share, is packed, once.

use super::disjoint::DisjointMut;
use super::matmul::Matrix;
use super::simd::vectorized;

/// Rows of the block that stays in registers.
const ROWS: usize = 4;
/// Columns of the block that stays in registers.
const COLUMNS: usize = 32;

/// A right operand, packed into panels of [`COLUMNS`] columns, each row-major; the last panel is padded with zeros.
#[derive(Default)]
pub(in crate::nn) struct Panels {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Panels {
    /// Packs `b`, reusing the memory of the previous operand.
    pub(in crate::nn) fn fill(&mut self, b: Matrix<'_>) {
        let panel = b.rows * COLUMNS;
        (self.rows, self.columns) = (b.rows, b.columns);
        self.values.clear();
        self.values.resize(b.columns.div_ceil(COLUMNS) * panel, 0.0);
        for (first, panel) in (0..b.columns).step_by(COLUMNS).zip(self.values.chunks_exact_mut(panel)) {
            let columns = COLUMNS.min(b.columns - first);
            if b.is_row_major() {
                for (i, to) in panel.chunks_exact_mut(COLUMNS).enumerate() {
                    to[..columns].copy_from_slice(&b.row(i)[first..][..columns]);
                }
            } else {
                for j in 0..columns {
                    for i in 0..b.rows {
                        panel[i * COLUMNS + j] = b.value(i, first + j);
                    }
                }
            }
        }
    }

    /// `out = scale a b`, or `out += scale a b` with `accumulate`, where the rows of `out` start at `offset` and are
    /// `row_stride` values apart.
    ///
    /// # Safety
    /// These values must be initialised, and no other thread may access them at the same time.
    #[expect(unsafe_code, reason = "blocks of one output are interleaved rows")]
    pub(in crate::nn) unsafe fn multiply(
        &self,
        out: &DisjointMut<'_>,
        offset: usize,
        row_stride: usize,
        accumulate: bool,
        scale: f32,
        a: Matrix<'_>,
    ) {
        assert_eq!(a.columns, self.rows);
        vectorized(
            #[inline(always)]
            || {
                for (panel, b) in self.values.chunks_exact(self.rows * COLUMNS).enumerate() {
                    let first = panel * COLUMNS;
                    let columns = COLUMNS.min(self.columns - first);
                    for row in (0..a.rows).step_by(ROWS) {
                        let rows = ROWS.min(a.rows - row);
                        let block = if a.is_row_major() {
                            block_of_rows(a, row, b)
                        } else {
                            block_of_columns(a, row, b)
                        };
                        for (i, values) in block.iter().enumerate().take(rows) {
                            // SAFETY: the caller's promise.
                            let to = unsafe { out.part(offset + (row + i) * row_stride + first, columns) };
                            for (to, v) in to.iter_mut().zip(values) {
                                *to = v.mul_add(scale, if accumulate { *to } else { 0.0 });
                            }
                        }
                    }
                }
            },
        );
    }
}

type Block = [[f32; COLUMNS]; ROWS];

/// The block of the product that starts at `row`, of a row-major left operand. Rows past the end repeat the last one.
#[inline(always)]
fn block_of_rows(a: Matrix<'_>, row: usize, b: &[f32]) -> Block {
    let line = |i: usize| a.row((row + i).min(a.rows - 1));
    let lines: [&[f32]; ROWS] = [line(0), line(1), line(2), line(3)];
    let mut block = [[0f32; COLUMNS]; ROWS];
    let left = lines[0].iter().zip(lines[1]).zip(lines[2]).zip(lines[3]);
    for (b, (((a0, a1), a2), a3)) in b.as_chunks::<COLUMNS>().0.iter().zip(left) {
        add(&mut block, [*a0, *a1, *a2, *a3], b);
    }
    block
}

/// As [`block_of_rows`], of a column-major left operand.
#[inline(always)]
fn block_of_columns(a: Matrix<'_>, row: usize, b: &[f32]) -> Block {
    let mut block = [[0f32; COLUMNS]; ROWS];
    let last = a.rows - 1;
    for (k, b) in b.as_chunks::<COLUMNS>().0.iter().enumerate() {
        let left = match a.column(k)[row..] {
            [a0, a1, a2, a3, ..] => [a0, a1, a2, a3],
            _ => [0, 1, 2, 3].map(|i: usize| a.value((row + i).min(last), k)),
        };
        add(&mut block, left, b);
    }
    block
}

#[inline(always)]
fn add(block: &mut Block, left: [f32; ROWS], b: &[f32; COLUMNS]) {
    for (block, left) in block.iter_mut().zip(left) {
        for j in 0..COLUMNS {
            block[j] = left.mul_add(b[j], block[j]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Panels;
    use crate::nn::cpu::disjoint::DisjointMut;
    use crate::nn::cpu::matmul::Matrix;

    /// Compares exactly: sums of small integers do not depend on their order.
    #[test]
    #[expect(unsafe_code, reason = "the test has only one thread")]
    fn products_match_the_definition() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 20), (4, 77, 32), (9, 20, 65), (130, 40, 33)] {
            let numbers = |count: usize, salt: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 7 + salt) % 11) as f32 - 5.0).collect()
            };
            let (a, b, start) = (numbers(m * k, 1), numbers(k * n, 2), numbers(m * n, 3));
            let across = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..columns)
                    .flat_map(|j| (0..rows).map(move |i| (i, j)))
                    .map(|(i, j)| x[i * columns + j])
                    .collect()
            };
            let (a_across, b_across) = (across(&a, m, k), across(&b, k, n));
            let lefts = [Matrix::new(&a, m, k), Matrix::new(&a_across, k, m).transposed()];
            let rights = [Matrix::new(&b, k, n), Matrix::new(&b_across, n, k).transposed()];
            for (left, right, accumulate) in
                lefts.iter().flat_map(|&l| rights.iter().flat_map(move |&r| [(l, r, false), (l, r, true)]))
            {
                let mut found = start.clone();
                let mut panels = Panels::default();
                panels.fill(right);
                // SAFETY: the buffer is borrowed exclusively.
                unsafe { panels.multiply(&DisjointMut::new(&mut found), 0, n, accumulate, 2.0, left) };
                for i in 0..m {
                    for j in 0..n {
                        let product: f32 = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
                        let before = if accumulate { start[i * n + j] } else { 0.0 };
                        assert_eq!(found[i * n + j], before + 2.0 * product, "{m} {k} {n} at {i} {j}");
                    }
                }
            }
        }
    }
}
