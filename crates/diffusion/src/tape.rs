//! Forward passes with a choice of what is stored for the backward pass.
//!
//! candle keeps every intermediate value of a graph until the backward pass has used it. A network that runs in steps on a
//! [`Tape`] can instead store only the inputs of each step and recompute the rest (activation checkpointing: Chen et al.
//! 2016, "Training Deep Nets with Sublinear Memory Cost"), or store nothing where no gradient is needed.

use crate::gradients::GradientSums;
use crate::{Error, Result};
use candle_core::{Tensor, TensorId, Var};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How a forward pass prepares for its backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackwardMode {
    /// Stores the whole graph.
    StoreGraph,
    /// Stores the inputs of each step and recomputes its graph in the backward pass (activation checkpointing): gradients
    /// with the same bits in less memory, for one more forward pass.
    Recompute,
    /// Stores nothing; a backward pass is an error.
    Disabled,
}

type StepFunction<'a> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + 'a>;

/// A step that the backward pass runs again.
struct Step<'a> {
    inputs: Vec<Tensor>,
    output: TensorId,
    function: StepFunction<'a>,
}

/// A forward pass in progress.
pub struct Tape<'a> {
    mode: BackwardMode,
    steps: Vec<Step<'a>>,
    outputs: HashSet<TensorId>,
}

impl<'a> Tape<'a> {
    /// A tape without steps.
    #[must_use]
    pub fn new(mode: BackwardMode) -> Self {
        Self { mode, steps: Vec::new(), outputs: HashSet::new() }
    }

    /// Runs a step: a deterministic function of its inputs and of parameters.
    ///
    /// # Errors
    /// Fails if the step does, or if in [`BackwardMode::Recompute`] an input has a graph of its own, which the tape would
    /// cut off.
    pub fn run(
        &mut self,
        inputs: &[&Tensor],
        step: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'a,
    ) -> Result<Tensor> {
        let inputs: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
        match self.mode {
            BackwardMode::StoreGraph => step(&inputs),
            BackwardMode::Disabled => Ok(step(&inputs)?.detach()),
            BackwardMode::Recompute => {
                if inputs.iter().any(Tensor::track_op) {
                    return Err(Error::message(
                        "a pass that recomputes its graph passes no gradient to its inputs, but an input needs one: \
                         use BackwardMode::StoreGraph",
                    ));
                }
                let output = step(&inputs)?.detach();
                self.outputs.insert(output.id());
                self.steps.push(Step { inputs, output: output.id(), function: Box::new(step) });
                Ok(output)
            }
        }
    }

    /// Ends the forward pass with the output of the last step.
    ///
    /// # Errors
    /// Fails if the output cannot be copied.
    pub fn finish(self, output: Tensor) -> Result<Pass<'a>> {
        Ok(match self.mode {
            BackwardMode::StoreGraph | BackwardMode::Disabled => Pass { tape: self, leaf: None, output },
            BackwardMode::Recompute => {
                let leaf = Var::from_tensor(&output)?;
                Pass { tape: self, output: leaf.as_tensor().clone(), leaf: Some((leaf, output.id())) }
            }
        })
    }
}

/// A finished forward pass, ready for its backward pass.
pub struct Pass<'a> {
    tape: Tape<'a>,
    output: Tensor,
    /// In [`BackwardMode::Recompute`], the output as a variable that the loss depends on, and the id of the last step's
    /// output.
    leaf: Option<(Var, TensorId)>,
}

impl Pass<'_> {
    /// The output of the network, to compute a loss from.
    #[must_use]
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Adds the gradients of `loss`, a scalar function of the output, to `sums`.
    ///
    /// # Errors
    /// Fails if the pass ran with [`BackwardMode::Disabled`] or a backward pass fails.
    pub fn backward(self, loss: &Tensor, sums: &Arc<GradientSums>) -> Result<()> {
        let mut store = sums.backward(loss)?;
        let Some((leaf, last)) = self.leaf else {
            return match self.tape.mode {
                BackwardMode::Disabled => {
                    Err(Error::message("a pass with BackwardMode::Disabled has no backward pass"))
                }
                BackwardMode::StoreGraph | BackwardMode::Recompute => Ok(()),
            };
        };
        let mut gradients = HashMap::new();
        if let Some(gradient) = store.remove(&leaf) {
            gradients.insert(last, gradient.detach());
        }
        drop(store);
        let Tape { steps, outputs, .. } = self.tape;
        for step in steps.into_iter().rev() {
            if let Some(gradient) = gradients.remove(&step.output) {
                step.backward(gradient, &outputs, &mut gradients, sums)?;
            }
        }
        Ok(())
    }
}

impl Step<'_> {
    /// Runs the step again and differentiates it, given the gradient of its output. Adds the gradients of parameters to
    /// `sums` and those of inputs that are `outputs` of other steps to `gradients`.
    fn backward(
        self,
        gradient: Tensor,
        outputs: &HashSet<TensorId>,
        gradients: &mut HashMap<TensorId, Tensor>,
        sums: &Arc<GradientSums>,
    ) -> Result<()> {
        let mut inputs = Vec::new();
        let mut leaves = Vec::new();
        for input in &self.inputs {
            if outputs.contains(&input.id()) {
                let variable = Var::from_tensor(input)?;
                inputs.push(variable.as_tensor().clone());
                leaves.push((input.id(), variable));
            } else {
                inputs.push(input.clone());
            }
        }
        let mut loss = ((self.function)(&inputs)? * gradient)?.sum_all()?;
        for (id, leaf) in &leaves {
            // The gradient from later steps is the first term of the sum, as in the whole graph.
            if let Some(from_later_steps) = gradients.remove(id) {
                // On the right, because candle differentiates the right operand first.
                loss = (loss + (leaf.as_tensor() * from_later_steps)?.sum_all()?)?;
            }
        }
        let mut store = sums.backward(&loss)?;
        drop(loss);
        for (id, leaf) in leaves {
            if let Some(gradient) = store.remove(&leaf) {
                gradients.insert(id, gradient.detach());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tape({:?}, {} steps)", self.mode, self.steps.len())
    }
}

impl std::fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pass({:?})", self.tape)
    }
}
