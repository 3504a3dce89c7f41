//! Operations composed of candle operations, with a backward pass of their own: the implementation on every device and
//! in every type but `f32` on the CPU.
//!
//! candle can differentiate a composition itself, but then keeps every intermediate value until the backward pass: about
//! eight tensors as large as the input for a group norm, four score matrices for attention. It also differentiates
//! convolutions with slow generic kernels. A composed operation keeps only its operands and its result, as our CPU
//! kernels do, and its backward pass is again a composition. On a GPU, both passes may use the kernels in `gpu`.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, InplaceOp1, Layout, Result, Shape, Storage,
    Tensor, bail,
};
use std::mem;
use std::sync::{Mutex, PoisonError};

/// An operation on one, two or three operands.
pub(super) trait Composed: Send + Sync + 'static {
    /// The operation's name in error messages.
    fn name(&self) -> &'static str;

    /// Computes the result. The operands are detached, so candle records no graph.
    fn forward(&self, operands: &[Tensor]) -> Result<Tensor>;

    /// Computes the gradient of each operand with `wanted`, in that operand's type. All tensors are detached;
    /// `gradient` is the gradient of the result and contiguous.
    fn backward(
        &self,
        operands: &[Tensor],
        result: &Tensor,
        gradient: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>>;
}

/// Applies an operation and records it in candle's graph as a single node.
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

/// Takes the storage out of `result`, without a copy unless the storage belongs to an operand.
fn into_storage(result: Tensor, operands: &[Tensor]) -> Result<(Storage, Shape)> {
    let result = match result.layout().contiguous_offsets() {
        Some((0, _)) => result,
        _ => result.force_contiguous()?,
    };
    let shape = result.shape().clone();
    let copy_of_operand = {
        let (storage, layout) = result.storage_and_layout();
        let is_shared_with =
            |operand: &Tensor| std::ptr::eq(&raw const *operand.storage_and_layout().0, &raw const *storage);
        if operands.iter().any(is_shared_with) { Some(storage.try_clone(layout)?) } else { None }
    };
    if let Some(copy) = copy_of_operand {
        return Ok((copy, shape));
    }
    let taken = TakeStorage(Mutex::new(None));
    result.inplace_op1(&taken)?;
    match taken.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(storage) => Ok((storage, shape)),
        None => bail!("the result of a composed operation has no storage"),
    }
}

/// An in-place operation that swaps a tensor's storage for a dummy. candle lends storage mutably but has no way to move
/// it out of a tensor.
struct TakeStorage(Mutex<Option<Storage>>);

impl TakeStorage {
    fn store(&self, storage: Storage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(storage);
    }
}

impl InplaceOp1 for TakeStorage {
    fn name(&self) -> &'static str {
        "take-storage"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        self.store(Storage::Cpu(mem::replace(storage, CpuStorage::U8(Vec::new()))));
        Ok(())
    }

    #[expect(unsafe_code, reason = "the dummy storage is uninitialised")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, _: &Layout) -> Result<()> {
        // SAFETY: the tensor that keeps the uninitialised storage is dropped without being read.
        let other = unsafe { storage.device().alloc_uninit(&Shape::from(1), storage.dtype()) }?;
        self.store(Storage::Cuda(mem::replace(storage, other)));
        Ok(())
    }
}

/// A graph node whose result is computed before candle asks for it.
struct Node<O> {
    operation: O,
    result: Mutex<Option<(Storage, Shape)>>,
}

impl<O: Composed> Node<O> {
    fn take(&self) -> Result<(Storage, Shape)> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(result) = result else { bail!("{}: the graph node ran twice", self.operation.name()) };
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

    fn gradients<const N: usize>(
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
        let [a] = self.gradients([a], result, gradient)?;
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
        let [a, b] = self.gradients([a, b], result, gradient)?;
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
        let [a, b, c] = self.gradients([a, b, c], result, gradient)?;
        Ok((a, b, c))
    }
}

#[cfg(test)]
mod tests {
    use super::{Composed, apply};
    use candle_core::{Device, Result, Tensor, Var};

    /// Returns two values of its operand, as a view.
    struct Narrow(usize);

    impl Composed for Narrow {
        fn name(&self) -> &'static str {
            "narrow"
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

    /// A result that is a view of the operand does not take the operand's storage.
    #[test]
    fn operands_keep_their_storage() {
        let x = Var::new(&[1f64, 2.0, 3.0], &Device::Cpu).expect("var");
        let values = |t: &Tensor| t.to_vec1::<f64>().expect("values");
        for first in [0, 1] {
            let y = apply(Narrow(first), &[&x]).expect("a view");
            assert_eq!(values(&y), &[1.0, 2.0, 3.0][first..first + 2]);
            let gradients = y.sqr().and_then(|y| y.sum_all()?.backward()).expect("gradients");
            let expected: Vec<f64> = (0..3)
                .map(|i| if (first..first + 2).contains(&i) { 2.0 * (i + 1) as f64 } else { 0.0 })
                .collect();
            assert_eq!(values(gradients.get(&x).expect("a gradient")), expected);
            assert_eq!(values(&x), [1.0, 2.0, 3.0]);
        }
    }
}
