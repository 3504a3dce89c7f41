//! Published models: the names and shapes of their tensors (`keys/`, written by `oracles/key_lists.py` from the
//! reference packages), and the check whether a file has exactly these.

use super::problems::join_first;
use anyhow::{Result, bail};
use clap::ValueEnum;
use diffusion::torch_file::StoredTensor;
use std::collections::BTreeMap;

/// Models whose tensors are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PublishedModel {
    /// HPSv2, v2.0 and v2.1.
    Hps,
    /// The LAION aesthetic predictor.
    Aesthetic,
    /// ImageReward v1.0.
    ImageReward,
    /// Inception v3 of pytorch-fid and torch-fidelity.
    Inception,
    /// CLIP ViT-L/14 and ViT-H/14, with OpenCLIP's or transformers' names. PickScore is one of them.
    Clip,
    /// Stable Diffusion 1.x and XL: the single file, or one part of the diffusers layout.
    StableDiffusion,
}

impl PublishedModel {
    /// The lists of the model's tensors, one for each form in which it is published. The first line of a list is its
    /// title; each other line names tensors of one shape.
    fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Hps => &[include_str!("keys/open-clip-vit-h-14.txt")],
            Self::Aesthetic => &[include_str!("keys/aesthetic.txt")],
            Self::ImageReward => &[include_str!("keys/image-reward.txt")],
            Self::Inception => &[include_str!("keys/inception.txt")],
            Self::Clip => &[
                include_str!("keys/clip-vit-l-14.txt"),
                include_str!("keys/clip-vit-h-14.txt"),
                include_str!("keys/open-clip-vit-l-14.txt"),
                include_str!("keys/open-clip-vit-h-14.txt"),
            ],
            Self::StableDiffusion => &[
                include_str!("keys/stable-diffusion-1.txt"),
                include_str!("keys/stable-diffusion-xl.txt"),
                include_str!("keys/stable-diffusion-unet-1.txt"),
                include_str!("keys/stable-diffusion-unet-xl.txt"),
                include_str!("keys/stable-diffusion-vae.txt"),
                include_str!("keys/stable-diffusion-vae-old.txt"),
                include_str!("keys/stable-diffusion-text.txt"),
                include_str!("keys/stable-diffusion-text-xl.txt"),
            ],
        }
    }

    /// Checks that the tensors are exactly those of the model. Differences are reported from the most similar list.
    pub(super) fn check(self, tensors: &[(String, StoredTensor)]) -> Result<()> {
        let shapes: BTreeMap<&str, &[usize]> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
        let mut nearest: Option<(KeyList, Vec<String>)> = None;
        for text in self.lists() {
            let list = KeyList::parse(text);
            let differences = list.differences(&shapes);
            if nearest.as_ref().is_none_or(|(_, fewest)| differences.len() < fewest.len()) {
                nearest = Some((list, differences));
            }
        }
        let Some((list, differences)) = nearest.filter(|(_, differences)| !differences.is_empty()) else {
            return Ok(());
        };
        let hint = prefix_to_strip(&list, &shapes)
            .map_or(String::new(), |prefix| format!(" (it is with --strip-prefix {prefix})"));
        bail!("is not {}{hint}: {}", list.title, join_first(&differences))
    }
}

/// The tensors of a model.
struct KeyList {
    title: &'static str,
    keys: BTreeMap<String, Key>,
    /// Prefixes of names that are accepted without a check.
    free: Vec<String>,
}

struct Key {
    /// For each dimension, the accepted sizes.
    shape: Vec<Vec<usize>>,
    optional: bool,
}

impl KeyList {
    fn parse(text: &'static str) -> Self {
        let mut lines = text.lines();
        let title = lines.next().unwrap_or_default().trim_start_matches("# ");
        let mut list = Self { title, keys: BTreeMap::new(), free: vec![] };
        for line in lines {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            if let Some(prefix) = name.strip_suffix("*?") {
                list.free.push(prefix.to_owned());
                continue;
            }
            let shape: Vec<Vec<usize>> =
                words.map(|size| size.split('|').filter_map(|n| n.parse().ok()).collect()).collect();
            for key in expand(name.trim_end_matches('?')) {
                list.keys.insert(key, Key { shape: shape.clone(), optional: name.ends_with('?') });
            }
        }
        list
    }

    /// Every missing tensor, then those with another shape, then additional ones.
    fn differences(&self, shapes: &BTreeMap<&str, &[usize]>) -> Vec<String> {
        let mut missing = vec![];
        let mut wrong_shape = vec![];
        for (name, key) in &self.keys {
            match shapes.get(name.as_str()) {
                None if key.optional => {}
                None => missing.push(format!("{name:?} is missing")),
                Some(shape) if key.fits(shape) => {}
                Some(shape) => {
                    wrong_shape.push(format!("{name:?} has shape {shape:?} instead of {}", key.accepted()))
                }
            }
        }
        let additional = shapes.keys().filter(|name| {
            !self.keys.contains_key(**name) && !self.free.iter().any(|prefix| name.starts_with(prefix))
        });
        let additional = additional.map(|name| format!("{name:?} does not belong to it"));
        missing.into_iter().chain(wrong_shape).chain(additional).collect()
    }
}

impl Key {
    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == self.shape.len()
            && shape.iter().zip(&self.shape).all(|(size, sizes)| sizes.contains(size))
    }

    fn accepted(&self) -> String {
        let size = |sizes: &Vec<usize>| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
        format!("[{}]", self.shape.iter().map(size).collect::<Vec<_>>().join(", "))
    }
}

/// The prefix that all names share, if the file is the model without it.
fn prefix_to_strip(list: &KeyList, shapes: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let (head, _) = shapes.keys().next()?.split_once('.')?;
    let prefix = format!("{head}.");
    let stripped = shapes.iter().map(|(name, shape)| Some((name.strip_prefix(&prefix)?, *shape)));
    let stripped = stripped.collect::<Option<BTreeMap<_, _>>>()?;
    list.differences(&stripped).is_empty().then_some(prefix)
}

/// Expands the numbers of a pattern: `a.{0-2,5}.b` is a.0.b, a.1.b, a.2.b and a.5.b.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let Some((numbers, after)) = rest.split_once('}') else { return vec![pattern.to_owned()] };
    let tails = expand(after);
    let mut names = vec![];
    for range in numbers.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to)) = (from.parse::<u32>(), to.parse::<u32>()) else { continue };
        for number in from..=to {
            names.extend(tails.iter().map(|tail| format!("{before}{number}{tail}")));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{KeyList, PublishedModel, expand};
    use clap::ValueEnum;

    #[test]
    fn patterns_expand_to_every_number() {
        assert_eq!(expand("a.{0-1,3}.b.{7}"), ["a.0.b.7", "a.1.b.7", "a.3.b.7"]);
        assert_eq!(expand("plain"), ["plain"]);
    }

    /// The parameter counts are those that the models' authors and packages state.
    #[test]
    fn lists_have_the_parameter_counts_of_the_models() {
        let mut all = vec![];
        for model in PublishedModel::value_variants() {
            for text in model.lists() {
                let list = KeyList::parse(text);
                assert!(list.keys.values().all(|key| key.shape.iter().all(|sizes| !sizes.is_empty())));
                let required = list.keys.values().filter(|key| !key.optional);
                let count: usize =
                    required.map(|key| key.shape.iter().map(|sizes| sizes[0]).product::<usize>()).sum();
                all.push((list.title, count));
            }
        }
        let count =
            |start: &str| all.iter().find(|(title, _)| title.starts_with(start)).map(|(_, count)| *count);
        assert_eq!(count("OpenCLIP ViT-H/14"), Some(986_109_441));
        assert_eq!(count("CLIP ViT-H/14"), Some(986_109_441));
        assert_eq!(count("CLIP ViT-L/14 under transformers"), Some(427_616_513));
        assert_eq!(count("CLIP ViT-L/14 under OpenCLIP"), Some(427_616_513));
        assert_eq!(count("ImageReward"), Some(446_665_953));
        assert_eq!(count("LAION improved"), Some(927_969));
        assert_eq!(count("the UNet of Stable Diffusion 1.x"), Some(859_520_964));
        assert_eq!(count("the UNet of Stable Diffusion XL"), Some(2_567_463_684));
        assert_eq!(count("the autoencoder of Stable Diffusion under diffusers' names"), Some(83_653_863));
        assert_eq!(count("the text tower of Stable Diffusion 1.x"), Some(123_060_480));
        assert_eq!(count("the second text tower"), Some(694_659_840));
        assert_eq!(count("Stable Diffusion 1.x in one file"), Some(859_520_964 + 83_653_863 + 123_060_480));
    }
}
