//! Micro-batches. Every random draw is a pure function of the run's seed, its purpose and the number of the
//! micro-batch, so a resumed run repeats an undisturbed one without a saved generator.

use super::encoded::EncodedSet;
use super::lists::Units;
use super::related::PromptWords;
use super::tensor_name::Side;
use crate::objectives::ClipFeatures;
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use datasets::pair::ListPlace;
use diffusion::conditioning::Conditioning;
use diffusion::config::VaeConfig;
use diffusion::noise::Noise;
use diffusion::schedule::Schedule;
use domain::train::{Batching, HorizontalFlip, MicroConditioningSpec, NoiseSharing, Objective, TrainSpec};
use std::collections::HashSet;

/// One micro-batch of M examples, on the training device except for the CLIP features.
#[derive(Debug)]
pub struct Batch {
    /// Clean latents of the winners (or of the images of a set without pairs), times the VAE's scaling factor:
    /// (M, channels, height, width).
    pub winner: Tensor,
    /// Latents of the losers, shaped as `winner`.
    pub loser: Option<Tensor>,
    /// Gaussian noise of each example, shared by winner and loser, shaped as `winner`.
    pub noise: Tensor,
    /// Timestep of each example, 0 to 999, shared by winner and loser.
    pub timesteps: Vec<usize>,
    /// The UNet's conditioning per side, of M images each: the encoded caption, or the empty one where it was dropped,
    /// and for SDXL the micro-conditioning of the side's images.
    pub conditioning: Vec<Conditioning>,
    /// Numbers of the examples in the set.
    pub examples: Vec<u32>,
    /// CLIP features of the pairs, with the captions before dropout; `None` for objectives without weights.
    pub clip: Option<ClipFeatures>,
    /// Places of the pairs in ranked lists, for an objective on lists; empty where each pair is a list of its own.
    pub lists: Vec<ListPlace>,
}

/// Streams of the run's seed, one per purpose; the number of the epoch or micro-batch is added.
const ORDER: u64 = 1 << 60;
const DRAWS: u64 = 2 << 60;
const HELD_OUT: u64 = 3 << 60;
const VALIDATION: u64 = 4 << 60;
const FLIPS: u64 = 5 << 60;

/// Deals a set in micro-batches.
#[derive(Debug)]
pub struct Batches<'a> {
    set: &'a EncodedSet,
    spec: &'a TrainSpec,
    schedule: &'a Schedule,
    vae: &'a VaeConfig,
    device: &'a Device,
    /// Examples to train on, in units that share a micro-batch: one example, or the pairs of a list.
    training: Vec<Vec<u32>>,
    /// Examples of a unit.
    unit: usize,
    /// Examples to validate on, a multiple of the micro-batch size.
    held_out: Vec<u32>,
    /// Words of the prompt of each unit, to deal related ones together.
    words: Option<PromptWords>,
    /// The current epoch and its order of the units.
    epoch: Option<(u64, Vec<usize>)>,
}

impl<'a> Batches<'a> {
    /// Divides the set into training and held-out examples.
    ///
    /// # Errors
    /// Fails if the set is smaller than one micro-batch and the held-out examples, or if a preference objective gets a
    /// set without losers.
    pub fn new(
        set: &'a EncodedSet,
        spec: &'a TrainSpec,
        schedule: &'a Schedule,
        vae: &'a VaeConfig,
        device: &'a Device,
    ) -> Result<Self> {
        let is_listwise = matches!(spec.objective, Objective::DiffusionLpo { .. });
        let Units { units, size: unit } =
            if is_listwise { Units::lists(set, spec.batch_size as usize)? } else { Units::alone(set)? };
        ensure!(
            units.len() * unit >= (spec.batch_size + spec.validation_examples) as usize,
            "data: the set has {} examples, fewer than batch_size {} plus validation_examples {}: use a larger set, or \
             lower these",
            units.len() * unit,
            spec.batch_size,
            spec.validation_examples
        );
        ensure!(
            set.has_losers() || !spec.objective.is_preference(),
            "data: objective {} needs preference pairs, and the set has images without losers: use objective sft, or a set of \
             pairs",
            spec.objective.kind()
        );
        let mut held_out = Vec::new();
        if spec.validation_examples > 0 {
            held_out = Noise::stream(spec.seed, HELD_OUT).permutation(units.len());
            held_out.truncate(spec.validation_examples as usize / unit);
        }
        let excluded: HashSet<usize> = held_out.iter().copied().collect();
        let held_out: Vec<u32> = held_out.into_iter().flat_map(|i| units[i].iter().copied()).collect();
        let training = units.into_iter().enumerate().filter(|(i, _)| !excluded.contains(i));
        let training: Vec<Vec<u32>> = training.map(|(_, unit)| unit).collect();
        let words = match spec.batching {
            Batching::Shuffled => None,
            Batching::RelatedPrompts => {
                let first: Vec<u32> = training.iter().filter_map(|unit| unit.first().copied()).collect();
                Some(PromptWords::of(&set.caption_texts(&first)?))
            }
        };
        Ok(Self { set, spec, schedule, vae, device, training, unit, held_out, words, epoch: None })
    }

    /// Micro-batch `number` of the run, counted from 0. Each epoch shuffles the examples anew; an incomplete
    /// micro-batch at its end is omitted.
    ///
    /// # Errors
    /// Fails if the encoded set lacks a tensor that the run needs, or if a tensor operation fails.
    pub fn get(&mut self, number: u64) -> Result<Batch> {
        // Units of a micro-batch.
        let m = self.spec.batch_size as usize / self.unit;
        let per_epoch = (self.training.len() / m) as u64;
        let epoch = number / per_epoch;
        if self.epoch.as_ref().is_none_or(|(at, _)| *at != epoch) {
            let shuffled = Noise::stream(self.spec.seed, ORDER + epoch).permutation(self.training.len());
            let order = match &self.words {
                Some(words) => words.group(shuffled, m),
                None => shuffled,
            };
            self.epoch = Some((epoch, order));
        }
        let order = self.epoch.as_ref().map_or(&[][..], |(_, order)| order);
        let first = (number % per_epoch) as usize * m;
        let picked: Vec<u32> =
            order[first..first + m].iter().flat_map(|&i| self.training[i].iter().copied()).collect();
        let mirrored = self.flips(&picked, Noise::stream(self.spec.seed, FLIPS + number))?;
        let noise = Noise::stream(self.spec.seed, DRAWS + number);
        self.assemble(picked, &mirrored, noise, self.spec.caption_dropout)
    }

    /// The held-out examples in micro-batches, with the same noise and timesteps at every call, without caption dropout
    /// and mirroring.
    ///
    /// # Errors
    /// As [`Batches::get`].
    pub(crate) fn held_out(&self) -> Result<Vec<Batch>> {
        let batches = self.held_out.chunks_exact(self.spec.batch_size as usize).zip(0..);
        batches
            .map(|(picked, i)| {
                let unmirrored = vec![false; picked.len()];
                let noise = Noise::stream(self.spec.seed, VALIDATION + i);
                self.assemble(picked.to_vec(), &[unmirrored.clone(), unmirrored], noise, 0.0)
            })
            .collect()
    }

    /// The captions of the held-out examples.
    ///
    /// # Errors
    /// Fails if the list of captions is damaged.
    pub(crate) fn held_out_captions(&self) -> Result<Vec<String>> {
        self.set.caption_texts(&self.held_out)
    }

    /// The examples of a micro-batch with captions and timesteps, to find the one at which a run diverged.
    ///
    /// # Errors
    /// Fails if the list of captions is damaged.
    pub(crate) fn describe(&self, batch: &Batch) -> Result<String> {
        let captions = self.set.caption_texts(&batch.examples)?;
        let named = batch.examples.iter().zip(captions).zip(&batch.timesteps);
        let named = named.map(|((i, caption), t)| format!("{i} {caption:?} at timestep {t}"));
        Ok(format!("examples {}", named.collect::<Vec<_>>().join(", ")))
    }

    /// A micro-batch of these examples. `mirrored` says for each winner and loser whether it is turned left to right.
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
        let kept = self.shared(kept);
        let timesteps = self.shared(self.timesteps(picked.len(), &mut noise));
        let sides = if self.spec.objective.is_preference() { 2 } else { 1 };
        let text = self.set.text(&kept)?;
        let (mut latents, mut conditioning) = (Vec::new(), Vec::new());
        for (side, mirrored) in Side::ALL.into_iter().zip(mirrored).take(sides) {
            latents.push(self.latents(side, &picked, mirrored, &mut noise)?);
            let images = match self.spec.micro_conditioning {
                MicroConditioningSpec::Image => self.set.micro_conditioning(side, &picked, mirrored)?,
                MicroConditioningSpec::Whole => vec![self.set.whole_image(); picked.len()],
            };
            conditioning.push(text.for_images(&images)?.to_device(self.device)?);
        }
        let mut latents = latents.into_iter();
        let (winner, loser) = (latents.next().context("a micro-batch without winners")?, latents.next());
        let clip = match self.spec.objective.weighting() {
            Some(_) => Some(self.set.clip_features(&picked, &captions)?),
            None => None,
        };
        let mut draws = noise.normal_tensor(winner.shape().clone(), self.device)?;
        if self.unit > 1 {
            let first: Vec<u32> = self.shared((0..picked.len() as u32).collect());
            draws = draws.index_select(&Tensor::new(first, self.device)?, 0)?;
        }
        let lists = match self.unit {
            1 => Vec::new(),
            _ => self.set.list_places(&picked)?.unwrap_or_default(),
        };
        Ok(Batch { noise: draws, winner, loser, timesteps, conditioning, clip, lists, examples: picked })
    }

    /// The values of each unit's first example, for all its examples: a list has one timestep, one draw of noise and one caption.
    fn shared<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        let first = |unit: &[T]| unit.first().copied();
        values.chunks(self.unit).flat_map(|unit| first(unit).into_iter().cycle().take(unit.len())).collect()
    }

    /// Which winners and which losers are turned left to right: each with probability 1/2, pairs together if
    /// `horizontal_flip` is `per_pair`.
    fn flips(&self, picked: &[u32], mut noise: Noise) -> Result<[Vec<bool>; 2]> {
        let flip = self.spec.horizontal_flip;
        if flip == HorizontalFlip::Off {
            return Ok([vec![false; picked.len()], vec![false; picked.len()]]);
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

    /// Draws from the VAE's posteriors, mean + exp(log_variance / 2) noise, times the VAE's scaling factor.
    fn latents(&self, side: Side, picked: &[u32], mirrored: &[bool], noise: &mut Noise) -> Result<Tensor> {
        let [mean, log_variance] = self.set.posteriors(side, picked, mirrored)?;
        let draw = noise.normal_tensor(mean.shape().clone(), &Device::Cpu)?;
        let latents = (mean + ((log_variance * 0.5)?.exp()? * draw)?)?;
        Ok((latents * self.vae.scaling_factor)?.to_device(self.device)?)
    }

    /// M timesteps, each uniform over 0 to 999. Pre-training draws one from each of M equal intervals, which has the
    /// same distribution for each image and less variance between micro-batches. `batch_shared` draws one for all.
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
