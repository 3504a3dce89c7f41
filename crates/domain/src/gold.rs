//! Gold pairs of a campaign that a metric proposes: comparable images with clearly different scores.

use crate::campaign::GoldPair;
use crate::id::ImageId;
use std::collections::{BTreeMap, HashSet};

/// An image of which a score is known.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredImage {
    /// Key of its generation parameters; comparable images have equal keys.
    pub params: String,
    /// Id of the image.
    pub image: ImageId,
    /// The score; higher is better.
    pub score: f64,
}

/// The pairs of comparable images whose scores differ most, at most `count`, the largest difference first. No image is in two
/// pairs, and images of equal scores make none.
#[must_use]
pub fn clearest_pairs(images: &[ScoredImage], count: usize) -> Vec<GoldPair> {
    clearest(images, count).into_iter().map(|(_, pair)| pair).collect()
}

/// The same with the differences.
#[must_use]
pub fn clearest(images: &[ScoredImage], count: usize) -> Vec<(f64, GoldPair)> {
    let mut by_params: BTreeMap<&str, Vec<&ScoredImage>> = BTreeMap::new();
    for image in images {
        by_params.entry(&image.params).or_default().push(image);
    }
    let mut pairs: Vec<(f64, GoldPair)> = Vec::new();
    for of_params in by_params.into_values() {
        for (index, a) in of_params.iter().enumerate() {
            for b in &of_params[index + 1..] {
                let (better, worse) = if a.score >= b.score { (a, b) } else { (b, a) };
                let difference = better.score - worse.score;
                if difference > 0.0 {
                    pairs.push((difference, GoldPair { better: better.image, worse: worse.image }));
                }
            }
        }
    }
    // A stable sort: pairs of equal differences stay in the order of their parameters.
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
    let mut used = HashSet::new();
    let mut chosen = Vec::new();
    for (difference, pair) in pairs {
        if chosen.len() == count {
            break;
        }
        if !used.contains(&pair.better) && !used.contains(&pair.worse) {
            used.extend([pair.better, pair.worse]);
            chosen.push((difference, pair));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{ScoredImage, clearest_pairs};
    use crate::campaign::GoldPair;
    use crate::id::ImageId;
    use uuid::Uuid;

    #[test]
    fn the_largest_differences_come_first_and_no_image_twice() {
        let id = |n: u128| ImageId(Uuid::from_u128(n));
        let image = |params: &str, n, score| ScoredImage { params: params.to_owned(), image: id(n), score };
        let images = [
            image("p", 1, 0.2),
            image("p", 2, 0.9),
            image("p", 3, 0.5),
            image("q", 4, 0.1),
            image("q", 5, 1.0),
            image("r", 6, 0.4),
            image("r", 7, 0.4),
        ];
        let pair = |better, worse| GoldPair { better: id(better), worse: id(worse) };
        assert_eq!(clearest_pairs(&images, 5), [pair(5, 4), pair(2, 1)]);
        assert_eq!(clearest_pairs(&images, 1), [pair(5, 4)]);
        assert_eq!(clearest_pairs(&[], 5), []);
    }
}
