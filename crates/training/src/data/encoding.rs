//! The encoders' output for the examples of one shard, collected chunk by chunk.

use super::key::EncodedPart;
use super::shard::Tensors;
use super::tensor_name::TensorName;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use datasets::pair::ListPlace;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The encoders' output so far. Images are encoded as they are added, captions at the end (`Encoder::finish`).
#[derive(Debug)]
pub struct Encoding {
    pub(super) examples: usize,
    pub(super) captions: Captions,
    pub(super) lists: Lists,
    pub(super) parts: BTreeMap<EncodedPart, Chunks>,
}

impl Encoding {
    /// An empty encoding of these parts.
    #[must_use]
    pub fn of(parts: &BTreeSet<EncodedPart>) -> Self {
        let parts = parts.iter().map(|&part| (part, Chunks::default())).collect();
        Self { examples: 0, captions: Captions::new(), lists: Lists::default(), parts }
    }
}

/// The places of a shard's pairs in ranked lists.
#[derive(Debug, Default)]
pub(super) struct Lists {
    has_any: bool,
    places: Vec<[u32; 4]>,
}

impl Lists {
    /// Adds the place of the next example. One that is in no list is a list of its own, numbered by its row.
    pub(super) fn add(&mut self, place: Option<ListPlace>, row: u64) {
        self.has_any |= place.is_some();
        let ListPlace { list, pairs, ranks: [winner, loser] } =
            place.unwrap_or(ListPlace { list: row as u32, pairs: 1, ranks: [0, 1] });
        self.places.push([list, pairs, winner, loser]);
    }

    /// The places as a tensor; none if no example is in a list.
    pub(super) fn tensor(&self) -> Result<Option<Tensor>> {
        if !self.has_any {
            return Ok(None);
        }
        let values: Vec<u32> = self.places.iter().flatten().copied().collect();
        Ok(Some(Tensor::from_vec(values, (self.places.len(), 4), &Device::Cpu)?))
    }
}

/// The different captions of a shard: each is encoded once. Row 0 is the empty caption, for caption dropout.
#[derive(Debug)]
pub(super) struct Captions {
    pub(super) different: Vec<String>,
    row_of: HashMap<String, u32>,
    /// The caption's row of each example.
    rows: Vec<u32>,
}

impl Captions {
    fn new() -> Self {
        let empty = String::new();
        Self { different: vec![empty.clone()], row_of: HashMap::from([(empty, 0)]), rows: Vec::new() }
    }

    /// Adds the caption of the next example.
    pub(super) fn add(&mut self, caption: &str) -> Result<()> {
        let row = match self.row_of.get(caption) {
            Some(&row) => row,
            None => {
                let row = u32::try_from(self.different.len()).context("a shard has too many captions")?;
                self.different.push(caption.to_owned());
                self.row_of.insert(caption.to_owned(), row);
                row
            }
        };
        self.rows.push(row);
        Ok(())
    }

    pub(super) fn tensors(&self) -> Result<Tensors> {
        let list = serde_json::to_vec(&self.different)?;
        let (length, count) = (list.len(), self.rows.len());
        Ok(BTreeMap::from([
            (TensorName::Captions, Tensor::from_vec(list, length, &Device::Cpu)?),
            (TensorName::CaptionRow, Tensor::from_vec(self.rows.clone(), count, &Device::Cpu)?),
        ]))
    }
}

/// Tensors in chunks along their first dimension, on the CPU.
#[derive(Debug, Default)]
pub(super) struct Chunks(BTreeMap<TensorName, Vec<Tensor>>);

impl Chunks {
    pub(super) fn push(&mut self, name: TensorName, tensor: &Tensor) -> Result<()> {
        self.0.entry(name).or_default().push(tensor.detach().to_device(&Device::Cpu)?);
        Ok(())
    }

    pub(super) fn concatenate(self) -> Result<Tensors> {
        self.0.into_iter().map(|(name, chunks)| Ok((name, Tensor::cat(&chunks, 0)?))).collect()
    }
}
