//! Ranked lists of images: a line of `pairs.jsonl` whose key `ranked` names several images, from the best to the worst.

use crate::image_files::{below, read_image};
use crate::json_row::{JsonRow, Unusable};
use crate::pair::{ListPlace, PreferencePair, Row};
use bytes::Bytes;
use domain::dataset::{Reason, Source};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The key of a ranked list.
const RANKED: &str = "ranked";
/// Most images of a list.
const MOST_IMAGES: usize = 64;

/// An image of a list and its rank; 0 is the best.
type Ranked<T> = (T, u32);

/// The images of a row that has the key `ranked`: a list from the best to the worst, in which a list of images stands for
/// equal ones. `None` for a row without the key.
///
/// # Errors
/// Says what is wrong with the list.
pub(crate) fn ranked_images(row: &JsonRow, folder: &Path) -> Result<Option<Vec<Ranked<PathBuf>>>, Unusable> {
    let Some((_, value)) = row.get(&[RANKED]) else { return Ok(None) };
    let wrong = |detail: &str| (Reason::WrongType, format!("{RANKED} {detail}"));
    let file = |name: &Value| {
        let name = name.as_str().ok_or_else(|| wrong("must list names of images"))?;
        below(folder, name).map_err(|problem| (Reason::MissingImage, problem))
    };
    let groups = value.as_array().ok_or_else(|| wrong("must be a list, from the best image to the worst"))?;
    let mut images = Vec::new();
    for (group, rank) in groups.iter().zip(0..) {
        match group {
            Value::Array(equal) => {
                for name in equal {
                    images.push((file(name)?, rank));
                }
            }
            name => images.push((file(name)?, rank)),
        }
    }
    if groups.len() < 2 || images.len() > MOST_IMAGES {
        return Err(wrong(&format!("needs two ranks or more, and at most {MOST_IMAGES} images")));
    }
    if images.len() % 2 == 1 {
        let remedy = "and must have an even number, since images are kept in pairs: leave one out";
        return Err(wrong(&format!("has {} images, {remedy}", images.len())));
    }
    Ok(Some(images))
}

/// The pairs that hold the images of a list, each image once: the best with the worst, the second with the last but one, and so on.
/// If an image is missing, the list is dropped.
pub(crate) fn rows_of(prompt: &str, images: &[Ranked<PathBuf>], source: &Source) -> Vec<Row> {
    let read = images.iter().map(|(file, rank)| Ok((read_image(file)?, *rank)));
    let images: Vec<Ranked<Bytes>> = match read.collect::<Result<_, Unusable>>() {
        Ok(images) => images,
        Err((reason, detail)) => return vec![Row::dropped(reason, source.clone(), detail)],
    };
    let pairs = images.len() / 2;
    let ends = images.iter().zip(images.iter().rev()).take(pairs);
    ends.map(|((winner, best), (loser, worst))| {
        Row::Pair(PreferencePair {
            prompt: prompt.to_owned(),
            winner: winner.clone(),
            loser: Some(loser.clone()),
            models: [None, None],
            source: source.clone(),
            list: Some(ListPlace { list: source.row as u32, pairs: pairs as u32, ranks: [*best, *worst] }),
        })
    })
    .collect()
}
