//! Micro-batches. Every random draw is a pure function of the run's seed, the purpose and the micro-batch's
//! number, so that a resumed run needs no saved generator and repeats an undisturbed one.

use super::encoded::EncodedSet;
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use diffusion::conditioning::Conditioning;
use diffusion::config::VaeConfig;
use diffusion::noise::Noise;
use diffusion::schedule::Schedule;
use domain::train::{HorizontalFlip, MicroConditioningSpec, NoiseSharing, Objective, TrainSpec};
use std::collections::HashSet;

/// One micro-batch of M examples, on the training device.
#[derive(Debug)]
pub struct Batch {
    /// Clean, scaled latents of images or winners, (M, channels, height, width).
    pub winner: Tensor,
    /// Of losers.
    pub loser: Option<Tensor>,
    /// Noise of each pair, shared by winner and loser, shaped as `winner`.
    pub noise: Tensor,
    /// Timestep of each pair.
    pub timesteps: Vec<usize>,
    /// What the networks are told of each image, for each side: the pair's caption, or the empty one where that was
    /// dropped, and by SDXL's the sizes of the side's own image.
    pub conditioning: Vec<Conditioning>,
    /// Which examples of the set these are.
    pub examples: Vec<u32>,
    /// CLIP features, (M, width) each: of winners, losers and the undropped captions.
    pub clip: Option<[Tensor; 3]>,
}

/// Purposes of random draws.
const ORDER: u64 = 1 << 60;
const DRAWS: u64 = 2 << 60;
const HELD_OUT: u64 = 3 << 60;
const VALIDATION: u64 = 4 << 60;
const FLIPS: u64 = 5 << 60;

/// Winners and losers of a set.
const SIDES: [&str; 2] = ["winner", "loser"];

/// Deals a set in micro-batches.
#[derive(Debug)]
pub struct Batches<'a> {
    set: &'a EncodedSet,
    spec: &'a TrainSpec,
    schedule: &'a Schedule,
    vae: &'a VaeConfig,
    device: &'a Device,
    /// Examples to learn from.
    learnt: Vec<u32>,
    /// Examples held out, whole batches of them.
    held_out: Vec<u32>,
    /// The epoch whose order is at hand.
    epoch: Option<(u64, Vec<usize>)>,
}

impl<'a> Batches<'a> {
    /// # Errors
    /// The set is smaller than one batch, or lacks losers that the objective needs.
    pub fn new(
        set: &'a EncodedSet,
        spec: &'a TrainSpec,
        schedule: &'a Schedule,
        vae: &'a VaeConfig,
        device: &'a Device,
    ) -> Result<Self> {
        ensure!(
            set.len() >= (spec.batch_size + spec.validation_examples) as usize,
            "data: the set has {} examples, fewer than one batch of {} beside {} to validate on",
            set.len(),
            spec.batch_size,
            spec.validation_examples
        );
        ensure!(
            set.has_losers() || !spec.objective.is_preference(),
            "data: objective {} needs pairs",
            spec.objective.kind()
        );
        let mut held_out = Vec::new();
        if spec.validation_examples > 0 {
            held_out = Noise::stream(spec.seed, HELD_OUT).permutation(set.len());
            held_out.truncate(spec.validation_examples as usize);
        }
        let held_out: Vec<u32> = held_out.into_iter().map(|i| i as u32).collect();
        let kept: HashSet<u32> = held_out.iter().copied().collect();
        let learnt = (0..set.len() as u32).filter(|i| !kept.contains(i)).collect();
        Ok(Self { set, spec, schedule, vae, device, learnt, held_out, epoch: None })
    }

    /// Micro-batch number `number` of the run.
    ///
    /// # Errors
    /// candle's.
    pub fn get(&mut self, number: u64) -> Result<Batch> {
        let m = self.spec.batch_size as usize;
        let per_epoch = (self.learnt.len() / m) as u64;
        let epoch = number / per_epoch;
        if self.epoch.as_ref().is_none_or(|(at, _)| *at != epoch) {
            self.epoch =
                Some((epoch, Noise::stream(self.spec.seed, ORDER + epoch).permutation(self.learnt.len())));
        }
        let order = self.epoch.as_ref().map_or(&[][..], |(_, order)| order);
        let first = (number % per_epoch) as usize * m;
        let picked: Vec<u32> = order[first..first + m].iter().map(|&i| self.learnt[i]).collect();
        let mirrored = self.flips(&picked, Noise::stream(self.spec.seed, FLIPS + number))?;
        let noise = Noise::stream(self.spec.seed, DRAWS + number);
        self.assemble(picked, &mirrored, noise, self.spec.caption_dropout)
    }

    /// The examples held out, in micro-batches that are the same whenever they are asked for, no caption dropped and no
    /// image mirrored.
    ///
    /// # Errors
    /// candle's.
    pub fn held_out(&self) -> Result<Vec<Batch>> {
        let batches = self.held_out.chunks_exact(self.spec.batch_size as usize).zip(0..);
        batches
            .map(|(picked, i)| {
                let as_they_are = vec![false; picked.len()];
                let noise = Noise::stream(self.spec.seed, VALIDATION + i);
                self.assemble(picked.to_vec(), &[as_they_are.clone(), as_they_are], noise, 0.0)
            })
            .collect()
    }

    /// Names the examples of a micro-batch, for people who look for the one that broke a run.
    ///
    /// # Errors
    /// candle's.
    pub fn describe(&self, batch: &Batch) -> Result<String> {
        let captions = self.set.caption_texts(&batch.examples)?;
        let named = batch.examples.iter().zip(captions).zip(&batch.timesteps);
        let named = named.map(|((i, caption), t)| format!("{i} {caption:?} at timestep {t}"));
        Ok(format!("examples {}", named.collect::<Vec<_>>().join(", ")))
    }

    /// `mirrored`: which winners and which losers are turned left to right.
    fn assemble(
        &self,
        picked: Vec<u32>,
        mirrored: &[Vec<bool>; 2],
        mut noise: Noise,
        caption_dropout: f64,
    ) -> Result<Batch> {
        let captions = self.set.captions_of(&picked)?;
        let kept: Vec<u32> =
            captions.iter().map(|&row| if noise.uniform() < caption_dropout { 0 } else { row }).collect();
        let timesteps = self.timesteps(picked.len(), &mut noise);
        let sides = if self.spec.objective.is_preference() { 2 } else { 1 };
        let text = self.set.text(&kept)?;
        let (mut latents, mut conditioning) = (Vec::new(), Vec::new());
        for (side, mirrored) in SIDES.into_iter().zip(mirrored).take(sides) {
            latents.push(self.latents(side, &picked, mirrored, &mut noise)?);
            let images = match self.spec.micro_conditioning {
                MicroConditioningSpec::Image => self.set.images(side, &picked, mirrored)?,
                MicroConditioningSpec::Whole => vec![self.set.whole(); picked.len()],
            };
            conditioning.push(text.for_images(&images)?.to_device(self.device)?);
        }
        let mut latents = latents.into_iter();
        let (winner, loser) = (latents.next().context("a micro-batch has winners")?, latents.next());
        let clip = match self.spec.objective.weighting() {
            Some(_) => Some([
                self.set.rows("clip.winner", &picked)?,
                self.set.rows("clip.loser", &picked)?,
                self.set.rows("clip.text", &captions)?,
            ]),
            None => None,
        };
        Ok(Batch {
            noise: noise.normal_tensor(winner.shape().clone(), self.device)?,
            winner,
            loser,
            timesteps,
            conditioning,
            clip,
            examples: picked,
        })
    }

    /// Which winners and which losers are turned left to right.
    fn flips(&self, picked: &[u32], mut noise: Noise) -> Result<[Vec<bool>; 2]> {
        let flip = self.spec.horizontal_flip;
        let as_they_are = || vec![false; picked.len()];
        if flip == HorizontalFlip::Off {
            return Ok([as_they_are(), as_they_are()]);
        }
        let mut mirrored = [Vec::new(), Vec::new()];
        for may_be in self.set.may_be_mirrored(picked)? {
            let [winner, loser] = [noise.uniform() < 0.5, noise.uniform() < 0.5];
            let loser = if flip == HorizontalFlip::PerPair { winner } else { loser };
            mirrored[0].push(may_be && winner);
            mirrored[1].push(may_be && loser);
        }
        Ok(mirrored)
    }

    /// A draw from the posterior, scaled.
    fn latents(&self, side: &str, picked: &[u32], mirrored: &[bool], noise: &mut Noise) -> Result<Tensor> {
        let [mean, log_variance] = self.set.posteriors(side, picked, mirrored)?;
        let draw = noise.normal_tensor(mean.shape().clone(), &Device::Cpu)?;
        let latents = (mean + ((log_variance * 0.5)?.exp()? * draw)?)?;
        Ok((latents * self.vae.scaling_factor)?.to_device(self.device)?)
    }

    /// Uniform over all timesteps. Pre-training spreads a batch evenly over them (the same distribution for each
    /// image, less variance between batches); `batch_shared` draws one for all.
    fn timesteps(&self, m: usize, noise: &mut Noise) -> Vec<usize> {
        let n = self.schedule.timesteps();
        match (&self.spec.objective, self.spec.noise) {
            (_, NoiseSharing::BatchShared) => vec![noise.below(n); m],
            (Objective::Denoise { .. }, _) => (0..m)
                .map(|i| (((i as f64 + noise.uniform()) / m as f64 * n as f64) as usize).min(n - 1))
                .collect(),
            _ => (0..m).map(|_| noise.below(n)).collect(),
        }
    }
}
