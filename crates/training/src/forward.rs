//! Denoising errors of policy and reference on a micro-batch, and the backward pass through the policy.
//!
//! An objective depends on the networks only through the errors e(k) of the images, and the error of one image does not
//! depend on the others. By the chain rule, the gradient is a sum over images (docs/method.md, "Training with the graph
//! of one image"):
//!
//! dL/dtheta = sum over k of dL/de(k) de(k)/dtheta
//!
//! So the micro-batch is cut into chunks, each evaluated with a graph of its own. The objective is differentiated with
//! respect to the errors alone, and each chunk is back-propagated with its dL/de(k). Chunks run in parallel.
//!
//! With `two_pass`, a chunk is one image and chunks run one after another: first all errors without a graph, then each
//! image again with its graph. Only one graph exists at a time.

mod chunk;
mod options;

pub use options::PassOptions;

use crate::data::batch::Batch;
use crate::objectives::PairErrors;
use crate::optim::Gradients;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use chunk::{Chunk, by_examples, by_images, by_side};
use diffusion::gradients::GradientSums;
use diffusion::schedule::Schedule;
use diffusion::tape::{BackwardMode, Pass};
use diffusion::unet::Unet;
use diffusion::weights::Variables;
use rayon::prelude::*;

/// Denoising errors of a micro-batch.
#[derive(Debug)]
pub struct Forward<'a> {
    policy: Evaluated<'a>,
    chunks: Vec<Chunk>,
    /// The policy's errors per side, (M) each, on the CPU: leaves of the objective's graph.
    leaves: Vec<Var>,
    /// The reference's errors per side, (M) each; empty without a reference.
    reference: Vec<Tensor>,
    schedule: &'a Schedule,
    options: PassOptions,
}

/// What the backward pass starts from.
#[derive(Debug)]
enum Evaluated<'a> {
    /// Per chunk, the pass and the errors computed from it.
    Passes(Vec<(Pass<'a>, Tensor)>),
    /// The network, to be evaluated again (`two_pass`).
    Network(&'a Unet),
}

impl<'a> Forward<'a> {
    /// Evaluates the policy and, if there is one, the reference. No gradient reaches the reference.
    ///
    /// # Errors
    /// Fails if a tensor operation does, for lack of memory for example.
    pub fn run(
        policy: &'a Unet,
        reference: Option<&Unet>,
        schedule: &'a Schedule,
        batch: &Batch,
        options: PassOptions,
    ) -> Result<Self> {
        let chunks = if options.two_pass { by_images(batch)? } else { by_examples(batch)? };
        let errors_of = |unet: &Unet| -> Result<Vec<Tensor>> {
            let errors = |chunk: &Chunk| {
                Ok(chunk.pass(unet, schedule, PassOptions { keep: BackwardMode::Disabled, ..options })?.1)
            };
            if options.two_pass {
                chunks.iter().map(errors).collect()
            } else {
                chunks.par_iter().map(errors).collect()
            }
        };
        let (policy, errors) = if options.two_pass {
            (Evaluated::Network(policy), errors_of(policy)?)
        } else {
            let passes = chunks
                .par_iter()
                .map(|chunk| chunk.pass(policy, schedule, options))
                .collect::<Result<Vec<_>>>()?;
            let errors = passes.iter().map(|(_, errors)| errors.detach()).collect();
            (Evaluated::Passes(passes), errors)
        };
        let leaves = by_side(&errors, &chunks)?
            .into_iter()
            .map(|errors| Var::new(errors, &Device::Cpu))
            .collect::<candle_core::Result<_>>()?;
        let reference = match reference {
            Some(reference) => by_side(&errors_of(reference)?, &chunks)?
                .into_iter()
                .map(|errors| Tensor::new(errors, &Device::Cpu))
                .collect::<candle_core::Result<_>>()?,
            None => Vec::new(),
        };
        Ok(Self { policy, chunks, leaves, reference, schedule, options })
    }

    /// The policy's errors on winners (or on the images of a set without pairs), (M), to be differentiated.
    #[must_use]
    pub fn winner(&self) -> Tensor {
        self.leaves[0].as_tensor().clone()
    }

    /// The errors of policy and reference on winners and losers; the policy's are to be differentiated.
    ///
    /// # Errors
    /// Fails if the micro-batch has no losers, or if there is no reference.
    pub fn pairs(&self) -> Result<PairErrors> {
        let (Some(loser), [reference_winner, reference_loser]) = (self.leaves.get(1), &self.reference[..])
        else {
            anyhow::bail!("a preference objective needs losers and a reference");
        };
        Ok(PairErrors {
            policy_winner: self.winner(),
            policy_loser: loser.as_tensor().clone(),
            reference_winner: reference_winner.clone(),
            reference_loser: reference_loser.clone(),
        })
    }

    /// Adds the gradient of `loss`, a scalar function of the policy's errors, to `gradients`.
    ///
    /// # Errors
    /// Fails if the loss does not depend on the errors, or if no gradient reaches one of `variables`.
    pub fn backward(self, loss: &Tensor, variables: &Variables, gradients: &mut Gradients) -> Result<()> {
        let store = loss.backward()?;
        // dL/de(k) per side, (M) each.
        let slopes = self
            .leaves
            .iter()
            .map(|leaf| Ok(store.get(leaf).context("the loss does not depend on the errors")?.detach()))
            .collect::<Result<Vec<_>>>()?;
        let sums = GradientSums::of(variables);
        let backward = |chunk: &Chunk, (pass, errors): (Pass<'_>, Tensor)| -> Result<()> {
            let (first, count) = (chunk.examples.start, chunk.examples.len());
            let sides = slopes[chunk.sides.clone()].iter();
            let sides = sides.map(|s| s.narrow(0, first, count)).collect::<candle_core::Result<Vec<_>>>()?;
            let slopes = Tensor::cat(&sides, 0)?.to_device(errors.device())?;
            Ok(pass.backward(&(errors * slopes)?.sum_all()?, &sums)?)
        };
        match self.policy {
            Evaluated::Passes(passes) => {
                self.chunks.par_iter().zip(passes).try_for_each(|(chunk, pass)| backward(chunk, pass))
            }
            Evaluated::Network(policy) => self
                .chunks
                .iter()
                .try_for_each(|chunk| backward(chunk, chunk.pass(policy, self.schedule, self.options)?)),
        }?;
        gradients.add_named(sums.take()?, variables)
    }
}
