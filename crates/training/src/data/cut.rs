//! Texts that are longer than a model's text encoders read, and lose their end.

use super::key::EncodedPart;
use super::manifest::shard_name;
use super::shard::Shard;
use super::tensor_name::TensorName;
use anyhow::{Context, Result};
use diffusion::part_folders::PartFolders;
use diffusion::text_encoders::TextEncoders;
use diffusion::tokenizer::{Cut, Tokenizer};
use domain::prepare::CutTexts;
use std::path::Path;

/// Counts texts that tokenizers cut.
#[derive(Debug)]
pub(crate) struct CutCounter {
    tokenizers: Vec<Tokenizer>,
    found: Option<CutTexts>,
}

impl CutCounter {
    /// A counter for the text encoders of some models.
    ///
    /// # Errors
    /// Fails if a tokenizer cannot be read.
    pub(crate) fn of<'a>(models: impl IntoIterator<Item = &'a PartFolders>) -> Result<Self> {
        let mut tokenizers = Vec::new();
        for folders in models {
            tokenizers.extend(TextEncoders::tokenizers(folders)?);
        }
        Ok(Self { tokenizers, found: None })
    }

    /// Counts a text that occurs `times` times.
    ///
    /// # Errors
    /// Fails if a tokenizer does.
    pub(crate) fn add(&mut self, text: &str, times: u64) -> Result<()> {
        let cuts =
            self.tokenizers.iter().map(|tokenizer| tokenizer.cut(text)).collect::<Result<Vec<_>, _>>()?;
        let Some(Cut { tokens, text: dropped }) = cuts.into_iter().flatten().max_by_key(|cut| cut.tokens)
        else {
            return Ok(());
        };
        let first = || CutTexts { count: 0, text: text.to_owned(), dropped, tokens: tokens as u64 };
        self.found.get_or_insert_with(first).count += times;
        Ok(())
    }

    /// The number of texts that are cut, and the first of them; `None` if none is.
    pub(crate) fn finish(self) -> Option<CutTexts> {
        self.found
    }
}

/// The captions of an encoded set that are cut, counted by example. Read from the finished shards, so that an encoding that was
/// interrupted counts the same.
///
/// # Errors
/// Fails if a tokenizer or a shard cannot be read.
pub(super) fn cut_captions(folder: &Path, examples: &[u32], base: &PartFolders) -> Result<Option<CutTexts>> {
    let mut counter = CutCounter::of([base])?;
    for (number, &count) in examples.iter().enumerate().filter(|(_, count)| **count > 0) {
        let shard = Shard::open(&folder.join(shard_name(EncodedPart::Text, number)))?;
        let captions: Vec<String> = serde_json::from_slice(shard.bytes(TensorName::Captions)?)
            .context("the encoded set's list of captions is not valid")?;
        let mut times = vec![0; captions.len()];
        for example in 0..count as usize {
            let [row] = shard.integers(TensorName::CaptionRow, example)?;
            if let Some(times) = times.get_mut(row as usize) {
                *times += 1;
            }
        }
        for (caption, times) in captions.iter().zip(times).filter(|(_, times)| *times > 0) {
            counter.add(caption, times)?;
        }
    }
    Ok(counter.finish())
}
