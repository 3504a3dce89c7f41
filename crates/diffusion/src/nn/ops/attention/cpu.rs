//! Attention in `f32` on the CPU: blocks of queries whose probabilities stay in the cache, and a backward pass that
//! recomputes them.
#![expect(unsafe_code, reason = "heads write interleaved columns of the output")]

use super::shape::AttentionShape;
use crate::nn::cpu::disjoint::DisjointMut;
use crate::nn::cpu::matmul::Matrix;
use crate::nn::cpu::panels::Panels;
use crate::nn::cpu::simd::{exp, max, sum, vectorized};
use crate::nn::cpu::slices;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Queries per block.
const BLOCK: usize = 64;
/// The number of parallel tasks to aim for where heads are few: at least the cores of a large machine.
const TASKS: usize = 64;

/// The sizes of one attention, and the positions of its heads' values.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    width: usize,
    heads: usize,
    causal: bool,
}

impl Sizes {
    fn new(shape: AttentionShape, q: &[usize], k: &[usize]) -> Self {
        Self { batch: q[0], queries: q[1], keys: k[1], width: q[2], heads: shape.heads, causal: shape.causal }
    }

    fn size(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size() as f32).sqrt()
    }

    /// The index of the first value of head `head` in sequence `batch`, among sequences of `length` positions.
    fn start(&self, batch: usize, length: usize, head: usize) -> usize {
        batch * length * self.width + head * self.size()
    }

    /// `rows` positions of one head, from the value at `start` on.
    fn rows<'a>(&self, values: &'a [f32], start: usize, rows: usize) -> Matrix<'a> {
        Matrix::with_stride(&values[start..], rows, self.size(), self.width)
    }

    /// Writes exp(score - largest score of the row) of a block of queries to `p` (rows, keys), and the reciprocal of each
    /// row's sum to `inverse`. `first` is the block's first query.
    fn exponentials(&self, q: Matrix<'_>, keys: &Panels, first: usize, p: &mut [f32], inverse: &mut [f32]) {
        // SAFETY: `p` is borrowed exclusively.
        unsafe { keys.multiply(&DisjointMut::new(p), 0, self.keys, false, self.scale(), q) };
        vectorized(
            #[inline(always)]
            || {
                let rows = p[..q.rows * self.keys].chunks_exact_mut(self.keys).zip(inverse.iter_mut());
                for (i, (row, inverse)) in rows.enumerate() {
                    let seen = if self.causal { first + i + 1 } else { self.keys };
                    let (row, hidden) = row.split_at_mut(seen);
                    hidden.fill(0.0);
                    let largest = max(row);
                    // A separate loop from the sum: together, the exponentials would not vectorise.
                    for v in row.iter_mut() {
                        *v = exp(*v - largest);
                    }
                    *inverse = 1.0 / sum(row.len(), |j| row[j]);
                }
            },
        );
    }

    /// Writes the softmax of a block's scaled scores to `p` (rows, keys).
    fn probabilities(&self, q: Matrix<'_>, keys: &Panels, first: usize, p: &mut [f32]) {
        let mut inverse = [0.0; BLOCK];
        self.exponentials(q, keys, first, p, &mut inverse);
        for (row, inverse) in p[..q.rows * self.keys].chunks_exact_mut(self.keys).zip(inverse) {
            row.iter_mut().for_each(|v| *v *= inverse);
        }
    }
}

impl CustomOp3 for AttentionShape {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let s = Sizes::new(*self, q_layout.dims(), k_layout.dims());
        let (q, k) = (slices::of_storage(q, q_layout)?, slices::of_storage(k, k_layout)?);
        let v = slices::of_storage(v, v_layout)?;
        let mut y = vec![0.0; q.len()];
        let output = DisjointMut::new(&mut y);
        // A task is a head, or some blocks of queries of a head where heads are few; each task then packs the keys itself.
        let blocks = s.queries.div_ceil(BLOCK);
        let per_task = (s.batch * s.heads * blocks / TASKS).clamp(1, blocks);
        let tasks = blocks.div_ceil(per_task);
        (0..s.batch * s.heads * tasks).into_par_iter().for_each_init(
            || (vec![0.0; BLOCK.min(s.queries) * s.keys], Panels::default(), Panels::default()),
            |(p, keys, values), i| {
                let (batch, head) = (i / tasks / s.heads, i / tasks % s.heads);
                let at_keys = s.start(batch, s.keys, head);
                keys.fill(s.rows(k, at_keys, s.keys).transposed());
                values.fill(s.rows(v, at_keys, s.keys));
                for block in (i % tasks * per_task..blocks).take(per_task) {
                    let first = block * BLOCK;
                    let rows = BLOCK.min(s.queries - first);
                    let from = s.start(batch, s.queries, head) + first * s.width;
                    let mut inverse = [0.0; BLOCK];
                    s.exponentials(s.rows(q, from, rows), keys, first, p, &mut inverse);
                    // SAFETY: no other task writes this block's rows of this head's columns.
                    unsafe {
                        values.multiply(&output, from, s.width, false, 1.0, Matrix::new(p, rows, s.keys));
                    }
                    // Normalises the result, which has fewer values than the probabilities.
                    for (row, inverse) in inverse.iter().take(rows).enumerate() {
                        // SAFETY: as above.
                        let row = unsafe { output.part(from + row * s.width, s.size()) };
                        row.iter_mut().for_each(|v| *v *= inverse);
                    }
                }
            },
        );
        Ok((CpuStorage::F32(y), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let s = Sizes::new(*self, q.dims(), k.dims());
        let gradient = gradient.contiguous()?;
        let mut dq = vec![0.0; q.elem_count()];
        let (mut dk, mut dv) = (vec![0.0; k.elem_count()], vec![0.0; v.elem_count()]);
        let (to_q, to_k, to_v) =
            (DisjointMut::new(&mut dq), DisjointMut::new(&mut dk), DisjointMut::new(&mut dv));
        slices::with_all([q, k, v, y, &gradient], |[q, k, v, y, g]| {
            let block = BLOCK.min(s.queries) * s.keys;
            (0..s.batch * s.heads).into_par_iter().for_each_init(
                || (vec![0.0; block], vec![0.0; block], [(); 5].map(|()| Panels::default())),
                |(p, dp, [keys_across, values_across, keys, queries_here, gradient_here]), i| {
                    let (batch, head) = (i / s.heads, i % s.heads);
                    let at_keys = s.start(batch, s.keys, head);
                    let (k, v) = (s.rows(k, at_keys, s.keys), s.rows(v, at_keys, s.keys));
                    keys_across.fill(k.transposed());
                    values_across.fill(v.transposed());
                    keys.fill(k);
                    for first in (0..s.queries).step_by(BLOCK) {
                        let rows = BLOCK.min(s.queries - first);
                        let from = s.start(batch, s.queries, head) + first * s.width;
                        let (queries, gradient) = (s.rows(q, from, rows), s.rows(g, from, rows));
                        queries_here.fill(queries);
                        gradient_here.fill(gradient);
                        s.probabilities(queries, keys_across, first, p);
                        // SAFETY: `dp` is borrowed exclusively.
                        unsafe {
                            values_across.multiply(&DisjointMut::new(dp), 0, s.keys, false, 1.0, gradient);
                        }
                        // dV += P^T dY
                        let across = Matrix::new(p, rows, s.keys).transposed();
                        // SAFETY: no other task writes this head's columns of this sequence.
                        unsafe { gradient_here.multiply(&to_v, at_keys, s.width, true, 1.0, across) };
                        // dS = P o (dP - rowsum(dY o Y)) / sqrt(size), in place of dP
                        vectorized(
                            #[inline(always)]
                            || {
                                for r in 0..rows {
                                    let row = from + r * s.width;
                                    let (g, y) = (&g[row..][..s.size()], &y[row..][..s.size()]);
                                    let mean = sum(s.size(), |j| g[j] * y[j]);
                                    let p = &p[r * s.keys..][..s.keys];
                                    for (d, &p) in dp[r * s.keys..][..s.keys].iter_mut().zip(p) {
                                        *d = p * (*d - mean) * s.scale();
                                    }
                                }
                            },
                        );
                        let scores = Matrix::new(dp, rows, s.keys);
                        // SAFETY: as above.
                        unsafe {
                            keys.multiply(&to_q, from, s.width, false, 1.0, scores);
                            queries_here.multiply(&to_k, at_keys, s.width, true, 1.0, scores.transposed());
                        }
                    }
                },
            );
        })?;
        Ok((
            Some(slices::tensor(dq, q.shape())?),
            Some(slices::tensor(dk, k.shape())?),
            Some(slices::tensor(dv, v.shape())?),
        ))
    }
}
