//! Names and shapes of published models (`keys/`, made by `oracles/key_lists.py` from the reference packages), and
//! whether a file has just these.

use super::{PublishedModel, first};
use anyhow::{Result, bail};
use diffusion::torch_file::StoredTensor;
use std::collections::BTreeMap;

/// The lists of each model: its first line says what it is, each other names tensors of one shape.
fn lists(model: PublishedModel) -> &'static [&'static str] {
    match model {
        PublishedModel::Hps => &[include_str!("keys/open-clip-vit-h-14.txt")],
        PublishedModel::Aesthetic => &[include_str!("keys/aesthetic.txt")],
        PublishedModel::ImageReward => &[include_str!("keys/image-reward.txt")],
        PublishedModel::Inception => &[include_str!("keys/inception.txt")],
        PublishedModel::Clip => &[
            include_str!("keys/clip-vit-l-14.txt"),
            include_str!("keys/clip-vit-h-14.txt"),
            include_str!("keys/open-clip-vit-l-14.txt"),
            include_str!("keys/open-clip-vit-h-14.txt"),
        ],
        PublishedModel::StableDiffusion => &[
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

/// Holds tensors to the list that they come nearest to.
pub(super) fn check(model: PublishedModel, tensors: &[(String, StoredTensor)]) -> Result<()> {
    let named: BTreeMap<&str, &[usize]> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
    let mut nearest: Option<(KeyList, Vec<String>)> = None;
    for text in lists(model) {
        let list = KeyList::parse(text);
        let differences = list.differences(&named);
        if nearest.as_ref().is_none_or(|(_, fewest)| differences.len() < fewest.len()) {
            nearest = Some((list, differences));
        }
    }
    let Some((list, differences)) = nearest.filter(|(_, differences)| !differences.is_empty()) else {
        return Ok(());
    };
    let hint = prefix_to_strip(&list, &named)
        .map_or(String::new(), |prefix| format!(" (it would fit with --strip-prefix {prefix})"));
    bail!("is not {}{hint}: {}", list.title, first(&differences))
}

/// What a model's file has.
struct KeyList {
    title: &'static str,
    keys: BTreeMap<String, Key>,
    /// Below these, anything goes.
    free: Vec<String>,
}

struct Key {
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

    /// Every tensor that is missing, extra or misshapen: those that should be there first.
    fn differences(&self, named: &BTreeMap<&str, &[usize]>) -> Vec<String> {
        let mut missing = vec![];
        let mut misshapen = vec![];
        for (name, key) in &self.keys {
            match named.get(name.as_str()) {
                None if key.optional => {}
                None => missing.push(format!("{name:?} is missing")),
                Some(shape) if key.fits(shape) => {}
                Some(shape) => {
                    misshapen.push(format!("{name:?} has shape {shape:?} instead of {}", key.wanted()))
                }
            }
        }
        let extra = named.keys().filter(|name| {
            !self.keys.contains_key(**name) && !self.free.iter().any(|prefix| name.starts_with(prefix))
        });
        let extra = extra.map(|name| format!("{name:?} does not belong to it"));
        missing.into_iter().chain(misshapen).chain(extra).collect()
    }
}

impl Key {
    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == self.shape.len()
            && shape.iter().zip(&self.shape).all(|(size, sizes)| sizes.contains(size))
    }

    fn wanted(&self) -> String {
        let size = |sizes: &Vec<usize>| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
        format!("[{}]", self.shape.iter().map(size).collect::<Vec<_>>().join(", "))
    }
}

/// What stands before every name, if the rest is what is asked for.
fn prefix_to_strip(list: &KeyList, named: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let (head, _) = named.keys().next()?.split_once('.')?;
    let prefix = format!("{head}.");
    let stripped = named.iter().map(|(name, shape)| Some((name.strip_prefix(&prefix)?, *shape)));
    let stripped = stripped.collect::<Option<BTreeMap<_, _>>>()?;
    list.differences(&stripped).is_empty().then_some(prefix)
}

/// `a.{0-2,5}.b` is a.0.b, a.1.b, a.2.b and a.5.b.
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
    use super::{KeyList, expand, lists};
    use crate::command::convert::PublishedModel;
    use clap::ValueEnum;

    #[test]
    fn patterns_stand_for_every_number() {
        assert_eq!(expand("a.{0-1,3}.b.{7}"), ["a.0.b.7", "a.1.b.7", "a.3.b.7"]);
        assert_eq!(expand("plain"), ["plain"]);
    }

    /// Numbers of parameters as the models' authors and packages state them.
    #[test]
    fn lists_have_as_many_parameters_as_the_models() {
        let mut all = vec![];
        for model in PublishedModel::value_variants() {
            for text in lists(*model) {
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
