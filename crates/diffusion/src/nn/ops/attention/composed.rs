//! Attention composed of candle operations, with the scores of some heads in memory at a time. On a GPU the softmax is a
//! kernel of ours, and the forward pass in half precision may be FlashAttention.

#[cfg(feature = "flash-attn")]
use super::flash;
use super::shape::AttentionShape;
use crate::nn::composed::Composed;
use crate::nn::dispatch::accumulation_dtype;
use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use crate::nn::ops::exchange::exchange;
use candle_core::{D, Result, Tensor, bail};

/// The largest number of scores in memory at a time: a gigabyte in `f32`.
const MAX_SCORES: usize = 1 << 28;

impl AttentionShape {
    /// (batch, positions, width) to (batch * heads, positions, size of a head).
    fn split_heads(self, t: &Tensor) -> Result<Tensor> {
        let (batch, positions, width) = t.dims3()?;
        let size = width / self.heads;
        let t = t.reshape((batch, positions, self.heads, size))?;
        exchange(&t)?.reshape((batch * self.heads, positions, size))
    }

    /// The inverse of [`AttentionShape::split_heads`].
    fn join_heads(self, t: &Tensor) -> Result<Tensor> {
        let (all, positions, size) = t.dims3()?;
        let t = t.reshape((all / self.heads, self.heads, positions, size))?;
        exchange(&t)?.reshape((all / self.heads, positions, self.heads * size))
    }

    /// Groups of heads whose scores fit into memory together: first head and number of heads.
    fn head_groups(q: &Tensor, k: &Tensor) -> Result<Vec<(usize, usize)>> {
        let (heads, queries, _) = q.dims3()?;
        let at_once = (MAX_SCORES / (queries * k.dim(1)?).max(1)).max(1);
        Ok((0..heads).step_by(at_once).map(|first| (first, at_once.min(heads - first))).collect())
    }

    /// Queries split into heads and scaled by 1 / sqrt(size). Scaling before the product keeps scores within the range of
    /// `f16`.
    fn scaled_queries(self, q: &Tensor) -> Result<Tensor> {
        let q = self.split_heads(q)?;
        &q * (1.0 / (q.dim(2)? as f64).sqrt())
    }

    /// Runs a kernel on the rows of scores, (heads, queries, keys).
    fn on_gpu<const N: usize>(self, kernel: &'static str, operands: &[&Tensor]) -> Result<[Tensor; N]> {
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

    /// Softmax of scores, (heads, queries, keys). The result is at least `f32`, except from a GPU kernel, which accumulates
    /// in `f32` and rounds.
    #[expect(
        clippy::disallowed_methods,
        reason = "candle does not differentiate the passes of a composed operation"
    )]
    fn softmax(self, scores: &Tensor) -> Result<Tensor> {
        if is_available(&[scores]) {
            let [p] = self.on_gpu("softmax", &[scores])?;
            return Ok(p);
        }
        let (_, queries, keys) = scores.dims3()?;
        let wide = accumulation_dtype(scores.dtype());
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
        if flash::supports(q, *self) {
            return flash::attention(q, k, v, *self);
        }
        let (q, k, v) = (self.scaled_queries(q)?, self.split_heads(k)?, self.split_heads(v)?);
        let groups = Self::head_groups(&q, &k)?.into_iter().map(|(first, count)| {
            let part = |t: &Tensor| t.narrow(0, first, count);
            let scores = part(&q)?.matmul(&part(&k)?.t()?)?;
            self.softmax(&scores)?.to_dtype(v.dtype())?.matmul(&part(&v)?)
        });
        self.join_heads(&Tensor::cat(&groups.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// With P the probabilities and o the pointwise product: dV = P^T dY, dP = dY V^T,
    /// dS = P o (dP - rowsum(dY o Y)) / sqrt(size), dQ = dS K, dK = dS^T Q.
    fn backward(
        &self,
        operands: &[Tensor],
        y: &Tensor,
        gradient: &Tensor,
        _wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let [q, k, v] = operands else { bail!("attention: {} operands", operands.len()) };
        let (q, k, v) = (self.scaled_queries(q)?, self.split_heads(k)?, self.split_heads(v)?);
        let (y, g) = (self.split_heads(y)?, self.split_heads(gradient)?);
        let (dtype, wide) = (q.dtype(), accumulation_dtype(q.dtype()));
        let scale = 1.0 / (q.dim(2)? as f64).sqrt();
        let mut gradients = [(); 3].map(|()| Vec::new());
        for (first, count) in Self::head_groups(&q, &k)? {
            let part = |t: &Tensor| t.narrow(0, first, count);
            let (q, k, g) = (part(&q)?, part(&k)?, part(&g)?);
            let (scores, dp) = (q.matmul(&k.t()?)?, g.matmul(&part(&v)?.t()?)?);
            let [p, ds] = if is_available(&[&scores, &dp]) {
                self.on_gpu("softmax_back", &[&scores, &dp])?
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
        gradients.iter().map(|parts| self.join_heads(&Tensor::cat(parts, 0)?).map(Some)).collect()
    }
}
