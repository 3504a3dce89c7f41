//! The plan of a conversion: what a file is, judged by the names and shapes of its tensors, and what its tensors become.

use super::family::Family;
use super::part::{Part, View};
use super::planner::Planner;
use super::prefixed_shapes::PrefixedShapes;
use super::problem::Checked;
use super::{published, text, unet, vae};
use crate::config::Prediction;
use serde_json::Value;
use std::collections::BTreeMap;

/// The largest number of problems that a message lists.
const MAX_PROBLEMS: usize = 8;

/// Choices that a single file does not determine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The quantity that the UNet predicts. Required for Stable Diffusion 2, whose files do not differ; otherwise the
    /// default is the noise.
    pub prediction: Option<Prediction>,
    /// Whether to use the moving average of the UNet's weights instead of the weights, if the file has both.
    pub average: bool,
    /// Whether to convert only the UNet.
    pub unet_only: bool,
}

/// What a file is and what its tensors become.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The family of the model.
    pub family: Family,
    /// The networks.
    pub parts: Vec<Part>,
    /// The other files of the folder: path and content.
    pub configs: Vec<(String, Value)>,
    /// Tensors that belong to no network and are not converted.
    pub left_out: Vec<String>,
    /// Whether the file has the moving average of the UNet's weights in addition to the weights.
    pub has_average: bool,
}

/// Plans the conversion of a file from the names and shapes of its tensors.
///
/// # Errors
/// Fails if the family is unknown, or tensors are missing, superfluous or of another shape. The message is the rest of a
/// sentence that begins with the file.
pub fn plan(shapes: &BTreeMap<String, Vec<usize>>, options: Options) -> Checked<Plan> {
    let family = find_family(shapes)?;
    let prediction = prediction(family, options)?;
    let mut planner = Planner::new(shapes);
    let averages = shapes.keys().filter(|name| name.starts_with(unet::AVERAGE_PREFIX)).count();
    let has_average = averages > unet::MIN_AVERAGES;
    if options.average && !has_average {
        return Err("has no moving average of the UNet's weights (model_ema): omit --ema".to_owned());
    }
    let config = unet::config(&PrefixedShapes { shapes, prefix: unet::PREFIX }, family)?;
    let needed = unet::parameter_shapes_of(&config)?;
    planner.part("unet", config, &needed, |new| {
        let old = unet::old_name(new, &needed)?;
        Some((
            if options.average { unet::average_name(&old) } else { format!("{}{old}", unet::PREFIX) },
            View::Whole,
        ))
    });
    if !options.unet_only {
        vae::plan(&mut planner, family)?;
        text::plan(&mut planner, family)?;
    }
    finish(planner, family, prediction, has_average, options.unet_only)
}

/// Reports the problems that were found, or completes the plan.
fn finish(
    mut planner: Planner<'_>,
    family: Family,
    prediction: Prediction,
    has_average: bool,
    unet_only: bool,
) -> Checked<Plan> {
    let mut prefixes = vec![unet::PREFIX];
    if !unet_only {
        prefixes.extend(vae::PREFIXES);
        prefixes.extend(text::PREFIXES);
    }
    let mut left_out = vec![];
    for name in planner.shapes.keys().filter(|name| !planner.used.contains(*name)) {
        if published::is_ignored(name) {
            continue;
        }
        let belongs_to_a_part = prefixes.iter().any(|prefix| name.starts_with(prefix));
        if belongs_to_a_part && !is_replaced_by_average(&planner, name) {
            planner.problems.push(format!("tensor {name:?} is not part of {}", family.title()));
        } else {
            left_out.push(name.clone());
        }
    }
    if !planner.problems.is_empty() {
        let more = planner.problems.len().saturating_sub(MAX_PROBLEMS);
        planner.problems.truncate(MAX_PROBLEMS);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(format!("is not a complete {}: {}{more}", family.title(), planner.problems.join("; ")));
    }
    let configs = if unet_only { vec![] } else { published::configs(family, prediction, &planner.parts) };
    Ok(Plan { family, parts: planner.parts, configs, left_out, has_average })
}

/// Whether a weight of the UNet is not used because its moving average is.
fn is_replaced_by_average(planner: &Planner<'_>, name: &str) -> bool {
    name.strip_prefix(unet::PREFIX).is_some_and(|name| planner.used.contains(&unet::average_name(name)))
}

fn find_family(shapes: &BTreeMap<String, Vec<usize>>) -> Checked<Family> {
    let has_prefix = |prefix| PrefixedShapes { shapes, prefix }.names().next().is_some();
    for (part, model) in published::UNSUPPORTED {
        if shapes.keys().any(|name| name.contains(part)) {
            return Err(format!("is {model} (it has tensors named {part:?}), which is not supported"));
        }
    }
    if has_prefix("down_blocks.") || has_prefix("unet.down_blocks.") {
        return Err(
            "has diffusers' names: import the folder that it comes from, with its config.json".to_owned()
        );
    }
    if !has_prefix(unet::PREFIX) {
        return Err(format!(
            "has no tensor named \"{}...\": it is not a single-file checkpoint of Stable Diffusion 1, 2 or XL",
            unet::PREFIX
        ));
    }
    if has_prefix(text::XL_SECOND_PREFIX) {
        return Ok(Family::StableDiffusionXl);
    }
    if has_prefix(text::OPEN_CLIP_PREFIX) {
        return Ok(Family::StableDiffusion2);
    }
    if has_prefix(text::CLIP_PREFIX) {
        return Ok(Family::StableDiffusion1);
    }
    // Without a text tower, the UNet decides: that of SDXL takes pooled text, that of 2 has linear projections.
    let network = PrefixedShapes { shapes, prefix: unet::PREFIX };
    Ok(if network.has("label_emb.") {
        Family::StableDiffusionXl
    } else if unet::has_linear_projection(&network) {
        Family::StableDiffusion2
    } else {
        Family::StableDiffusion1
    })
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
