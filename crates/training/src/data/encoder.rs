//! What a model's encoders make of examples: posteriors of images, states of captions, CLIP's features.

use super::examples::Example;
use super::images::{Frame, images_to_tensor};
use super::key::Part;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use diffusion::conditioning::EncodedText;
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::vae::Autoencoder;
use evaluation::clip::Clip;
use image::{RgbImage, imageops};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Text states of captions, and their pooled text where the model's UNet reads it.
pub(super) const STATES: &str = "text";
pub(super) const POOLED: &str = "pooled";
/// 1 for each example that must not be mirrored, since its caption names a side; 0 for the others.
pub(super) const SIDED: &str = "sided";
/// The captions themselves, as a JSON list in the order of their rows.
pub(super) const CAPTIONS: &str = "captions";
/// Pixels encoded at a time: 64 images of the bundled world, one of Stable Diffusion.
const PIXELS: usize = 64 * 64 * 64;
/// Captions, and images of CLIP, encoded at a time.
const CHUNK: usize = 64;

/// The encoders of some parts, loaded when they are first needed.
#[derive(Debug)]
pub struct Encoder<'a> {
    folders: &'a PartFolders,
    device: &'a Device,
    frame: Frame,
    vae: Option<Autoencoder>,
    text: Option<TextEncoders>,
    clip: Option<Clip>,
}

/// What the encoders made so far of the examples of one shard: of their images. Texts are kept until all are there.
#[derive(Debug)]
pub struct Encoding {
    examples: usize,
    captions: Captions,
    made: BTreeMap<Part, Chunks>,
}

/// Captions repeat: each is encoded once. Row 0 is the empty one, for dropout.
#[derive(Debug)]
struct Captions {
    different: Vec<String>,
    row_of: HashMap<String, u32>,
    rows: Vec<u32>,
}

impl<'a> Encoder<'a> {
    /// Of a model; of images, what `frame` shows is encoded.
    #[must_use]
    pub fn new(folders: &'a PartFolders, device: &'a Device, frame: Frame) -> Self {
        Self { folders, device, frame, vae: None, text: None, clip: None }
    }

    /// Encodes the images of further examples, so that nobody has to hold all of a shard's images at a time.
    ///
    /// # Errors
    /// A part of the model that is missing, or candle's.
    pub fn add(&mut self, encoding: &mut Encoding, examples: &[Example]) -> Result<()> {
        if examples.is_empty() {
            return Ok(());
        }
        for (&part, chunks) in &mut encoding.made {
            match part {
                Part::Latents => self.latents(examples, chunks)?,
                Part::Mirrored => self.mirrored(examples, chunks)?,
                Part::Clip => self.clip_images(examples, chunks)?,
                Part::Text => {}
            }
        }
        encoding.examples += examples.len();
        examples.iter().try_for_each(|example| encoding.captions.add(&example.caption))
    }

    /// What the encoders made of all examples that were added, the texts included.
    ///
    /// # Errors
    /// As for [`Encoder::add`].
    pub fn finish(&mut self, encoding: Encoding) -> Result<BTreeMap<Part, Tensors>> {
        let Encoding { captions, made, .. } = encoding;
        made.into_iter()
            .map(|(part, mut chunks)| {
                match part {
                    Part::Latents | Part::Mirrored => {}
                    Part::Text => self.text(&captions, &mut chunks)?,
                    Part::Clip => self.clip_texts(&captions, &mut chunks)?,
                }
                let mut tensors = chunks.join()?;
                if part == Part::Text {
                    tensors.extend(captions.tensors()?);
                }
                Ok((part, tensors))
            })
            .collect()
    }

    fn latents(&mut self, examples: &[Example], chunks: &mut Chunks) -> Result<()> {
        let frame = self.frame;
        self.posteriors(examples, "", |image, row| frame.cut(image, row), chunks)?;
        for (side, images) in sides(examples) {
            let places = images.iter().zip(examples).flat_map(|(p, e)| frame.place(p, e.row).numbers());
            let places = Tensor::from_iter(places, &Device::Cpu)?.reshape((examples.len(), ()))?;
            chunks.keep(&format!("{side}.place"), &places)?;
        }
        Ok(())
    }

    fn mirrored(&mut self, examples: &[Example], chunks: &mut Chunks) -> Result<()> {
        let frame = self.frame;
        let turned = |image: &RgbImage, row| imageops::flip_horizontal(&frame.cut(image, row));
        self.posteriors(examples, ".mirrored", turned, chunks)?;
        let sided = examples.iter().map(|e| u32::from(names_a_side(&e.caption)));
        chunks.keep(SIDED, &Tensor::from_iter(sided, &Device::Cpu)?)
    }

    /// Of what `seen` makes of each image and its example's row; `of` ends the sides' names.
    fn posteriors(
        &mut self,
        examples: &[Example],
        of: &str,
        seen: impl Fn(&RgbImage, u64) -> RgbImage + Sync,
        chunks: &mut Chunks,
    ) -> Result<()> {
        let vae = match &mut self.vae {
            Some(vae) => vae,
            none => none.insert(Autoencoder::load(&self.folders.part("vae")?, self.device, false)?.0),
        };
        let chunk = (PIXELS / (self.frame.width as usize * self.frame.height as usize)).max(1);
        for (side, images) in sides(examples) {
            for (images, examples) in images.chunks(chunk).zip(examples.chunks(chunk)) {
                let rows = images.par_iter().zip(examples);
                let fitted: Vec<RgbImage> = rows.map(|(image, e)| seen(image, e.row)).collect();
                let posterior = vae.encode(&images_to_tensor(&fitted, self.device)?)?;
                chunks.keep(&format!("{side}{of}.mean"), &posterior.mean)?;
                chunks.keep(&format!("{side}{of}.log_variance"), &posterior.log_variance)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, captions: &Captions, chunks: &mut Chunks) -> Result<()> {
        let encoders = match &mut self.text {
            Some(encoders) => encoders,
            none => none.insert(TextEncoders::open(self.folders, self.device)?),
        };
        for texts in captions.different.chunks(CHUNK) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let EncodedText { states, pooled } = encoders.encode(&texts)?;
            chunks.keep(STATES, &states)?;
            pooled.iter().try_for_each(|pooled| chunks.keep(POOLED, pooled))?;
        }
        Ok(())
    }

    fn clip_texts(&mut self, captions: &Captions, chunks: &mut Chunks) -> Result<()> {
        let clip = self.clip()?;
        for texts in captions.different.chunks(CHUNK) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            chunks.keep("clip.text", &clip.text_features(&texts)?)?;
        }
        Ok(())
    }

    /// Of the whole images, neither resized nor cut for the autoencoder.
    fn clip_images(&mut self, examples: &[Example], chunks: &mut Chunks) -> Result<()> {
        let clip = self.clip()?;
        for (side, images) in sides(examples) {
            for images in images.chunks(CHUNK) {
                let images: Vec<RgbImage> = images.iter().map(|&p| p.clone()).collect();
                chunks.keep(&format!("clip.{side}"), &clip.image_features(&images)?)?;
            }
        }
        Ok(())
    }

    fn clip(&mut self) -> Result<&Clip> {
        Ok(match &mut self.clip {
            Some(clip) => clip,
            none => none.insert(Clip::load(&self.folders.part("clip")?, self.device)?),
        })
    }
}

/// Whether a caption would become wrong of a mirrored image: it has one of the words that say on which side things are.
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

impl Encoding {
    /// Of the parts that are to be made.
    #[must_use]
    pub fn of(parts: &BTreeSet<Part>) -> Self {
        let empty = String::new();
        let captions = Captions {
            different: vec![empty.clone()],
            row_of: HashMap::from([(empty, 0)]),
            rows: Vec::new(),
        };
        let made = parts.iter().map(|&part| (part, Chunks::default())).collect();
        Self { examples: 0, captions, made }
    }

    /// Examples added so far.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.examples
    }
}

impl Captions {
    fn add(&mut self, caption: &str) -> Result<()> {
        let row = match self.row_of.get(caption) {
            Some(&row) => row,
            None => {
                let row = u32::try_from(self.different.len()).context("too many captions")?;
                self.different.push(caption.to_owned());
                self.row_of.insert(caption.to_owned(), row);
                row
            }
        };
        self.rows.push(row);
        Ok(())
    }

    /// Which caption belongs to each example, and the captions themselves.
    fn tensors(&self) -> Result<Tensors> {
        let list = serde_json::to_vec(&self.different)?;
        let (length, count) = (list.len(), self.rows.len());
        Ok(BTreeMap::from([
            (CAPTIONS.to_owned(), Tensor::from_vec(list, length, &Device::Cpu)?),
            ("caption".to_owned(), Tensor::from_vec(self.rows.clone(), count, &Device::Cpu)?),
        ]))
    }
}

/// Chunks of tensors, to be joined.
#[derive(Debug, Default)]
struct Chunks(BTreeMap<String, Vec<Tensor>>);

impl Chunks {
    fn keep(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.0.entry(name.to_owned()).or_default().push(tensor.detach().to_device(&Device::Cpu)?);
        Ok(())
    }

    fn join(self) -> Result<Tensors> {
        self.0.into_iter().map(|(name, parts)| Ok((name, Tensor::cat(&parts, 0)?))).collect()
    }
}
