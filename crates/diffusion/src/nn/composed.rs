//! Operations composed of candle's, with a way back of their own: what the operations of this module are on other
//! devices and in other types than f32 on the CPU.
//!
//! candle can differentiate a composition, but keeps every intermediate value of it until then: of a group norm some
//! eight as large as its input, of attention the matrix of scores four times, and it takes a convolution back by kernels
//! that no library has made fast. A composed operation keeps its operands and its result, as our own kernels do, and its
//! way back is a composition again. On a GPU both may be kernels of ours (`kernels`).

#![expect(unsafe_code, reason = "memory that nobody reads is left as it is found")]

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, Layout, Result, Shape, Storage,
    Tensor, bail,
};
use std::mem;
use std::sync::{Mutex, PoisonError};

/// An operation of one, two or three operands.
pub(super) trait Composed: Send + Sync + 'static {
    /// For messages.
    fn name(&self) -> &'static str;

    /// The result. The operands have no graph, and none is kept.
    fn forward(&self, operands: &[Tensor]) -> Result<Tensor>;

    /// The gradients of the operands that want one, each in its operand's type. No tensor has a graph; `gradient`, the
    /// result's, is contiguous.
    fn backward(
        &self,
        operands: &[Tensor],
        result: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;
}

/// Applies an operation, so that the graph holds it as one.
pub(super) fn apply(operation: impl Composed, operands: &[&Tensor]) -> Result<Tensor> {
    let detached: Vec<Tensor> = operands.iter().map(|t| t.detach()).collect();
    let result = operation.forward(&detached)?;
    if !operands.iter().any(|t| t.track_op()) {
        return Ok(result);
    }
    let result = into_storage(result, &detached)?;
    let node = Node { operation, result: Mutex::new(Some(result)) };
    match *operands {
        [a] => a.apply_op1(node),
        [a, b] => a.apply_op2(b, node),
        [a, b, c] => a.apply_op3(b, c, node),
        _ => bail!("{}: {} operands", node.operation.name(), operands.len()),
    }
}

/// The memory of a result, which nothing but the result and perhaps an operand uses: taken out of the tensor, or a copy of
/// the operand's.
fn into_storage(result: Tensor, operands: &[Tensor]) -> Result<(Storage, Shape)> {
    let result = match result.layout().contiguous_offsets() {
        Some((0, _)) => result,
        _ => result.force_contiguous()?,
    };
    let shape = result.shape().clone();
    let is_an_operands = {
        let (ours, layout) = result.storage_and_layout();
        let same =
            |operand: &Tensor| std::ptr::eq(&raw const *operand.storage_and_layout().0, &raw const *ours);
        if operands.iter().any(same) { Some(ours.try_clone(layout)?) } else { None }
    };
    if let Some(copy) = is_an_operands {
        return Ok((copy, shape));
    }
    let taken = Take(Mutex::new(None));
    result.inplace_op1(&taken)?;
    match taken.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(storage) => Ok((storage, shape)),
        None => bail!("a result without memory"),
    }
}

/// Takes a tensor's memory and leaves it other: candle lends a tensor's memory to change it, but never gives it away.
struct Take(Mutex<Option<Storage>>);

impl Take {
    fn keep(&self, storage: Storage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(storage);
    }
}

impl InplaceOp1 for Take {
    fn name(&self) -> &'static str {
        "take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        self.keep(Storage::Cpu(mem::replace(storage, CpuStorage::U8(Vec::new()))));
        Ok(())
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, _: &Layout) -> Result<()> {
        // SAFETY: the tensor that is left with it is dropped.
        let other = unsafe { storage.device().alloc_uninit(&Shape::from(1), storage.dtype()) }?;
        self.keep(Storage::Cuda(mem::replace(storage, other)));
        Ok(())
    }
}

/// An operation whose result is at hand already, until candle asks for it.
struct Node<O> {
    operation: O,
    result: Mutex<Option<(Storage, Shape)>>,
}

impl<O: Composed> Node<O> {
    fn take(&self) -> Result<(Storage, Shape)> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(result) = result else { bail!("{}: applied twice", self.operation.name()) };
        Ok(result)
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: the result is not on the CPU", self.operation.name()),
        }
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: the result is not on a GPU", self.operation.name()),
        }
    }

    /// The gradients of as many operands, in order.
    fn back<const N: usize>(
        &self,
        operands: [&Tensor; N],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let (detached, wanted) = (operands.map(Tensor::detach), operands.map(Tensor::track_op));
        let gradient = gradient.detach().contiguous()?;
        let gradients = self.operation.backward(&detached, &result.detach(), &gradient, &wanted)?;
        let mut gradients = gradients.into_iter();
        Ok(operands.map(|_| gradients.next().flatten()))
    }
}

impl<O: Composed> CustomOp1 for Node<O> {
    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, a: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.back([a], result, gradient)?;
        Ok(a)
    }
}

impl<O: Composed> CustomOp2 for Node<O> {
    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.back([a, b], result, gradient)?;
        Ok((a, b))
    }
}

impl<O: Composed> CustomOp3 for Node<O> {
    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.back([a, b, c], result, gradient)?;
        Ok((a, b, c))
    }
}

#[cfg(test)]
mod tests {
    use super::{Composed, apply};
    use candle_core::{Device, Result, Tensor, Var};

    /// Gives its operand back, or a part of it.
    struct Part(usize);

    impl Composed for Part {
        fn name(&self) -> &'static str {
            "part"
        }

        fn forward(&self, operands: &[Tensor]) -> Result<Tensor> {
            operands[0].narrow(0, self.0, 2)
        }

        fn backward(
            &self,
            operands: &[Tensor],
            _: &Tensor,
            gradient: &Tensor,
            _: &[bool],
        ) -> Result<Vec<Option<Tensor>>> {
            let after = operands[0].dim(0)? - self.0 - 2;
            Ok(vec![Some(gradient.pad_with_zeros(0, self.0, after)?)])
        }
    }

    /// A result in its operand's memory leaves the operand its own.
    #[test]
    fn operands_keep_their_memory() {
        let x = Var::new(&[1f64, 2.0, 3.0], &Device::Cpu).expect("var");
        let values = |t: &Tensor| t.to_vec1::<f64>().expect("values");
        for first in [0, 1] {
            let y = apply(Part(first), &[&x]).expect("a part");
            assert_eq!(values(&y), &[1.0, 2.0, 3.0][first..first + 2]);
            let gradients = y.sqr().and_then(|y| y.sum_all()?.backward()).expect("gradients");
            let right: Vec<f64> = (0..3)
                .map(|i| if (first..first + 2).contains(&i) { 2.0 * (i + 1) as f64 } else { 0.0 })
                .collect();
            assert_eq!(values(gradients.get(&x).expect("a gradient")), right);
            assert_eq!(values(&x), [1.0, 2.0, 3.0]);
        }
    }
}
