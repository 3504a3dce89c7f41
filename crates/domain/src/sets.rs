//! Sets of up to four comparable images, of which raters pick the best.

use crate::id::ImageId;

/// Most images of a set.
pub const MOST: usize = 4;

/// Fewest images of a set: two are a pair.
pub const FEWEST: usize = 3;

/// Sets of the comparable images of different models. Up to four images are one set. More are put into an order that depends on
/// `key` and the images alone, so that models meet others for another key, and are cut into fours; the last one is filled
/// with images of the one before. Fewer than three make none.
#[must_use]
pub fn sets_of(key: &str, mut images: Vec<ImageId>) -> Vec<Vec<ImageId>> {
    if images.len() < FEWEST {
        return Vec::new();
    }
    images.sort_by_key(|image| (mixed(key, *image), *image));
    let last = images.len().saturating_sub(MOST);
    let starts = (0..images.len()).step_by(MOST).map(|start| start.min(last));
    let set = |start: usize| {
        let mut set: Vec<ImageId> = images.iter().copied().skip(start).take(MOST).collect();
        set.sort_unstable();
        set
    };
    starts.map(set).collect()
}

/// FNV-1a of a key and an image's id.
fn mixed(key: &str, image: ImageId) -> u64 {
    let bytes = key.bytes().chain(*image.0.as_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Checks an order of the images of a set: numbers from 1, each at most once. Returns it complete where only one image is left
/// out.
///
/// # Errors
/// Says what is wrong with it.
pub fn complete_order(mut order: Vec<u8>, images: u8) -> Result<Vec<u8>, String> {
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let fits = sorted.len() == order.len() && order.iter().all(|place| (1..=images).contains(place));
    if order.is_empty() || !fits {
        return Err(format!(
            "name one image or more by their numbers from 1 to {images}, the best first, each once"
        ));
    }
    if order.len() + 1 == usize::from(images) {
        order.extend((1..=images).find(|place| !order.contains(place)));
    }
    Ok(order)
}

/// The pairs that an order decides, the better image first: each named image is better than all that come later or are left out.
#[must_use]
pub fn decided_pairs(order: &[u8], images: u8) -> Vec<(u8, u8)> {
    let mut pairs = Vec::new();
    for (index, &better) in order.iter().enumerate() {
        let worse = (1..=images).filter(|place| !order[..=index].contains(place));
        pairs.extend(worse.map(|worse| (better, worse)));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{complete_order, decided_pairs, sets_of};
    use crate::id::ImageId;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    #[test]
    fn every_image_is_in_a_set_of_three_or_four() {
        for count in 0..12_u128 {
            let images: Vec<ImageId> = (0..count).map(|n| ImageId(Uuid::from_u128(n + 1))).collect();
            let sets = sets_of("p", images.clone());
            if count < 3 {
                assert!(sets.is_empty());
                continue;
            }
            let seen: BTreeSet<ImageId> = sets.iter().flatten().copied().collect();
            assert_eq!(seen.len(), images.len(), "{count} images");
            for set in &sets {
                let distinct: BTreeSet<&ImageId> = set.iter().collect();
                assert_eq!((distinct.len(), set.len()), (set.len(), images.len().min(4)), "{count} images");
            }
            // In another order of the images, the sets are the same.
            assert_eq!(sets_of("p", images.into_iter().rev().collect()), sets);
        }
        let images: Vec<ImageId> = (0..8).map(|n| ImageId(Uuid::from_u128(n))).collect();
        assert!((0..9).any(|n| sets_of(&n.to_string(), images.clone()) != sets_of("p", images.clone())));
    }

    #[test]
    fn an_order_names_each_image_at_most_once() {
        assert_eq!(complete_order(vec![2], 4), Ok(vec![2]));
        assert_eq!(complete_order(vec![2, 4, 1], 4), Ok(vec![2, 4, 1, 3]));
        assert_eq!(complete_order(vec![3, 1, 2], 3), Ok(vec![3, 1, 2]));
        for wrong in [vec![], vec![0], vec![5], vec![1, 1], vec![1, 2, 3, 4, 1]] {
            assert!(complete_order(wrong.clone(), 4).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_named_image_is_better_than_those_behind_it() {
        assert_eq!(decided_pairs(&[2], 4), [(2, 1), (2, 3), (2, 4)]);
        assert_eq!(decided_pairs(&[2, 1], 3), [(2, 1), (2, 3), (1, 3)]);
        assert_eq!(decided_pairs(&[2, 4, 1, 3], 4), [(2, 1), (2, 3), (2, 4), (4, 1), (4, 3), (1, 3)]);
    }
}
