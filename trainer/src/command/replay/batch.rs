//! The stored inputs: M pairs, each with latents, noise, a timestep and conditioning. They are checked before
//! anything is computed.

use super::network::NoisedImage;
use super::tensor_file::{TensorFile, Values};
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use diffusion::config::{Prediction, UnetConfig};
use diffusion::schedule::Schedule;
use diffusion::unet::AddedConditioning;
use std::path::{Path, PathBuf};

/// The inputs of M pairs.
pub(super) struct Batch {
    file: PathBuf,
    pub(super) pairs: usize,
    /// Of winners and of losers.
    sides: [Side; 2],
    timesteps: Vec<usize>,
    /// Text states of each pair, (M, L, D).
    text: Values,
    /// Pooled text, (M, P), and time ids, (M, 6), of SDXL.
    added: Option<(Values, Values)>,
    /// Of winners and of losers, each (M, E).
    pub(super) embeddings: Option<(Values, Values)>,
}

/// Latents and noise, each (M, C, H, W).
struct Side {
    latents: Values,
    noise: Values,
}

const NAMES: [&str; 10] = [
    "latents_w",
    "latents_l",
    "noise_w",
    "noise_l",
    "timesteps",
    "text",
    "pooled",
    "time_ids",
    "embed_w",
    "embed_l",
];

impl Batch {
    /// Reads the file and checks names, types and shapes. `timesteps`: the number of timesteps of the noise schedule.
    pub(super) fn read(file: &Path, needs_embeddings: bool, timesteps: usize) -> Result<Self> {
        let bytes =
            std::fs::read(file).with_context(|| format!("--batch: cannot read {}", file.display()))?;
        let tensors = TensorFile::parse(file, &bytes, &NAMES)?;
        let latents_w = tensors.floats("latents_w", "(M, C, H, W)", 4)?;
        let like = |name: &str| tensors.floats_like(name, "latents_w", &latents_w.shape);
        let (latents_l, noise_w, noise_l) = (like("latents_l")?, like("noise_w")?, like("noise_l")?);
        let m = latents_w.shape[0];
        let both = |a: (&str, &str), b: (&str, &str), is_required: bool| -> Result<_> {
            if !is_required && !tensors.has(a.0) && !tensors.has(b.0) {
                return Ok(None);
            }
            Ok(Some((tensors.floats_per_pair(a.0, a.1, 2, m)?, tensors.floats_per_pair(b.0, b.1, 2, m)?)))
        };
        let embeddings = both(("embed_w", "(M, E)"), ("embed_l", "(M, E)"), needs_embeddings)?;
        if let Some((winners, losers)) = &embeddings {
            tensors.check_shape("embed_l", &losers.shape, "embed_w", &winners.shape)?;
        }
        Ok(Self {
            file: file.to_owned(),
            pairs: m,
            timesteps: tensors.timesteps(m, timesteps)?,
            text: tensors.floats_per_pair("text", "(M, L, D)", 3, m)?,
            added: both(("pooled", "(M, P)"), ("time_ids", "(M, 6)"), false)?,
            embeddings,
            sides: [Side { latents: latents_w, noise: noise_w }, Side { latents: latents_l, noise: noise_l }],
        })
    }

    /// Checks that the inputs fit the UNet in `folder`.
    pub(super) fn check(&self, config: &UnetConfig, folder: &Path) -> Result<()> {
        match self.mismatch(config) {
            None => Ok(()),
            Some(mismatch) => {
                let config = folder.join("unet").join("config.json");
                bail!("{}: {mismatch} ({})", self.file.display(), config.display())
            }
        }
    }

    fn mismatch(&self, config: &UnetConfig) -> Option<String> {
        let channels = self.sides[0].latents.shape[1];
        if channels != config.in_channels || channels != config.out_channels {
            let (takes, returns) = (config.in_channels, config.out_channels);
            return Some(format!(
                "tensor \"latents_w\" has {channels} channels, but the UNet takes {takes} and returns {returns}"
            ));
        }
        let width = self.text.shape[2];
        if width != config.cross_attention_dim {
            let takes = config.cross_attention_dim;
            return Some(format!("tensor \"text\" has width {width}, but the UNet takes {takes}"));
        }
        match (&self.added, config.added_widths()) {
            (None, None) => None,
            (None, Some(_)) => {
                Some("tensor \"pooled\" is missing: the UNet needs \"pooled\" and \"time_ids\"".to_owned())
            }
            (Some(_), None) => {
                Some("the UNet takes neither \"pooled\" nor \"time_ids\": remove these tensors".to_owned())
            }
            (Some((pooled, ids)), Some((each, all))) => {
                let (p, n) = (pooled.shape[1], ids.shape[1]);
                (p + n * each != all).then(|| {
                    format!(
                        "tensor \"pooled\" has width {p} and \"time_ids\" has {n}, but the UNet takes {all} numbers: \
                         {each} for each time id, the others from \"pooled\""
                    )
                })
            }
        }
    }

    /// All winners, then all losers, noised, each with the target of the prediction. Computed in f64; the network's
    /// input is rounded to f32.
    pub(super) fn noised_images(&self, schedule: &Schedule) -> Result<Vec<NoisedImage>> {
        let mut images = Vec::new();
        for Side { latents, noise } in &self.sides {
            for i in 0..self.pairs {
                let abar = schedule.alpha_bar(self.timesteps[i]);
                let (signal, level) = (abar.sqrt(), (1.0 - abar).sqrt());
                let values = || {
                    let both = latents.row(i).iter().zip(noise.row(i));
                    both.map(|(&z, &noise)| (f64::from(z), f64::from(noise)))
                };
                let noised: Vec<f32> = values().map(|(z, n)| (signal * z + level * n) as f32).collect();
                let target = match schedule.prediction() {
                    Prediction::Epsilon => values().map(|(_, n)| n).collect(),
                    Prediction::VPrediction => values().map(|(z, n)| signal * n - level * z).collect(),
                };
                let mut shape = latents.shape.clone();
                shape[0] = 1;
                let added = match &self.added {
                    Some((pooled, ids)) => {
                        Some(AddedConditioning { pooled: pooled.tensor_of(i)?, time_ids: ids.tensor_of(i)? })
                    }
                    None => None,
                };
                images.push(NoisedImage {
                    noised: Tensor::from_vec(noised, shape, &Device::Cpu)?,
                    target,
                    timestep: Tensor::new(&[self.timesteps[i] as f32], &Device::Cpu)?,
                    text: self.text.tensor_of(i)?,
                    added,
                });
            }
        }
        Ok(images)
    }
}
