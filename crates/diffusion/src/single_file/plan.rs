//! What a file is, by names and shapes alone, and which of its tensors becomes what.

use super::{Checked, Family, Options, published, text, unet, vae};
use crate::config::Prediction;
use crate::torch_file::StoredTensor;
use crate::weights::Stem;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many problems a message names.
const SHOWN: usize = 8;
/// No published network has more blocks in a row; a name that counts further is refused.
const MOST_BLOCKS: usize = 256;

/// What a file is and what becomes of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is shaped like.
    pub family: Family,
    /// The networks.
    pub parts: Vec<Part>,
    /// The other files of the folder, by path.
    pub configs: Vec<(String, Value)>,
    /// Tensors that belong to no network and are left behind.
    pub left_out: Vec<String>,
    /// Whether the file also has the moving average of the UNet's weights (or, if that was asked for, the weights).
    pub has_average: bool,
}

/// A network of the folder.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its folder.
    pub name: &'static str,
    /// Its `config.json`.
    pub config: Value,
    /// Its tensors.
    pub tensors: Vec<Renamed>,
}

impl Part {
    /// The name of its weights file.
    #[must_use]
    pub fn weights_file(&self) -> String {
        let stem = if self.name.starts_with("text_encoder") { Stem::TRANSFORMER } else { Stem::NETWORK };
        stem.names()[0].clone()
    }
}

/// A tensor of the folder and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Its name in the folder.
    pub new: String,
    /// The tensor of the file.
    pub old: String,
    /// What of it.
    pub view: View,
}

/// What of a tensor is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Whole,
    /// This third of its rows: queries, keys and values lie one upon the other.
    Third(usize),
    /// Its transpose: used from the other side.
    Transposed,
    /// All of it, without trailing dimensions of one: a 1 x 1 convolution as a matrix.
    Matrix,
}

impl View {
    pub(super) fn of(self, tensor: &StoredTensor) -> Option<StoredTensor> {
        match self {
            Self::Whole => Some(tensor.clone()),
            Self::Third(i) => {
                let rows = tensor.shape().first()? / 3;
                tensor.rows(i * rows, rows)
            }
            Self::Transposed => tensor.transposed(),
            Self::Matrix => Some(tensor.without_trailing_ones(2)),
        }
    }

    /// The shape that [`View::of`] has.
    fn shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        match self {
            Self::Whole => {}
            Self::Third(_) => {
                if let Some(rows) = shape.first_mut() {
                    // Rows that do not divide fit nothing.
                    *rows = if *rows % 3 == 0 { *rows / 3 } else { 0 };
                }
            }
            Self::Transposed => shape.reverse(),
            Self::Matrix => {
                while shape.len() > 2 && shape.last() == Some(&1) {
                    shape.pop();
                }
            }
        }
        shape
    }
}

/// The tensors of a file below a prefix.
#[derive(Clone, Copy)]
pub(super) struct Below<'a> {
    pub(super) shapes: &'a BTreeMap<String, Vec<usize>>,
    pub(super) prefix: &'a str,
}

impl<'a> Below<'a> {
    /// The shape of a tensor, if it is there.
    pub(super) fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.shapes.get(&format!("{}{name}", self.prefix)).map(Vec::as_slice)
    }

    /// A size of a tensor that everything else is derived from.
    pub(super) fn size(&self, name: &str, dimension: usize) -> Checked<usize> {
        let missing = || format!("tensor \"{}{name}\" is missing", self.prefix);
        let shape = self.shape(name).ok_or_else(missing)?;
        shape.get(dimension).copied().filter(|&size| size > 0).ok_or_else(|| {
            format!("tensor \"{}{name}\" has shape {shape:?}, which is no such layer's", self.prefix)
        })
    }

    /// All names, without the prefix.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let prefix = self.prefix;
        self.shapes
            .range(prefix.to_owned()..)
            .map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(prefix))
            .map(move |name| &name[prefix.len()..])
    }

    /// Whether there is anything below `start`.
    pub(super) fn has(&self, start: &str) -> bool {
        self.names().any(|name| name.starts_with(start))
    }

    /// How many numbered things there are below `start`: one more than the largest number.
    pub(super) fn count(&self, start: &str) -> Checked<usize> {
        let numbers = self.names().filter_map(|name| {
            let digits = name.strip_prefix(start)?.split('.').next()?;
            digits.parse::<usize>().ok()
        });
        match numbers.max() {
            Some(most) if most >= MOST_BLOCKS => {
                Err(format!("has \"{}{start}{most}\": nothing published has so many", self.prefix))
            }
            most => Ok(most.map_or(0, |most| most + 1)),
        }
    }
}

/// Finds out what a file is, from the names and shapes of its tensors.
///
/// # Errors
/// What is missing, misshapen or left over, as the rest of a sentence that begins with the file.
pub fn plan(shapes: &BTreeMap<String, Vec<usize>>, options: Options) -> Checked<Plan> {
    let family = family(shapes)?;
    let prediction = prediction(family, options)?;
    let mut planner = Planner { shapes, used: BTreeSet::new(), problems: vec![], parts: vec![] };
    let average = unet::AVERAGE;
    let has_average = shapes.keys().filter(|name| name.starts_with(average)).count() > unet::FEWEST_AVERAGED;
    if options.average && !has_average {
        return Err("has no moving average of the UNet's weights (model_ema): do without --ema".to_owned());
    }
    let below = Below { shapes, prefix: unet::PREFIX };
    let config = unet::config(&below, family)?;
    let wanted = unet::wanted(&config)?;
    planner.part("unet", config, &wanted, |new| {
        let old = unet::old_name(new, &wanted)?;
        Some((
            if options.average { unet::averaged(&old) } else { format!("{}{old}", unet::PREFIX) },
            View::Whole,
        ))
    });
    if !options.unet_only {
        vae::plan(&mut planner, family)?;
        text::plan(&mut planner, family)?;
    }
    planner.finish(family, prediction, has_average, options.unet_only)
}

/// Collects parts and problems.
pub(super) struct Planner<'a> {
    pub(super) shapes: &'a BTreeMap<String, Vec<usize>>,
    used: BTreeSet<String>,
    problems: Vec<String>,
    parts: Vec<Part>,
}

impl Planner<'_> {
    /// A part whose tensors are `wanted`; `source` says which of the file's tensors each is.
    pub(super) fn part(
        &mut self,
        name: &'static str,
        config: Value,
        wanted: &BTreeMap<String, Vec<usize>>,
        source: impl Fn(&str) -> Option<(String, View)>,
    ) {
        let mut tensors = vec![];
        for (new, shape) in wanted {
            let Some((old, view)) = source(new) else {
                self.problems.push(format!("has no place for {name}'s {new:?}"));
                continue;
            };
            match self.shapes.get(&old) {
                None => self.problems.push(format!("tensor {old:?} is missing")),
                Some(there) if view.shape(there) != *shape => {
                    self.problems
                        .push(format!("tensor {old:?} has shape {there:?} where {shape:?} would fit"));
                }
                Some(_) => {
                    self.used.insert(old.clone());
                    tensors.push(Renamed { new: new.clone(), old, view });
                }
            }
        }
        self.parts.push(Part { name, config, tensors });
    }

    /// Tensors of a part's own that no network needs.
    pub(super) fn ignore(&mut self, is_idle: impl Fn(&str) -> bool) {
        self.used.extend(self.shapes.keys().filter(|name| is_idle(name)).cloned());
    }

    fn finish(
        mut self,
        family: Family,
        prediction: Prediction,
        has_average: bool,
        unet_only: bool,
    ) -> Checked<Plan> {
        let mut own = vec![unet::PREFIX];
        if !unet_only {
            own.extend(vae::PREFIXES);
            own.extend(text::PREFIXES);
        }
        let mut left_out = vec![];
        for name in self.shapes.keys().filter(|name| !self.used.contains(*name)) {
            // With --ema, the weights themselves stay behind.
            let is_own = own.iter().any(|prefix| name.starts_with(prefix)) && !self.is_other_half(name);
            match (published::is_idle(name), is_own) {
                (true, _) => {}
                (false, true) => {
                    self.problems.push(format!("tensor {name:?} has no place in {}", family.title()));
                }
                (false, false) => left_out.push(name.clone()),
            }
        }
        if !self.problems.is_empty() {
            let more = self.problems.len().saturating_sub(SHOWN);
            self.problems.truncate(SHOWN);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            return Err(format!("is no whole {}: {}{more}", family.title(), self.problems.join("; ")));
        }
        let configs = if unet_only { vec![] } else { published::configs(family, prediction, &self.parts) };
        Ok(Plan { family, parts: self.parts, configs, left_out, has_average })
    }

    /// Whether a weight's moving average was taken in its stead.
    fn is_other_half(&self, name: &str) -> bool {
        name.strip_prefix(unet::PREFIX).is_some_and(|name| self.used.contains(&unet::averaged(name)))
    }
}

impl Family {
    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::StableDiffusion1 => "Stable Diffusion 1",
            Self::StableDiffusion2 => "Stable Diffusion 2",
            Self::StableDiffusionXl => "Stable Diffusion XL",
        }
    }
}

fn family(shapes: &BTreeMap<String, Vec<usize>>) -> Checked<Family> {
    let below = |prefix| Below { shapes, prefix }.names().next().is_some();
    for (prefix, what) in published::FOREIGN {
        if shapes.keys().any(|name| name.contains(prefix)) {
            return Err(format!("is {what} (it has tensors named {prefix:?}), which is not supported"));
        }
    }
    if below("down_blocks.") || below("unet.down_blocks.") {
        return Err(
            "has diffusers' names: give the folder that it comes from, with its config.json".to_owned()
        );
    }
    if !below(unet::PREFIX) {
        return Err(format!(
            "has no tensor named \"{}...\": it is no checkpoint of Stable Diffusion 1, 2 or XL in one file",
            unet::PREFIX
        ));
    }
    if below(text::XL_SECOND) {
        return Ok(Family::StableDiffusionXl);
    }
    if below(text::OPEN_CLIP) {
        return Ok(Family::StableDiffusion2);
    }
    if below(text::CLIP) {
        return Ok(Family::StableDiffusion1);
    }
    // Without a text tower the UNet tells: SDXL's takes pooled text, 2's projects by matrices.
    let network = Below { shapes, prefix: unet::PREFIX };
    if network.has("label_emb.") {
        return Ok(Family::StableDiffusionXl);
    }
    let projection = network.names().find(|name| name.ends_with(".proj_in.weight"));
    let is_matrix = projection.and_then(|name| network.shape(name)).is_some_and(|shape| shape.len() == 2);
    Ok(if is_matrix { Family::StableDiffusion2 } else { Family::StableDiffusion1 })
}

fn prediction(family: Family, options: Options) -> Checked<Prediction> {
    match (options.prediction, family) {
        (Some(prediction), _) => Ok(prediction),
        (None, Family::StableDiffusion2) if !options.unet_only => Err(
            "is of Stable Diffusion 2, whose files do not say what the UNet predicts: give --prediction-type \
             v_prediction (2 and 2.1, 768 pixels) or epsilon (their base models, 512 pixels)"
                .to_owned(),
        ),
        (None, _) => Ok(Prediction::Epsilon),
    }
}
