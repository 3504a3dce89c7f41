//! Reading a data set.

use crate::step::Step;
use anyhow::{Context, ensure};
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use std::path::Path;

/// Reads all pairs of a set. Like the peer it accesses the length of every image and does not decode it. The result
/// is the number of pairs.
pub(crate) fn step(folder: &Path) -> Step<'static> {
    let folder = folder.to_string_lossy().into_owned();
    let spec = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
    Box::new(move || {
        let (mut pairs, mut bytes) = (0u32, 0);
        for pair in Pairs::open(&spec)?.context("the set has no files")? {
            let pair = pair?;
            pairs += 1;
            bytes += pair.bytes();
        }
        ensure!(bytes > 0, "the set has no images");
        Ok(Some(f64::from(pairs)))
    })
}
