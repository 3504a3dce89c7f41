//! Which examples are dealt together: the pairs of a ranked list, or each example alone.

use super::encoded::EncodedSet;
use anyhow::{Result, ensure};
use datasets::pair::ListPlace;
use std::collections::BTreeMap;

/// Examples that are dealt together, as many in each unit.
#[derive(Debug)]
pub(super) struct Units {
    pub(super) units: Vec<Vec<u32>>,
    /// Examples of a unit.
    pub(super) size: usize,
}

impl Units {
    /// Each example alone. Pairs of equal rank in a list, which have no winner, are left out.
    ///
    /// # Errors
    /// Fails if a tensor of the set is damaged.
    pub(super) fn alone(set: &EncodedSet) -> Result<Self> {
        let all: Vec<u32> = (0..set.len() as u32).collect();
        let units = match set.list_places(&all)? {
            Some(places) => {
                let decided =
                    all.into_iter().zip(places).filter(|(_, place)| place.ranks[0] != place.ranks[1]);
                decided.map(|(example, _)| vec![example]).collect()
            }
            None => all.into_iter().map(|example| vec![example]).collect(),
        };
        Ok(Self { units, size: 1 })
    }

    /// The pairs of each list, which must be as many in all lists and divide `batch_size`. Lists that lost a pair, for a damaged image
    /// for example, are left out.
    ///
    /// # Errors
    /// Fails if lists have different lengths, or one that does not divide `batch_size`.
    pub(super) fn lists(set: &EncodedSet, batch_size: usize) -> Result<Self> {
        let all: Vec<u32> = (0..set.len() as u32).collect();
        let Some(places) = set.list_places(&all)? else { return Self::alone(set) };
        let mut lists: BTreeMap<u32, (u32, Vec<u32>)> = BTreeMap::new();
        for (example, ListPlace { list, pairs, .. }) in all.into_iter().zip(places) {
            lists.entry(list).or_insert_with(|| (pairs, Vec::new())).1.push(example);
        }
        let count = lists.len();
        let (mut units, mut sizes) = (Vec::new(), std::collections::BTreeSet::new());
        for (pairs, examples) in lists.into_values() {
            if examples.len() == pairs as usize {
                sizes.insert(examples.len());
                units.push(examples);
            }
        }
        if units.len() < count {
            tracing::warn!("data: {} of {count} lists lost an image and are left out", count - units.len());
        }
        let images: Vec<String> = sizes.iter().map(|pairs| (2 * pairs).to_string()).collect();
        ensure!(
            sizes.len() <= 1,
            "data: the lists have {} images: diffusion_lpo needs lists of one length",
            images.join(", ")
        );
        let size = sizes.first().copied().unwrap_or(1);
        ensure!(
            batch_size.is_multiple_of(size),
            "batch_size: the lists have {} images, {size} pairs each: use a multiple of {size}",
            2 * size
        );
        Ok(Self { units, size })
    }
}
