//! Operations composed of candle's, with a way back of their own: what the operations of this module are on other
//! devices and in other types than f32 on the CPU.
//!
//! candle can differentiate a composition, but keeps every intermediate value of it until then: of a group norm some
//! eight as large as its input, of attention the matrix of scores four times, and it takes a convolution back by kernels
//! that no library has made fast. A composed operation keeps its operands and its result, as our own kernels do, and its
//! way back is a composition again.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};
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
    let node = Node { operation, result: Mutex::new(Some(result)) };
    match *operands {
        [a] => a.apply_op1(node),
        [a, b] => a.apply_op2(b, node),
        [a, b, c] => a.apply_op3(b, c, node),
        _ => bail!("{}: {} operands", node.operation.name(), operands.len()),
    }
}

/// An operation whose result is at hand already, until candle asks for it.
struct Node<O> {
    operation: O,
    result: Mutex<Option<Tensor>>,
}

impl<O: Composed> Node<O> {
    /// A copy of the result: a tensor does not part with its memory.
    fn take(&self) -> Result<(Storage, Shape)> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(result) = result else { bail!("{}: applied twice", self.operation.name()) };
        let result = match result.layout().contiguous_offsets() {
            Some((0, _)) => result,
            _ => result.force_contiguous()?,
        };
        let (storage, layout) = result.storage_and_layout();
        Ok((storage.try_clone(layout)?, layout.shape().clone()))
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
