//! Scaled dot-product attention that keeps no matrix of probabilities: the backward pass computes them again,
//! a block of queries at a time.
#![expect(unsafe_code, reason = "heads write interleaved columns of the output")]

use super::disjoint::Disjoint;
use super::matmul::Matrix;
use super::narrow::Panels;
use super::vector::{exp, max, sum, vectorized};
use super::{has_own_kernel, slices, wide};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// How attention divides its width, and what it may look at.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Heads; must divide the width.
    pub heads: usize,
    /// Whether a query sees only keys up to its own position (text towers).
    pub causal: bool,
}

/// `q`: (batch, queries, width); `k`, `v`: (batch, keys, width), heads side by side within the width.
/// Returns (batch, queries, width).
///
/// # Errors
/// Shapes that do not fit.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let (k_batch, keys, k_width) = k.dims3()?;
    if k.dims() != v.dims() || batch != k_batch || width != k_width || width % shape.heads.max(1) != 0 {
        bail!("attention: {} heads, q {:?}, k {:?}, v {:?}", shape.heads, q.dims(), k.dims(), v.dims());
    }
    if shape.causal && queries != keys {
        bail!("attention: causal attention needs as many queries as keys, not {queries} and {keys}");
    }
    #[cfg(feature = "flash-attn")]
    if flash::suits(q, k, v, width / shape.heads) {
        return flash::attention(q, k, v, shape);
    }
    if !has_own_kernel(q) {
        return stock(q, k, v, shape);
    }
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, shape)
}

/// The same by the kernels of FlashAttention 2: on GPUs, in half precision, where nothing is to be differentiated.
#[cfg(feature = "flash-attn")]
mod flash {
    use super::AttentionShape;
    use candle_core::{DType, Result, Tensor};

    /// The kernels have no backward, and head sizes of their own.
    pub(super) fn suits(q: &Tensor, k: &Tensor, v: &Tensor, size: usize) -> bool {
        let differentiates = q.track_op() || k.track_op() || v.track_op();
        let half = matches!(q.dtype(), DType::F16 | DType::BF16);
        q.device().is_cuda() && half && !differentiates && size % 8 == 0 && size <= 256
    }

    pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape) -> Result<Tensor> {
        let (batch, queries, width) = q.dims3()?;
        let size = width / shape.heads;
        let split = |t: &Tensor| t.contiguous()?.reshape((batch, (), shape.heads, size));
        let scale = 1.0 / (size as f32).sqrt();
        candle_flash_attn::flash_attn(&split(q)?, &split(k)?, &split(v)?, scale, shape.causal)?
            .reshape((batch, queries, width))
    }
}

/// The same by stock differentiable operations.
fn stock(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let size = width / shape.heads;
    let split = |t: &Tensor| t.reshape((batch, (), shape.heads, size))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let scores = (q.matmul(&k.t()?)? * (1.0 / (size as f64).sqrt()))?.to_dtype(wide(q.dtype()))?;
    let scores = if shape.causal {
        let keys = k.dim(2)?;
        let mask: Vec<f32> = (0..queries)
            .flat_map(|i| (0..keys).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 }))
            .collect();
        scores.broadcast_add(
            &Tensor::from_vec(mask, (1, 1, queries, keys), scores.device())?.to_dtype(scores.dtype())?,
        )?
    } else {
        scores
    };
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(v.dtype())?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, queries, width))
}

/// Queries of one block.
const BLOCK: usize = 64;
/// As many tasks at least as a machine may have cores, where there are as many blocks.
const TASKS: usize = 64;

/// The sizes of one attention, and where a head's values lie.
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

    /// Where head `head` of sequence `batch` begins, in queries or keys of `length`.
    fn start(&self, batch: usize, length: usize, head: usize) -> usize {
        batch * length * self.width + head * self.size()
    }

    /// A head's rows from `start`.
    fn rows<'a>(&self, values: &'a [f32], start: usize, rows: usize) -> Matrix<'a> {
        Matrix::with_stride(&values[start..], rows, self.size(), self.width)
    }

    /// exp(score - largest score) of a block, in place of `p` (rows, keys), and in `inverse` what each row has to be
    /// multiplied by to sum to 1; `first` is the block's first query.
    fn exponentials(&self, q: Matrix<'_>, keys: &Panels, first: usize, p: &mut [f32], inverse: &mut [f32]) {
        // SAFETY: borrowed exclusively.
        unsafe { keys.multiply(&Disjoint::new(p), 0, self.keys, false, self.scale(), q) };
        vectorized(
            #[inline(always)]
            || {
                let rows = p[..q.rows * self.keys].chunks_exact_mut(self.keys).zip(inverse.iter_mut());
                for (i, (row, inverse)) in rows.enumerate() {
                    let seen = if self.causal { first + i + 1 } else { self.keys };
                    let (row, hidden) = row.split_at_mut(seen);
                    hidden.fill(0.0);
                    let largest = max(row);
                    // Two loops: the sum's would keep the exponentials from being vectorised.
                    for v in row.iter_mut() {
                        *v = exp(*v - largest);
                    }
                    *inverse = 1.0 / sum(row.len(), |j| row[j]);
                }
            },
        );
    }

    /// Softmax of a block's scaled scores, in place of `p` (rows, keys).
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
        let output = Disjoint::new(&mut y);
        // Heads are tasks; of few heads, several blocks of queries each, which then copy the keys each for themselves.
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
                    // SAFETY: this block's rows of this head's columns: no other task writes them.
                    unsafe {
                        values.multiply(&output, from, s.width, false, 1.0, Matrix::new(p, rows, s.keys));
                    }
                    // The few values of a result are scaled in place of its many probabilities.
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
        let (to_q, to_k, to_v) = (Disjoint::new(&mut dq), Disjoint::new(&mut dk), Disjoint::new(&mut dv));
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
                        // SAFETY: borrowed exclusively.
                        unsafe {
                            values_across.multiply(&Disjoint::new(dp), 0, s.keys, false, 1.0, gradient);
                        }
                        // dV += P^T dY
                        let across = Matrix::new(p, rows, s.keys).transposed();
                        // SAFETY: this head's columns of this sequence: no other task writes them.
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
