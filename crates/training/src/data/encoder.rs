//! The encoders of a model: autoencoder, text encoders and CLIP, applied to examples.

use super::encoding::{Captions, Chunks, Encoding};
use super::example::Example;
use super::frame::Frame;
use super::images::images_to_tensor;
use super::key::EncodedPart;
use super::shard::Tensors;
use super::tensor_name::{Side, TensorName};
use anyhow::Result;
use candle_core::{Device, Tensor};
use diffusion::conditioning::EncodedText;
use diffusion::layout::CLIP;
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::vae::Autoencoder;
use evaluation::clip::Clip;
use image::{RgbImage, imageops};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Pixels that the autoencoder encodes at a time: 64 images of the bundled world, or one of Stable Diffusion.
const VAE_BATCH_PIXELS: usize = 64 * 64 * 64;
/// Captions that are encoded at a time, and images that CLIP encodes at a time.
const BATCH: usize = 64;

/// The encoders of a model, each loaded when it is first used.
#[derive(Debug)]
pub struct Encoder<'a> {
    folders: &'a PartFolders,
    device: &'a Device,
    frame: Frame,
    vae: Option<Autoencoder>,
    text: Option<TextEncoders>,
    clip: Option<Clip>,
}

impl<'a> Encoder<'a> {
    /// The encoders of the model in `folders`. The autoencoder encodes the `frame` of each image.
    #[must_use]
    pub fn new(folders: &'a PartFolders, device: &'a Device, frame: Frame) -> Self {
        Self { folders, device, frame, vae: None, text: None, clip: None }
    }

    /// Encodes the images of further examples, so that a shard's images need not all be in memory at once.
    ///
    /// # Errors
    /// Fails if a part of the model cannot be read, or if a tensor operation fails.
    pub fn add(&mut self, encoding: &mut Encoding, examples: &[Example]) -> Result<()> {
        if examples.is_empty() {
            return Ok(());
        }
        for (&part, chunks) in &mut encoding.parts {
            match part {
                EncodedPart::Latents => self.latents(examples, chunks)?,
                EncodedPart::Mirrored => self.mirrored(examples, chunks)?,
                EncodedPart::Clip => self.clip_images(examples, chunks)?,
                EncodedPart::Text => {}
            }
        }
        encoding.examples += examples.len();
        for example in examples {
            encoding.captions.add(&example.caption)?;
            encoding.lists.add(example.list, example.source.row);
        }
        Ok(())
    }

    /// Encodes the captions, and returns the tensors of all examples that were added.
    ///
    /// # Errors
    /// Fails if a part of the model cannot be read, or if a tensor operation fails.
    pub fn finish(&mut self, encoding: Encoding) -> Result<BTreeMap<EncodedPart, Tensors>> {
        let Encoding { captions, lists, parts, .. } = encoding;
        parts
            .into_iter()
            .map(|(part, mut chunks)| {
                match part {
                    EncodedPart::Latents | EncodedPart::Mirrored => {}
                    EncodedPart::Text => self.text(&captions, &mut chunks)?,
                    EncodedPart::Clip => self.clip_texts(&captions, &mut chunks)?,
                }
                let mut tensors = chunks.concatenate()?;
                match part {
                    EncodedPart::Text => tensors.extend(captions.tensors()?),
                    EncodedPart::Latents => {
                        tensors.extend(lists.tensor()?.map(|places| (TensorName::ListPlace, places)));
                    }
                    EncodedPart::Mirrored | EncodedPart::Clip => {}
                }
                Ok((part, tensors))
            })
            .collect()
    }

    fn latents(&mut self, examples: &[Example], chunks: &mut Chunks) -> Result<()> {
        let frame = self.frame;
        self.posteriors(examples, false, |image, row| frame.apply(image, row), chunks)?;
        for (side, images) in sides(examples) {
            let places =
                images.iter().zip(examples).flat_map(|(image, of)| frame.place(image, of.row).to_row());
            let places = Tensor::from_iter(places, &Device::Cpu)?.reshape((examples.len(), ()))?;
            chunks.push(TensorName::CropPlace(side), &places)?;
        }
        Ok(())
    }

    fn mirrored(&mut self, examples: &[Example], chunks: &mut Chunks) -> Result<()> {
        let frame = self.frame;
        let mirror = |image: &RgbImage, row| imageops::flip_horizontal(&frame.apply(image, row));
        self.posteriors(examples, true, mirror, chunks)?;
        let names_side = examples.iter().map(|example| u32::from(names_a_side(&example.caption)));
        chunks.push(TensorName::NamesSide, &Tensor::from_iter(names_side, &Device::Cpu)?)
    }

    /// Adds the posteriors of the images that `prepare` makes of each image and its example's row.
    fn posteriors(
        &mut self,
        examples: &[Example],
        mirrored: bool,
        prepare: impl Fn(&RgbImage, u64) -> RgbImage + Sync,
        chunks: &mut Chunks,
    ) -> Result<()> {
        let vae = match &mut self.vae {
            Some(vae) => vae,
            none => none.insert(Autoencoder::load(&self.folders.part("vae")?, self.device, false)?.0),
        };
        let batch = (VAE_BATCH_PIXELS / (self.frame.width as usize * self.frame.height as usize)).max(1);
        for (side, images) in sides(examples) {
            for (images, examples) in images.chunks(batch).zip(examples.chunks(batch)) {
                let rows = images.par_iter().zip(examples);
                let prepared: Vec<RgbImage> = rows.map(|(image, of)| prepare(image, of.row)).collect();
                let posterior = vae.encode(&images_to_tensor(&prepared, self.device)?)?;
                chunks.push(TensorName::Mean { side, mirrored }, &posterior.mean)?;
                chunks.push(TensorName::LogVariance { side, mirrored }, &posterior.log_variance)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, captions: &Captions, chunks: &mut Chunks) -> Result<()> {
        let encoders = match &mut self.text {
            Some(encoders) => encoders,
            none => none.insert(TextEncoders::open(self.folders, self.device)?),
        };
        for texts in captions.different.chunks(BATCH) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let EncodedText { states, pooled } = encoders.encode(&texts)?;
            chunks.push(TensorName::TextStates, &states)?;
            pooled.iter().try_for_each(|pooled| chunks.push(TensorName::PooledText, pooled))?;
        }
        Ok(())
    }

    fn clip_texts(&mut self, captions: &Captions, chunks: &mut Chunks) -> Result<()> {
        let clip = self.clip()?;
        for texts in captions.different.chunks(BATCH) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            chunks.push(TensorName::ClipText, &clip.text_features(&texts)?)?;
        }
        Ok(())
    }

    /// CLIP sees whole images, with its own preparation, not the frame.
    fn clip_images(&mut self, examples: &[Example], chunks: &mut Chunks) -> Result<()> {
        let clip = self.clip()?;
        for (side, images) in sides(examples) {
            for images in images.chunks(BATCH) {
                let images: Vec<RgbImage> = images.iter().map(|&image| image.clone()).collect();
                chunks.push(TensorName::ClipImage(side), &clip.image_features(&images)?)?;
            }
        }
        Ok(())
    }

    fn clip(&mut self) -> Result<&Clip> {
        Ok(match &mut self.clip {
            Some(clip) => clip,
            none => none.insert(Clip::load(&self.folders.part(CLIP)?, self.device)?),
        })
    }
}

/// Whether a caption has the word "left" or "right", and so may be wrong about a mirrored image.
fn names_a_side(caption: &str) -> bool {
    let mut words = caption.split(|c: char| !c.is_alphanumeric());
    words.any(|word| ["left", "right"].iter().any(|side| word.eq_ignore_ascii_case(side)))
}

/// The winners; and the losers, if every example has one.
fn sides(examples: &[Example]) -> Vec<(Side, Vec<&RgbImage>)> {
    let losers: Vec<_> = examples.iter().filter_map(|example| example.loser.as_ref()).collect();
    let mut sides = vec![(Side::Winner, examples.iter().map(|example| &example.winner).collect())];
    if losers.len() == examples.len() {
        sides.push((Side::Loser, losers));
    }
    sides
}
