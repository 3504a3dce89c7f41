//! Where a backward pass leaves the gradients of weights.
//!
//! candle adds every gradient to a tensor of zeros that it has just made: three passes over memory on one thread, which
//! the large weights of a network feel. And passes that run beside each other would each hold a set of gradients as large
//! as the network. So our own operations hand the gradients of weights to [`GradientSums`], which keeps one set for all
//! passes and adds in place.

use crate::weights::Variables;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Shape, Tensor, TensorId};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values that one task adds.
const CHUNK: usize = 1 << 14;

/// Gradients of variables, in f32 at least, summed over backward passes that may run beside each other.
///
/// A sum of two terms does not depend on which came first; of more, the caller has to see to the order.
#[derive(Debug)]
pub struct GradientSums {
    variables: Variables,
    names: HashMap<TensorId, String>,
    sums: Mutex<BTreeMap<String, Sum>>,
}

/// One variable's.
#[derive(Debug)]
enum Sum {
    /// Nobody else's values: terms are added in place.
    Own(Vec<f32>, Shape),
    Tensor(Tensor),
}

thread_local! {
    /// Where the backward pass on this thread leaves gradients.
    static OPEN: RefCell<Option<Arc<GradientSums>>> = const { RefCell::new(None) };
}

/// Puts back what was open before: a thread that waits for others may take up another pass in between.
struct Reopen(Option<Arc<GradientSums>>);

impl Drop for Reopen {
    fn drop(&mut self) {
        OPEN.set(self.0.take());
    }
}

impl GradientSums {
    /// No gradient yet of any of these.
    #[must_use]
    pub fn of(variables: &Variables) -> Arc<Self> {
        let names = variables.iter().map(|(name, variable)| (variable.id(), name.clone())).collect();
        Arc::new(Self { variables: variables.clone(), names, sums: Mutex::default() })
    }

    /// Differentiates `loss`, a scalar, and adds the gradients of the variables that it reaches. Returns those of all
    /// else.
    ///
    /// # Errors
    /// candle's.
    pub fn backward(self: &Arc<Self>, loss: &Tensor) -> Result<GradStore> {
        let reopen = Reopen(OPEN.replace(Some(Arc::clone(self))));
        let store = loss.backward();
        drop(reopen);
        let mut store = store?;
        for (name, variable) in &self.variables {
            let Some(gradient) = store.remove(variable) else { continue };
            // Detached, or its graph would stay alive.
            let gradient = gradient.detach();
            let gradient =
                if gradient.dtype() == DType::F64 { gradient } else { gradient.to_dtype(DType::F32)? };
            self.add(name, Sum::Tensor(gradient))?;
        }
        Ok(store)
    }

    fn add(&self, name: &str, mut term: Sum) -> Result<()> {
        // Added with the lock open: a thread that waits for the others' parts of an addition may be given a pass that wants
        // the lock.
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

    /// The sums by name, of those variables that were reached.
    ///
    /// # Errors
    /// candle's.
    pub fn take(&self) -> Result<BTreeMap<String, Tensor>> {
        let sums = std::mem::take(&mut *self.lock());
        sums.into_iter().map(|(name, sum)| Ok((name, sum.into_tensor()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sum>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn plus(self, term: Self) -> Result<Self> {
        match (self, term) {
            (Self::Own(mut sum, shape), Self::Own(term, _)) => {
                sum.par_chunks_mut(CHUNK).zip(term.par_chunks(CHUNK)).for_each(|(sum, term)| {
                    sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += term);
                });
                Ok(Self::Own(sum, shape))
            }
            (sum, term) => Ok(Self::Tensor((sum.into_tensor()? + term.into_tensor()?)?)),
        }
    }

    fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Own(values, shape) => Tensor::from_vec(values, shape, &Device::Cpu),
            Self::Tensor(tensor) => Ok(tensor),
        }
    }
}

/// What an operation returns as the gradient of `weight`: nothing, where it could be left with the sums that are open on
/// this thread.
pub(crate) fn leave(weight: &Tensor, gradient: Vec<f32>) -> Result<Option<Tensor>> {
    let gradient = Sum::Own(gradient, weight.shape().clone());
    let open = OPEN.with_borrow(Option::clone);
    match open.as_ref().and_then(|sums| Some((sums, sums.names.get(&weight.id())?))) {
        Some((sums, name)) => sums.add(name, gradient).map(|()| None),
        None => gradient.into_tensor().map(Some),
    }
}
