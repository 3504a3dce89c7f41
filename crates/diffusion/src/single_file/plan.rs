//! The plan of a conversion: what a file is, judged by the names and shapes of its tensors, and what its tensors become.

use super::family::Family;
use super::part::{Part, View};
use super::planner::Planner;
use super::prefixed_shapes::PrefixedShapes;
use super::problem::Checked;
use super::statements::{Choice, Decision, Metadata, decide, is_marker};
use super::{published, text, unet, vae};
use crate::config::Prediction;
use serde_json::Value;
use std::collections::BTreeMap;

/// The largest number of problems that a message lists.
const MAX_PROBLEMS: usize = 8;

/// The buffers of the noise schedule in training checkpoints.
const SCHEDULE_BUFFERS: [&str; 8] = [
    "alphas_cumprod",
    "betas",
    "log_one_minus_",
    "logvar",
    "lvlb_weights",
    "posterior_",
    "scale_factor",
    "sqrt_",
];

/// Choices that a single file does not determine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The quantity that the UNet predicts, whatever the file says. Required for files of Stable Diffusion 2 that do not say it;
    /// otherwise the default is the noise.
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
    /// Tensors that are not converted, by name.
    pub left_out: Vec<LeftOut>,
    /// The quantity that the UNet predicts; `None` if only the UNet is converted and the file does not say it.
    pub prediction: Option<Prediction>,
    /// Whether the last timestep of the noise schedule has no signal.
    pub no_last_signal: bool,
    /// For people: statements of the file that were obeyed or overruled.
    pub notes: Vec<String>,
    /// Whether the file has the moving average of the UNet's weights in addition to the weights.
    pub has_average: bool,
}

/// A tensor that is not converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in the file.
    pub name: String,
    /// Why it is left out.
    pub reason: String,
}

/// Plans the conversion of a file from the names and shapes of its tensors and the entries of its header.
///
/// # Errors
/// Fails if the family is unknown, if tensors are missing, superfluous or of another shape, or if the file's statements about
/// itself contradict each other. The message is the rest of a sentence that begins with the file.
pub fn plan(shapes: &BTreeMap<String, Vec<usize>>, metadata: &Metadata, options: Options) -> Checked<Plan> {
    let family = find_family(shapes)?;
    let choice = Choice { prediction: options.prediction, unet_only: options.unet_only };
    let decision = decide(shapes, metadata, family, choice)?;
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
    planner.ignore(is_marker);
    finish(planner, family, decision, has_average, options.unet_only)
}

/// Reports the problems that were found, or completes the plan.
fn finish(
    mut planner: Planner<'_>,
    family: Family,
    decision: Decision,
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
        let belongs_to_a_part = prefixes.iter().any(|prefix| name.starts_with(prefix));
        if belongs_to_a_part && !published::is_ignored(name) && !is_replaced_by_average(&planner, name) {
            planner.problems.push(format!("tensor {name:?} is not part of {}", family.title()));
        } else {
            let reason = reason(&planner, name, has_average, unet_only);
            left_out.push(LeftOut { name: name.clone(), reason: reason.to_owned() });
        }
    }
    if !planner.problems.is_empty() {
        let more = planner.problems.len().saturating_sub(MAX_PROBLEMS);
        planner.problems.truncate(MAX_PROBLEMS);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(format!("is not a complete {}: {}{more}", family.title(), planner.problems.join("; ")));
    }
    let Decision { prediction, no_last_signal, notes } = decision;
    let configs = if unet_only {
        vec![]
    } else {
        published::configs(family, prediction.unwrap_or_default(), no_last_signal, &planner.parts)
    };
    Ok(Plan {
        family,
        parts: planner.parts,
        configs,
        left_out,
        prediction,
        no_last_signal,
        notes,
        has_average,
    })
}

/// Why a tensor that no part uses is left out.
fn reason(planner: &Planner<'_>, name: &str, has_average: bool, unet_only: bool) -> &'static str {
    if is_replaced_by_average(planner, name) {
        return "weights of the UNet, whose moving averages are taken";
    }
    if name.starts_with(unet::AVERAGE_PREFIX) {
        return if has_average {
            "moving averages of the UNet's weights (--ema takes them)"
        } else {
            "moving averages"
        };
    }
    if published::is_ignored(name) {
        return "needed by no network: indices, temperatures and parts that only training uses";
    }
    if SCHEDULE_BUFFERS.iter().any(|start| name.starts_with(start)) {
        return "buffers of the noise schedule, which is that of the published model";
    }
    if unet_only && vae::PREFIXES.iter().chain(&text::PREFIXES).any(|prefix| name.starts_with(prefix)) {
        return "parts that the base gives";
    }
    "belong to no part of the model"
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
