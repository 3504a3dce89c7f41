//! A set as its encoders see it: posteriors of pictures, states of captions, CLIP embeddings. Encoded once and
//! cached under a name made of everything that decides the content, so that a changed model or set is another
//! file and nothing stale is ever read.

use super::pictures::to_tensor;
use super::sets::{Example, draw};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use diffusion::conditioning::EncodedText;
use diffusion::pipeline::Folders;
use diffusion::text_encoders::TextEncoders;
use diffusion::vae::Autoencoder;
use diffusion::weights::{self, PartFiles, Stem};
use domain::train::DataSpec;
use evaluation::clip::Clip;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// An encoded set, on the CPU.
#[derive(Debug)]
pub struct EncodedSet {
    tensors: BTreeMap<String, Tensor>,
    count: usize,
}

/// Changes when the layout of the file does.
const FORMAT: &str = "4";
/// Text states of captions, and their pooled text where the model's UNet reads it.
const STATES: &str = "text";
const POOLED: &str = "pooled";
/// The captions themselves, as a JSON list in the order of their rows.
const CAPTIONS: &str = "captions";
/// Pictures or captions encoded at a time.
const CHUNK: usize = 64;

impl EncodedSet {
    /// Of the cache, or drawn, encoded and cached. `report` hears of examples encoded, of all.
    ///
    /// # Errors
    /// A model part that cannot be read, or a cache that cannot be written.
    pub fn prepare(
        spec: &DataSpec,
        folders: &Folders,
        with_clip: bool,
        cache: &Path,
        device: &Device,
        report: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let file = cache.join(format!("{}.safetensors", key(spec, folders, with_clip)?));
        if file.is_file() {
            match candle_core::safetensors::load(&file, &Device::Cpu) {
                Ok(tensors) => return Self::new(tensors.into_iter().collect()),
                // A damaged cache is no reason to fail: it is made anew.
                Err(error) => tracing::warn!(file = %file.display(), %error, "cannot read the cache"),
            }
        }
        let examples = draw(spec);
        let set = Self::new(encode(&examples, folders, with_clip, device, report)?)?;
        weights::save(&set.tensors, &file)?;
        Ok(set)
    }

    fn new(tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        let count = tensors.get("winner.mean").context("the encoded set has no pictures")?.dim(0)?;
        Ok(Self { tensors, count })
    }

    /// Examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every example has a loser.
    #[must_use]
    pub fn has_losers(&self) -> bool {
        self.tensors.contains_key("loser.mean")
    }

    /// Rows of a tensor.
    ///
    /// # Errors
    /// The set was encoded without it.
    pub fn rows(&self, name: &str, indices: &[u32]) -> Result<Tensor> {
        let tensor = self.tensors.get(name).with_context(|| format!("the encoded set has no {name}"))?;
        Ok(tensor.index_select(&Tensor::new(indices, &Device::Cpu)?, 0)?)
    }

    /// What the text encoders made of some captions, by their rows; row 0 is the empty caption.
    ///
    /// # Errors
    /// There is no such row.
    pub fn text(&self, rows: &[u32]) -> Result<EncodedText> {
        let pooled = self.tensors.contains_key(POOLED).then(|| self.rows(POOLED, rows));
        Ok(EncodedText { states: self.rows(STATES, rows)?, pooled: pooled.transpose()? })
    }

    /// Which row of the captions' tensors belongs to each example.
    ///
    /// # Errors
    /// candle's.
    pub fn captions_of(&self, indices: &[u32]) -> Result<Vec<u32>> {
        Ok(self.rows("caption", indices)?.to_vec1()?)
    }

    /// The captions of examples.
    ///
    /// # Errors
    /// candle's, or a damaged list.
    pub fn caption_texts(&self, indices: &[u32]) -> Result<Vec<String>> {
        let list = self.tensors.get(CAPTIONS).context("the encoded set has no captions")?.to_vec1::<u8>()?;
        let list: Vec<String> = serde_json::from_slice(&list).context("the encoded set's captions")?;
        let rows = self.captions_of(indices)?;
        rows.iter().map(|&row| list.get(row as usize).cloned().context("a caption is missing")).collect()
    }
}

/// SHA-256 of everything that decides the content.
fn key(spec: &DataSpec, folders: &Folders, with_clip: bool) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(FORMAT);
    hash.update(serde_json::to_vec(spec)?);
    let weights = |part, stem| -> Result<Vec<PathBuf>> {
        Ok(PartFiles::locate(&folders.part(part)?, stem)?.files().to_vec())
    };
    let mut files = vec![folders.part("vae")?.join("config.json")];
    files.extend(weights("vae", Stem::NETWORK)?);
    files.extend(TextEncoders::files(folders)?);
    if with_clip {
        files.extend(weights("clip", Stem::TRANSFORMER)?);
    }
    for file in files {
        hash.update(file_sha256(&file)?);
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// It cannot be read.
pub fn file_sha256(file: &PathBuf) -> Result<String> {
    let mut hash = Sha256::new();
    let mut reader = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    std::io::copy(&mut reader, &mut hash).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(format!("{:x}", hash.finalize()))
}

fn encode(
    examples: &[Example],
    folders: &Folders,
    with_clip: bool,
    device: &Device,
    report: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<BTreeMap<String, Tensor>> {
    ensure!(!examples.is_empty(), "the set is empty");
    let (vae, _) = Autoencoder::load(&folders.part("vae")?, device, false)?;
    let text_encoders = TextEncoders::open(folders, device)?;
    let clip = with_clip.then(|| Clip::load(&folders.part("clip")?, device)).transpose()?;

    // Captions repeat: each is encoded once. Row 0 is the empty caption, for dropout.
    let mut captions = vec![""];
    let mut row_of: HashMap<&str, u32> = HashMap::from([("", 0)]);
    let mut caption_rows = Vec::with_capacity(examples.len());
    for example in examples {
        let next = u32::try_from(captions.len()).context("too many captions")?;
        let row = *row_of.entry(&example.caption).or_insert(next);
        if row == next {
            captions.push(&example.caption);
        }
        caption_rows.push(row);
    }
    let mut parts: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
    let mut keep = |name: &str, t: Tensor| -> Result<()> {
        parts.entry(name.to_owned()).or_default().push(t.detach().to_device(&Device::Cpu)?);
        Ok(())
    };
    for chunk in captions.chunks(4 * CHUNK) {
        let EncodedText { states, pooled } = text_encoders.encode(chunk)?;
        keep(STATES, states)?;
        if let Some(pooled) = pooled {
            keep(POOLED, pooled)?;
        }
        if let Some(clip) = &clip {
            keep("clip.text", clip.text_features(chunk)?)?;
        }
    }
    for (i, chunk) in examples.chunks(CHUNK).enumerate() {
        let mut sides = vec![("winner", chunk.iter().map(|e| &e.winner).collect::<Vec<_>>())];
        let losers: Vec<_> = chunk.iter().filter_map(|e| e.loser.as_ref()).collect();
        if losers.len() == chunk.len() {
            sides.push(("loser", losers));
        }
        for (side, pictures) in sides {
            let posterior = vae.encode(&to_tensor(pictures.iter().copied(), device)?)?;
            keep(&format!("{side}.mean"), posterior.mean)?;
            keep(&format!("{side}.log_variance"), posterior.log_variance)?;
            if let Some(clip) = &clip {
                let images: Vec<_> = pictures.iter().map(|p| p.to_image()).collect();
                keep(&format!("clip.{side}"), clip.image_features(&images)?)?;
            }
        }
        report((i * CHUNK + chunk.len()).min(examples.len()), examples.len())?;
    }
    let mut tensors = parts
        .into_iter()
        .map(|(name, parts)| Ok((name, Tensor::cat(&parts, 0)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let list = serde_json::to_vec(&captions)?;
    let length = list.len();
    tensors.insert(CAPTIONS.to_owned(), Tensor::from_vec(list, length, &Device::Cpu)?);
    let count = caption_rows.len();
    tensors.insert("caption".to_owned(), Tensor::from_vec(caption_rows, count, &Device::Cpu)?);
    Ok(tensors)
}
