//! Forward passes whose graph need not be held whole.
//!
//! candle keeps every intermediate value of a graph until the backward pass has used it. A network that runs step by
//! step on a [`Tape`] leaves the choice to its caller: the whole graph, no more than what enters each step (the way
//! back then runs one step again at a time: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"), or
//! nothing, where only the result counts.

use crate::gradients::GradientSums;
use crate::{Error, Result};
use candle_core::{Tensor, TensorId, Var};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is kept of a forward pass for the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The graph from end to end.
    Graph,
    /// What enters each step, which the way back runs again: the same gradients to the last bit, in less memory, for
    /// one more forward pass.
    Inputs,
    /// Nothing: there is no way back.
    Nothing,
}

type Run<'a> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + 'a>;

/// A step that the way back runs again.
struct Step<'a> {
    inputs: Vec<Tensor>,
    output: TensorId,
    run: Run<'a>,
}

/// Runs the steps of a network.
pub struct Tape<'a> {
    keep: Keep,
    steps: Vec<Step<'a>>,
    outputs: HashSet<TensorId>,
}

impl<'a> Tape<'a> {
    /// A tape without steps.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self { keep, steps: Vec::new(), outputs: HashSet::new() }
    }

    /// Runs a step: a function of its inputs and of parameters, the same each time it is run.
    ///
    /// # Errors
    /// The step's; an input with a graph of its own that this tape would cut.
    pub fn run(
        &mut self,
        inputs: &[&Tensor],
        step: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'a,
    ) -> Result<Tensor> {
        let inputs: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
        match self.keep {
            Keep::Graph => step(&inputs),
            Keep::Nothing => Ok(step(&inputs)?.detach()),
            Keep::Inputs => {
                if inputs.iter().any(Tensor::track_op) {
                    return Err(Error::Candle(candle_core::Error::Msg(
                        "a pass that keeps inputs only has no way back into what made its inputs: keep the graph".into(),
                    )));
                }
                let output = step(&inputs)?.detach();
                self.outputs.insert(output.id());
                self.steps.push(Step { inputs, output: output.id(), run: Box::new(step) });
                Ok(output)
            }
        }
    }

    /// Ends the forward pass with what the last step gave.
    ///
    /// # Errors
    /// candle's.
    pub fn finish(self, output: Tensor) -> Result<Pass<'a>> {
        Ok(match self.keep {
            Keep::Graph | Keep::Nothing => Pass { tape: self, leaf: None, output },
            Keep::Inputs => {
                let leaf = Var::from_tensor(&output)?;
                Pass { tape: self, output: leaf.as_tensor().clone(), leaf: Some((leaf, output.id())) }
            }
        })
    }
}

/// A forward pass, and the way back from it.
pub struct Pass<'a> {
    tape: Tape<'a>,
    output: Tensor,
    /// Where the steps are run again: the output as the beginning of whatever the caller makes of it, and the last
    /// step's own.
    leaf: Option<(Var, TensorId)>,
}

impl Pass<'_> {
    /// What the network gave, to compute a loss from.
    #[must_use]
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Adds the gradients of `loss`, a scalar function of the output, to `sums`.
    ///
    /// # Errors
    /// candle's; a pass that kept nothing.
    pub fn backward(self, loss: &Tensor, sums: &Arc<GradientSums>) -> Result<()> {
        let mut store = sums.backward(loss)?;
        let Some((leaf, last)) = self.leaf else {
            if self.tape.keep == Keep::Nothing {
                let problem = "a pass that kept nothing has no way back".to_owned();
                return Err(Error::Candle(candle_core::Error::Msg(problem)));
            }
            return Ok(());
        };
        let mut gradients = HashMap::new();
        if let Some(gradient) = store.remove(&leaf) {
            gradients.insert(last, gradient.detach());
        }
        drop(store);
        let Tape { steps, outputs, .. } = self.tape;
        for step in steps.into_iter().rev() {
            let Some(gradient) = gradients.remove(&step.output) else { continue };
            // What later steps already sent to an input is its gradient's first term, as it is in the whole graph.
            let mut inputs = Vec::new();
            let mut leaves = Vec::new();
            for input in &step.inputs {
                if outputs.contains(&input.id()) {
                    let variable = Var::from_tensor(input)?;
                    inputs.push(variable.as_tensor().clone());
                    leaves.push((input.id(), variable));
                } else {
                    inputs.push(input.clone());
                }
            }
            let mut reached = ((step.run)(&inputs)? * gradient)?.sum_all()?;
            for (id, leaf) in &leaves {
                if let Some(sent) = gradients.remove(id) {
                    // On the right: candle differentiates the right operand first.
                    reached = (reached + (leaf.as_tensor() * sent)?.sum_all()?)?;
                }
            }
            let mut store = sums.backward(&reached)?;
            drop(reached);
            for (id, leaf) in leaves {
                if let Some(gradient) = store.remove(&leaf) {
                    gradients.insert(id, gradient.detach());
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tape({:?}, {} steps)", self.keep, self.steps.len())
    }
}

impl std::fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pass({:?})", self.tape)
    }
}
