//! Scaled dot-product attention that keeps no matrix of probabilities: the backward pass computes them again,
//! a block of queries at a time.
#![expect(unsafe_code, reason = "heads write interleaved columns of the output")]

use super::composed::{self, Composed};
use super::disjoint::Disjoint;
use super::kernels::{self, Launch, Number, exchange};
use super::matmul::Matrix;
use super::panels::Panels;
use super::simd::{exp, max, sum, vectorized};
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
    if !has_own_kernel(q) {
        return composed::apply(shape, &[q, k, v]);
    }
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, shape)
}

/// The forward pass by the kernels of FlashAttention 2: on GPUs, in half precision.
#[cfg(feature = "flash-attn")]
mod flash {
    use super::AttentionShape;
    use candle_core::{DType, Result, Tensor};

    /// The kernels have head sizes of their own.
    pub(in crate::nn) fn suits(q: &Tensor, shape: AttentionShape) -> bool {
        let half = matches!(q.dtype(), DType::F16 | DType::BF16);
        let size = q.dims().last().map_or(0, |width| width / shape.heads);
        q.device().is_cuda() && half && size.is_multiple_of(8) && size <= 256
    }

    pub(in crate::nn) fn attention(
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        shape: AttentionShape,
    ) -> Result<Tensor> {
        let (batch, queries, width) = q.dims3()?;
        let size = width / shape.heads;
        let split = |t: &Tensor| t.contiguous()?.reshape((batch, (), shape.heads, size));
        let scale = 1.0 / (size as f32).sqrt();
        candle_flash_attn::flash_attn(&split(q)?, &split(k)?, &split(v)?, scale, shape.causal)?
            .reshape((batch, queries, width))
    }
}

/// Scores that the composed passes hold at a time: a gigabyte in f32.
const SCORES: usize = 1 << 28;

impl AttentionShape {
    /// (batch, positions, width) as (batch heads, positions, size).
    fn split(self, t: &Tensor) -> Result<Tensor> {
        let (batch, positions, width) = t.dims3()?;
        let size = width / self.heads;
        let t = t.reshape((batch, positions, self.heads, size))?;
        exchange(&t)?.reshape((batch * self.heads, positions, size))
    }

    /// The way back from [`AttentionShape::split`].
    fn join(self, t: &Tensor) -> Result<Tensor> {
        let (all, positions, size) = t.dims3()?;
        let t = t.reshape((all / self.heads, self.heads, positions, size))?;
        exchange(&t)?.reshape((all / self.heads, positions, self.heads * size))
    }

    /// Which heads of split operands are taken at a time: first and count.
    fn turns(q: &Tensor, k: &Tensor) -> Result<Vec<(usize, usize)>> {
        let (heads, queries, _) = q.dims3()?;
        let at_once = (SCORES / (queries * k.dim(1)?).max(1)).max(1);
        Ok((0..heads).step_by(at_once).map(|first| (first, at_once.min(heads - first))).collect())
    }

    /// Split queries, scaled: their products with keys would leave the range of f16.
    fn scaled(self, q: &Tensor) -> Result<Tensor> {
        let q = self.split(q)?;
        &q * (1.0 / (q.dim(2)? as f64).sqrt())
    }

    /// The kernels on rows of scores, (heads, queries, keys).
    fn by_kernel<const N: usize>(self, kernel: &'static str, operands: &[&Tensor]) -> Result<[Tensor; N]> {
        let scores = operands[0];
        let (heads, queries, keys) = scores.dims3()?;
        let numbers = [
            Number::Whole(heads * queries),
            Number::Whole(keys),
            Number::Whole(queries),
            Number::Whole(self.causal.into()),
        ];
        let result = (scores.dtype(), scores.dims());
        Launch::warp_per_row(kernel, heads * queries, operands).run([result; N], &numbers)
    }

    /// Softmax of scores, (heads, queries, keys), in f32 at least but where a kernel makes it.
    #[expect(clippy::disallowed_methods, reason = "nothing here is differentiated by candle")]
    fn softmax(self, scores: &Tensor) -> Result<Tensor> {
        if kernels::serve(&[scores]) {
            let [p] = self.by_kernel("softmax", &[scores])?;
            return Ok(p);
        }
        let (_, queries, keys) = scores.dims3()?;
        let wide = wide(scores.dtype());
        let scores = scores.to_dtype(wide)?;
        let scores = if self.causal {
            let mask: Vec<f32> = (0..queries)
                .flat_map(|i| (0..keys).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 }))
                .collect();
            let mask = Tensor::from_vec(mask, (1, queries, keys), scores.device())?.to_dtype(wide)?;
            scores.broadcast_add(&mask)?
        } else {
            scores
        };
        candle_nn::ops::softmax_last_dim(&scores)
    }
}

impl Composed for AttentionShape {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
        let [q, k, v] = operands else { bail!("attention: {} operands", operands.len()) };
        #[cfg(feature = "flash-attn")]
        if flash::suits(q, *self) {
            return flash::attention(q, k, v, *self);
        }
        let (q, k, v) = (self.scaled(q)?, self.split(k)?, self.split(v)?);
        let parts = Self::turns(&q, &k)?.into_iter().map(|(first, count)| {
            let part = |t: &Tensor| t.narrow(0, first, count);
            let scores = part(&q)?.matmul(&part(&k)?.t()?)?;
            self.softmax(&scores)?.to_dtype(v.dtype())?.matmul(&part(&v)?)
        });
        self.join(&Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// As our own kernel's: with P the probabilities, dV = P^T dY, dP = dY V^T,
    /// dS = P o (dP - rowsum(dY o Y)) / sqrt(size), dQ = dS K, dK = dS^T Q.
    fn backward(
        &self,
        operands: &[Tensor],
        y: &Tensor,
        gradient: &Tensor,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let [q, k, v] = operands else { bail!("attention: {} operands", operands.len()) };
        let (q, k, v) = (self.scaled(q)?, self.split(k)?, self.split(v)?);
        let (y, g) = (self.split(y)?, self.split(gradient)?);
        let (dtype, wide) = (q.dtype(), wide(q.dtype()));
        let scale = 1.0 / (q.dim(2)? as f64).sqrt();
        let mut gradients = [(); 3].map(|()| Vec::new());
        for (first, count) in Self::turns(&q, &k)? {
            let part = |t: &Tensor| t.narrow(0, first, count);
            let (q, k, g) = (part(&q)?, part(&k)?, part(&g)?);
            let (scores, dp) = (q.matmul(&k.t()?)?, g.matmul(&part(&v)?.t()?)?);
            let [p, ds] = if kernels::serve(&[&scores, &dp]) {
                self.by_kernel("softmax_back", &[&scores, &dp])?
            } else {
                let p = self.softmax(&scores)?;
                let mean = (g.to_dtype(wide)? * part(&y)?.to_dtype(wide)?)?.sum_keepdim(D::Minus1)?;
                let ds = (dp.to_dtype(wide)?.broadcast_sub(&mean)? * &p)?;
                [p.to_dtype(dtype)?, ds.to_dtype(dtype)?]
            };
            gradients[0].push((ds.matmul(&k)? * scale)?);
            gradients[1].push(ds.t()?.matmul(&q)?);
            gradients[2].push(p.t()?.matmul(&g)?);
        }
        gradients.iter().map(|parts| self.join(&Tensor::cat(parts, 0)?).map(Some)).collect()
    }
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
