//! Accumulation of the gradients of weights over several backward passes.
//!
//! candle allocates and zeroes a tensor per gradient and then adds to it: three passes over memory on one thread, which is
//! slow for the large weights of a network. Concurrent backward passes would also each hold gradients as large as the
//! network. Our own operations therefore add the gradients of weights in place to [`GradientSums`], one set shared by all
//! passes.

use crate::weights::Variables;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Shape, Tensor, TensorId};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values per parallel task.
const CHUNK: usize = 1 << 14;

/// Gradients of variables, in `f32` at least, summed over backward passes that may run concurrently.
///
/// The sum of two passes does not depend on their order. For more passes, the caller must fix the order if results must be
/// reproducible.
#[derive(Debug)]
pub struct GradientSums {
    variables: Variables,
    names: HashMap<TensorId, String>,
    sums: Mutex<BTreeMap<String, Sum>>,
}

/// The sum of one variable's gradients.
#[derive(Debug)]
enum Sum {
    /// Values that nothing else shares, so terms are added in place.
    Owned(Vec<f32>, Shape),
    Tensor(Tensor),
}

thread_local! {
    /// The sums to which the backward pass on this thread adds.
    static ACTIVE: RefCell<Option<Arc<GradientSums>>> = const { RefCell::new(None) };
}

/// Restores the previously active sums on drop: a thread that waits for rayon may run another backward pass meanwhile.
struct RestoreActive(Option<Arc<GradientSums>>);

impl Drop for RestoreActive {
    fn drop(&mut self) {
        ACTIVE.set(self.0.take());
    }
}

impl GradientSums {
    /// Sums for these variables, without any gradient yet.
    #[must_use]
    pub fn of(variables: &Variables) -> Arc<Self> {
        let names = variables.iter().map(|(name, variable)| (variable.id(), name.clone())).collect();
        Arc::new(Self { variables: variables.clone(), names, sums: Mutex::default() })
    }

    /// Differentiates the scalar `loss` and adds the gradients of the variables it depends on. Returns the gradients of all
    /// other tensors.
    ///
    /// # Errors
    /// Fails if the loss is not a scalar or a backward pass fails.
    pub fn backward(self: &Arc<Self>, loss: &Tensor) -> Result<GradStore> {
        let restore = RestoreActive(ACTIVE.replace(Some(Arc::clone(self))));
        let store = loss.backward();
        drop(restore);
        let mut store = store?;
        for (name, variable) in &self.variables {
            let Some(gradient) = store.remove(variable) else { continue };
            // Detached, because a gradient keeps its graph alive.
            let gradient = gradient.detach();
            let gradient =
                if gradient.dtype() == DType::F64 { gradient } else { gradient.to_dtype(DType::F32)? };
            self.add(name, Sum::Tensor(gradient))?;
        }
        Ok(store)
    }

    fn add(&self, name: &str, mut term: Sum) -> Result<()> {
        // The lock is not held during the addition. A thread that waits for the parallel addition may run another backward
        // pass, which needs the lock.
        loop {
            let sum = {
                let mut sums = self.lock();
                match sums.remove(name) {
                    Some(sum) => sum,
                    None => {
                        sums.insert(name.to_owned(), term);
                        return Ok(());
                    }
                }
            };
            term = sum.plus(term)?;
        }
    }

    /// Removes and returns the sums by name. Variables without a gradient are absent.
    ///
    /// # Errors
    /// Fails if a tensor cannot be created.
    pub fn take(&self) -> Result<BTreeMap<String, Tensor>> {
        let sums = mem::take(&mut *self.lock());
        sums.into_iter().map(|(name, sum)| Ok((name, sum.into_tensor()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sum>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn plus(self, term: Self) -> Result<Self> {
        match (self, term) {
            (Self::Owned(mut sum, shape), Self::Owned(term, _)) => {
                sum.par_chunks_mut(CHUNK).zip(term.par_chunks(CHUNK)).for_each(|(sum, term)| {
                    sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += term);
                });
                Ok(Self::Owned(sum, shape))
            }
            (sum, term) => Ok(Self::Tensor((sum.into_tensor()? + term.into_tensor()?)?)),
        }
    }

    fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Owned(values, shape) => Tensor::from_vec(values, shape, &Device::Cpu),
            Self::Tensor(tensor) => Ok(tensor),
        }
    }
}

/// Adds the gradient of `weight` to the sums that are active on this thread. Returns what the operation should pass to
/// candle: nothing if the gradient was added, otherwise the gradient itself.
pub(crate) fn accumulate(weight: &Tensor, gradient: Vec<f32>) -> Result<Option<Tensor>> {
    let gradient = Sum::Owned(gradient, weight.shape().clone());
    let active = ACTIVE.with_borrow(Option::clone);
    match active.as_ref().and_then(|sums| Some((sums, sums.names.get(&weight.id())?))) {
        Some((sums, name)) => sums.add(name, gradient).map(|()| None),
        None => gradient.into_tensor().map(Some),
    }
}
