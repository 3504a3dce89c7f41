//! What a model's encoders make of examples: posteriors of pictures, states of captions, CLIP's features.

use super::examples::Example;
use super::key::Part;
use super::pictures::{Frame, images_to_tensor};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use diffusion::conditioning::EncodedText;
use diffusion::pipeline::Folders;
use diffusion::text_encoders::TextEncoders;
use diffusion::vae::Autoencoder;
use evaluation::clip::Clip;
use image::{RgbImage, imageops};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Text states of captions, and their pooled text where the model's UNet reads it.
pub(super) const STATES: &str = "text";
pub(super) const POOLED: &str = "pooled";
/// 1 for each example that must not be mirrored, since its caption names a side; 0 for the others.
pub(super) const SIDED: &str = "sided";
/// The captions themselves, as a JSON list in the order of their rows.
pub(super) const CAPTIONS: &str = "captions";
/// Pixels encoded at a time: 64 pictures of the bundled world, one of Stable Diffusion.
const PIXELS: usize = 64 * 64 * 64;
/// Captions, and pictures of CLIP, encoded at a time.
const CHUNK: usize = 64;

/// The encoders of some parts, loaded when they are first needed.
#[derive(Debug)]
pub struct Encoder<'a> {
    folders: &'a Folders,
    device: &'a Device,
    frame: Frame,
    vae: Option<Autoencoder>,
    text: Option<TextEncoders>,
    clip: Option<Clip>,
}

/// Captions repeat: each is encoded once. Row 0 is the empty one, for dropout.
struct Captions<'a> {
    different: Vec<&'a str>,
    rows: Vec<u32>,
}

impl<'a> Encoder<'a> {
    /// Of a model; of pictures, what `frame` shows is encoded.
    #[must_use]
    pub fn new(folders: &'a Folders, device: &'a Device, frame: Frame) -> Self {
        Self { folders, device, frame, vae: None, text: None, clip: None }
    }

    /// What one part's encoder makes of examples.
    ///
    /// # Errors
    /// A part of the model that is missing, or candle's.
    pub fn encode(&mut self, part: Part, examples: &[Example]) -> Result<Tensors> {
        match part {
            Part::Latents => self.latents(examples),
            Part::Mirrored => self.mirrored(examples),
            Part::Text => self.text(examples),
            Part::Clip => self.clip(examples),
        }
    }

    fn latents(&mut self, examples: &[Example]) -> Result<Tensors> {
        let frame = self.frame;
        let mut tensors = self.posteriors(examples, "", |picture, row| frame.cut(picture, row))?;
        for (side, pictures) in sides(examples) {
            let places = pictures.iter().zip(examples).flat_map(|(p, e)| frame.place(p, e.row).numbers());
            let places = Tensor::from_iter(places, &Device::Cpu)?.reshape((examples.len(), ()))?;
            tensors.insert(format!("{side}.place"), places);
        }
        Ok(tensors)
    }

    fn mirrored(&mut self, examples: &[Example]) -> Result<Tensors> {
        let frame = self.frame;
        let turned = |picture: &RgbImage, row| imageops::flip_horizontal(&frame.cut(picture, row));
        let mut tensors = self.posteriors(examples, ".mirrored", turned)?;
        let sided = examples.iter().map(|e| u32::from(names_a_side(&e.caption)));
        tensors.insert(SIDED.to_owned(), Tensor::from_iter(sided, &Device::Cpu)?);
        Ok(tensors)
    }

    /// Of what `seen` makes of each picture and its example's row; `of` ends the sides' names.
    fn posteriors(
        &mut self,
        examples: &[Example],
        of: &str,
        seen: impl Fn(&RgbImage, u64) -> RgbImage + Sync,
    ) -> Result<Tensors> {
        let vae = match &mut self.vae {
            Some(vae) => vae,
            none => none.insert(Autoencoder::load(&self.folders.part("vae")?, self.device, false)?.0),
        };
        let chunk = (PIXELS / (self.frame.width as usize * self.frame.height as usize)).max(1);
        let mut parts = Parts::default();
        for (side, pictures) in sides(examples) {
            for (pictures, examples) in pictures.chunks(chunk).zip(examples.chunks(chunk)) {
                let rows = pictures.par_iter().zip(examples);
                let fitted: Vec<RgbImage> = rows.map(|(picture, e)| seen(picture, e.row)).collect();
                let posterior = vae.encode(&images_to_tensor(&fitted, self.device)?)?;
                parts.keep(&format!("{side}{of}.mean"), &posterior.mean)?;
                parts.keep(&format!("{side}{of}.log_variance"), &posterior.log_variance)?;
            }
        }
        parts.finish()
    }

    fn text(&mut self, examples: &[Example]) -> Result<Tensors> {
        let encoders = match &mut self.text {
            Some(encoders) => encoders,
            none => none.insert(TextEncoders::open(self.folders, self.device)?),
        };
        let captions = Captions::of(examples)?;
        let mut parts = Parts::default();
        for chunk in captions.different.chunks(CHUNK) {
            let EncodedText { states, pooled } = encoders.encode(chunk)?;
            parts.keep(STATES, &states)?;
            pooled.iter().try_for_each(|pooled| parts.keep(POOLED, pooled))?;
        }
        let count = captions.rows.len();
        let mut tensors = parts.finish()?;
        let list = serde_json::to_vec(&captions.different)?;
        let length = list.len();
        tensors.insert(CAPTIONS.to_owned(), Tensor::from_vec(list, length, &Device::Cpu)?);
        tensors.insert("caption".to_owned(), Tensor::from_vec(captions.rows, count, &Device::Cpu)?);
        Ok(tensors)
    }

    fn clip(&mut self, examples: &[Example]) -> Result<Tensors> {
        let clip = match &mut self.clip {
            Some(clip) => clip,
            none => none.insert(Clip::load(&self.folders.part("clip")?, self.device)?),
        };
        let mut parts = Parts::default();
        for chunk in Captions::of(examples)?.different.chunks(CHUNK) {
            parts.keep("clip.text", &clip.text_features(chunk)?)?;
        }
        // Of the whole picture, neither resized nor cut for the autoencoder.
        for (side, pictures) in sides(examples) {
            for pictures in pictures.chunks(CHUNK) {
                let pictures: Vec<RgbImage> = pictures.iter().map(|&p| p.clone()).collect();
                parts.keep(&format!("clip.{side}"), &clip.image_features(&pictures)?)?;
            }
        }
        parts.finish()
    }
}

/// Whether a caption would become wrong of a mirrored picture: it has one of the words that say on which side things are.
fn names_a_side(caption: &str) -> bool {
    let mut words = caption.split(|c: char| !c.is_alphanumeric());
    words.any(|word| ["left", "right"].iter().any(|side| word.eq_ignore_ascii_case(side)))
}

/// The winners, and the losers where every example has one.
fn sides(examples: &[Example]) -> Vec<(&'static str, Vec<&RgbImage>)> {
    let losers: Vec<_> = examples.iter().filter_map(|e| e.loser.as_ref()).collect();
    let mut sides = vec![("winner", examples.iter().map(|e| &e.winner).collect())];
    if losers.len() == examples.len() {
        sides.push(("loser", losers));
    }
    sides
}

impl<'a> Captions<'a> {
    fn of(examples: &'a [Example]) -> Result<Self> {
        let mut different = vec![""];
        let mut row_of: HashMap<&str, u32> = HashMap::from([("", 0)]);
        let mut rows = Vec::with_capacity(examples.len());
        for example in examples {
            let next = u32::try_from(different.len()).context("too many captions")?;
            let row = *row_of.entry(&example.caption).or_insert(next);
            if row == next {
                different.push(&example.caption);
            }
            rows.push(row);
        }
        Ok(Self { different, rows })
    }
}

/// Chunks of tensors, to be joined.
#[derive(Default)]
struct Parts(BTreeMap<String, Vec<Tensor>>);

impl Parts {
    fn keep(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.0.entry(name.to_owned()).or_default().push(tensor.detach().to_device(&Device::Cpu)?);
        Ok(())
    }

    fn finish(self) -> Result<Tensors> {
        self.0.into_iter().map(|(name, parts)| Ok((name, Tensor::cat(&parts, 0)?))).collect()
    }
}
