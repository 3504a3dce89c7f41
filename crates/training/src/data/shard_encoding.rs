//! One shard of an encoded set: kept if it is up to date, else encoded and written.

use super::encoder::Encoder;
use super::encoding::Encoding;
use super::examples::Examples;
use super::image_filter::ImageFilter;
use super::key::EncodedPart;
use super::manifest::shard_name;
use super::shard::{self, Label};
use anyhow::{Result, ensure};
use domain::dataset::Dropped;
use domain::prepare::ManifestPart;
use files::sha256;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A shard to be made.
pub(super) struct ShardSlot<'a> {
    pub(super) folder: &'a Path,
    pub(super) number: usize,
    /// Rows of the set that it covers; fewer at the end of the set.
    pub(super) size: usize,
}

impl ShardSlot<'_> {
    fn file(&self, part: EncodedPart) -> PathBuf {
        self.folder.join(shard_name(part, self.number))
    }
}

/// The rows that a shard covers.
pub(super) struct ShardRows {
    /// Rows read, dropped ones included. 0 at the end of the set.
    pub(super) taken: usize,
    pub(super) examples: u32,
    /// Rows whose images cannot be used.
    pub(super) dropped: Vec<Dropped>,
}

/// Makes all parts of a shard up to date, and lists them in `parts`. Advances `examples` by the shard's rows.
///
/// # Errors
/// Fails if the set or the model cannot be read, or if a file cannot be written.
pub(super) fn make_shard(
    slot: &ShardSlot<'_>,
    parts: &mut [(EncodedPart, ManifestPart)],
    examples: &mut Examples,
    filter: Option<&mut ImageFilter>,
    encoder: &mut Encoder<'_>,
) -> Result<ShardRows> {
    let mut existing: Option<Label> = None;
    let mut missing = BTreeSet::new();
    for (part, wanted) in parts.iter() {
        match shard::label(&slot.file(*part))? {
            Some(label) if label.key == wanted.key => existing = Some(label),
            _ => drop(missing.insert(*part)),
        }
    }
    let rows = match existing {
        Some(label) if missing.is_empty() => {
            let taken = examples.skip(label.taken)?;
            ensure!(taken == label.taken, "the set became shorter while it was read: start again");
            ShardRows { taken, examples: label.examples, dropped: label.dropped }
        }
        _ => {
            let (rows, encoding) = encode(slot.size, &missing, examples, filter, encoder)?;
            if rows.examples > 0 {
                write(slot, parts, &rows, encoding, encoder)?;
            }
            rows
        }
    };
    if rows.examples > 0 {
        for (part, manifest) in parts.iter_mut() {
            let sha256 = sha256::of_file(&slot.file(*part))?;
            manifest.shards.insert(shard_name(*part, slot.number), sha256);
        }
    }
    Ok(rows)
}

/// Encodes the images of the next `size` rows, portion by portion.
fn encode(
    size: usize,
    parts: &BTreeSet<EncodedPart>,
    examples: &mut Examples,
    mut filter: Option<&mut ImageFilter>,
    encoder: &mut Encoder<'_>,
) -> Result<(ShardRows, Encoding)> {
    let mut encoding = Encoding::of(parts);
    let (mut taken, mut dropped) = (0, Vec::new());
    while taken < size {
        let mut portion = examples.take(size - taken)?;
        if portion.taken == 0 {
            break;
        }
        if let Some(filter) = &mut filter {
            filter.apply(&mut portion)?;
        }
        encoder.add(&mut encoding, &portion.examples)?;
        taken += portion.taken;
        dropped.extend(portion.dropped);
    }
    Ok((ShardRows { taken, examples: u32::try_from(encoding.examples)?, dropped }, encoding))
}

/// Writes the parts that were encoded.
fn write(
    slot: &ShardSlot<'_>,
    parts: &[(EncodedPart, ManifestPart)],
    rows: &ShardRows,
    encoding: Encoding,
    encoder: &mut Encoder<'_>,
) -> Result<()> {
    let mut encoded = encoder.finish(encoding)?;
    for (part, manifest) in parts {
        let Some(tensors) = encoded.remove(part) else { continue };
        let label = Label {
            key: manifest.key.clone(),
            taken: rows.taken,
            examples: rows.examples,
            dropped: rows.dropped.clone(),
        };
        shard::write(&slot.file(*part), &label, &tensors)?;
    }
    Ok(())
}
