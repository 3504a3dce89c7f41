//! The stored inputs, checked by name before anything is computed.

use super::errors::Image;
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use diffusion::config::{Prediction, UnetConfig};
use diffusion::schedule::Schedule;
use diffusion::unet::AddedConditioning;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// f32 values and their shape.
pub(super) struct Values {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Values {
    /// Those of pair `i`, as a batch of one.
    fn of(&self, i: usize) -> Result<Tensor> {
        let mut shape = self.shape.clone();
        shape[0] = 1;
        Ok(Tensor::from_slice(self.row(i), shape, &Device::Cpu)?)
    }

    fn row(&self, i: usize) -> &[f32] {
        let size = self.values.len() / self.shape[0];
        &self.values[i * size..][..size]
    }
}

/// The file's tensors: M pairs.
pub(super) struct Batch {
    file: PathBuf,
    pub(super) pairs: usize,
    /// Winners' latents and noise, losers' latents and noise.
    sides: [(Values, Values); 2],
    timesteps: Vec<usize>,
    text: Values,
    /// Pooled text and time ids.
    added: Option<(Values, Values)>,
    /// Of winners and losers.
    pub(super) embeddings: Option<(Values, Values)>,
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
    /// Reads and checks all that the file alone can show. `embedded`: whether embeddings must be there.
    pub(super) fn read(file: &Path, embedded: bool, timesteps: usize) -> Result<Self> {
        let bytes =
            std::fs::read(file).with_context(|| format!("--batch: cannot read {}", file.display()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| {
            anyhow::anyhow!("{}: is no whole safetensors file ({e}): write it again", file.display())
        })?;
        let reader = Reader { file, tensors };
        if let Some(name) = reader.tensors.names().into_iter().find(|name| !NAMES.contains(name)) {
            bail!("{}: tensor {name:?} is none of {}: remove it", file.display(), NAMES.join(", "));
        }
        let latents_w = reader.floats("latents_w", "(M, C, H, W)", 4)?;
        let like = |name: &str| reader.shaped(name, "latents_w", &latents_w.shape);
        let (latents_l, noise_w, noise_l) = (like("latents_l")?, like("noise_w")?, like("noise_l")?);
        let m = latents_w.shape[0];
        let per_pair = |name: &str, shape: &str, rank: usize| {
            let values = reader.floats(name, shape, rank)?;
            ensure!(
                values.shape[0] == m,
                "{}: tensor {name:?} has {} rows for {m} pairs",
                file.display(),
                values.shape[0]
            );
            Ok(values)
        };
        let pair = |a: (&str, &str), b: (&str, &str), needed: bool| {
            if needed || reader.has(a.0) || reader.has(b.0) {
                Ok::<_, anyhow::Error>(Some((per_pair(a.0, a.1, 2)?, per_pair(b.0, b.1, 2)?)))
            } else {
                Ok(None)
            }
        };
        let embeddings = pair(("embed_w", "(M, E)"), ("embed_l", "(M, E)"), embedded)?;
        if let Some((winners, losers)) = &embeddings {
            ensure!(
                winners.shape == losers.shape,
                "{}: tensor \"embed_l\" has shape {:?} where embed_w has {:?}",
                file.display(),
                losers.shape,
                winners.shape
            );
        }
        Ok(Self {
            file: file.to_owned(),
            pairs: m,
            timesteps: reader.timesteps(m, timesteps)?,
            text: per_pair("text", "(M, L, D)", 3)?,
            added: pair(("pooled", "(M, P)"), ("time_ids", "(M, 6)"), false)?,
            embeddings,
            sides: [(latents_w, noise_w), (latents_l, noise_l)],
        })
    }

    /// Whether the UNet of `folder` takes these inputs.
    pub(super) fn check(&self, config: &UnetConfig, folder: &Path) -> Result<()> {
        let fail = |problem: String| {
            let (file, folder) = (self.file.display(), folder.join("unet"));
            bail!("{file}: {problem} ({})", folder.join("config.json").display())
        };
        let channels = self.sides[0].0.shape[1];
        if channels != config.in_channels || channels != config.out_channels {
            let (takes, gives) = (config.in_channels, config.out_channels);
            return fail(format!(
                "tensor \"latents_w\" has {channels} channels where the UNet takes {takes} and gives {gives}"
            ));
        }
        let width = self.text.shape[2];
        if width != config.cross_attention_dim {
            let takes = config.cross_attention_dim;
            return fail(format!("tensor \"text\" has width {width} where the UNet takes {takes}"));
        }
        match (&self.added, config.added_widths()) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                fail("tensor \"pooled\" is missing: the UNet needs pooled and time_ids".into())
            }
            (Some(_), None) => fail(
                "tensor \"pooled\" and \"time_ids\" are there, but the UNet takes neither: remove them"
                    .into(),
            ),
            (Some((pooled, ids)), Some((each, all))) => {
                let (p, n) = (pooled.shape[1], ids.shape[1]);
                if p + n * each == all {
                    return Ok(());
                }
                fail(format!(
                    "tensor \"pooled\" of width {p} and \"time_ids\" of width {n} do not fit: the UNet takes {all} \
                     numbers, {each} for each time id and the rest of pooled"
                ))
            }
        }
    }

    /// All winners, then all losers, noised, each with what it should be predicted to be. In f64 as far as the
    /// network's input.
    pub(super) fn images(&self, schedule: &Schedule) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for (latents, noise) in &self.sides {
            for i in 0..self.pairs {
                let abar = schedule.alpha_bar(self.timesteps[i]);
                let (signal, level) = (abar.sqrt(), (1.0 - abar).sqrt());
                let both = || {
                    let pairs = latents.row(i).iter().zip(noise.row(i));
                    pairs.map(|(&z, &noise)| (f64::from(z), f64::from(noise)))
                };
                let noised: Vec<f32> = both().map(|(z, n)| (signal * z + level * n) as f32).collect();
                let target = match schedule.prediction() {
                    Prediction::Epsilon => both().map(|(_, n)| n).collect(),
                    Prediction::VPrediction => both().map(|(z, n)| signal * n - level * z).collect(),
                };
                let mut shape = latents.shape.clone();
                shape[0] = 1;
                images.push(Image {
                    noised: Tensor::from_vec(noised, shape, &Device::Cpu)?,
                    target,
                    timestep: Tensor::new(&[self.timesteps[i] as f32], &Device::Cpu)?,
                    text: self.text.of(i)?,
                    added: match &self.added {
                        Some((pooled, ids)) => {
                            Some(AddedConditioning { pooled: pooled.of(i)?, time_ids: ids.of(i)? })
                        }
                        None => None,
                    },
                });
            }
        }
        Ok(images)
    }
}

struct Reader<'a> {
    file: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Reader<'_> {
    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn view(&self, name: &str, shape: &str, dtype: Dtype) -> Result<TensorView<'_>> {
        let file = self.file.display();
        let Ok(view) = self.tensors.tensor(name) else {
            bail!("{file}: tensor {name:?} is missing: it is {shape} of {dtype:?}");
        };
        ensure!(
            view.dtype() == dtype,
            "{file}: tensor {name:?} is {:?}: store it as {dtype:?}",
            view.dtype()
        );
        Ok(view)
    }

    /// Finite f32 values; `shape` for people.
    fn floats(&self, name: &str, shape: &str, rank: usize) -> Result<Values> {
        let file = self.file.display();
        let view = self.view(name, shape, Dtype::F32)?;
        ensure!(
            view.shape().len() == rank && !view.shape().contains(&0),
            "{file}: tensor {name:?} has shape {:?}: it must be {shape}, none of them 0",
            view.shape()
        );
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default()))
            .collect();
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            let size = values.len() / view.shape()[0];
            bail!("{file}: tensor {name:?} has {} in pair {}: make it finite", values[i], i / size);
        }
        Ok(Values { shape: view.shape().to_vec(), values })
    }

    /// Of the shape that another has.
    fn shaped(&self, name: &str, other: &str, shape: &[usize]) -> Result<Values> {
        let values = self.floats(name, &format!("shaped as {other}"), shape.len())?;
        ensure!(
            values.shape == shape,
            "{}: tensor {name:?} has shape {:?} where {other} has {shape:?}",
            self.file.display(),
            values.shape
        );
        Ok(values)
    }

    fn timesteps(&self, m: usize, count: usize) -> Result<Vec<usize>> {
        let file = self.file.display();
        let view = self.view("timesteps", "(M)", Dtype::I64)?;
        ensure!(
            view.shape() == [m],
            "{file}: tensor \"timesteps\" has shape {:?}: it must be [{m}], one for each pair",
            view.shape()
        );
        let numbers =
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default()));
        numbers
            .map(|t| match usize::try_from(t) {
                Ok(t) if t < count => Ok(t),
                _ => bail!("{file}: tensor \"timesteps\" has {t}: the noise schedule has 0 to {}", count - 1),
            })
            .collect()
    }
}
