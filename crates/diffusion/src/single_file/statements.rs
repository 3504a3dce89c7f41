//! What a file says about itself besides its weights: markers among its tensors, and entries of its header.
//!
//! Widespread markers are the empty tensors `v_pred` and `ztsnr`. The header's entries are those of the specification
//! "modelspec" and of kohya's training scripts (`ss_`).

use super::family::Family;
use super::problem::Checked;
use crate::config::Prediction;
use std::collections::BTreeMap;

/// The tensor that marks a network that predicts the velocity.
const VELOCITY: &str = "v_pred";
/// The tensor that marks a schedule whose last timestep has no signal.
const NO_LAST_SIGNAL: &str = "ztsnr";
const PREDICTION_TYPE: &str = "modelspec.prediction_type";
const ARCHITECTURE: &str = "modelspec.architecture";

/// The header's entries, by name.
pub type Metadata = BTreeMap<String, String>;

/// What the user chose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// The quantity that the network predicts.
    pub(super) prediction: Option<Prediction>,
    /// Whether only the UNet is converted.
    pub(super) unet_only: bool,
}

/// What follows from a file's statements and the choice.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    /// The quantity that the network predicts; `None` if only the UNet is converted and nothing states it.
    pub(super) prediction: Option<Prediction>,
    /// Whether the last timestep has no signal.
    pub(super) no_last_signal: bool,
    /// For people: what was obeyed, and what was overruled.
    pub(super) notes: Vec<String>,
}

/// Whether a tensor is a marker, which no network has.
pub(super) fn is_marker(name: &str) -> bool {
    name == VELOCITY || name == NO_LAST_SIGNAL
}

/// Decides what the network predicts and whether the last timestep has no signal.
///
/// # Errors
/// Asks for an option where the statements contradict each other, are unknown, or leave it open.
pub(super) fn decide(
    shapes: &BTreeMap<String, Vec<usize>>,
    metadata: &Metadata,
    family: Family,
    choice: Choice,
) -> Checked<Decision> {
    let mut notes = Vec::new();
    check_architecture(metadata, family, choice, &mut notes)?;
    let claims = claims(shapes, metadata, choice, &mut notes)?;
    let prediction = prediction(&claims, family, choice, &mut notes)?;
    let Some(marker) = no_last_signal(shapes, metadata) else {
        return Ok(Decision { prediction, no_last_signal: false, notes });
    };
    let is_epsilon = match prediction {
        Some(prediction) => prediction == Prediction::Epsilon,
        None => false,
    };
    if is_epsilon {
        let said = match (choice.prediction, claims.first()) {
            (Some(_), _) => "--prediction-type epsilon contradicts it".to_owned(),
            (None, Some((source, _))) => format!("{source} says epsilon"),
            (None, None) => "nothing says what the UNet predicts".to_owned(),
        };
        return Err(format!(
            "says by {marker} that its last timestep has no signal (zero terminal SNR), which only a network that predicts the \
             velocity can use, and {said}: give --prediction-type v_prediction"
        ));
    }
    notes.push(format!(
        "{marker}: the last timestep has no signal (rescale_betas_zero_snr, trailing timesteps)"
    ));
    Ok(Decision { prediction, no_last_signal: true, notes })
}

/// Sources and what they say of the prediction.
type Claims = Vec<(String, Prediction)>;

fn claims(
    shapes: &BTreeMap<String, Vec<usize>>,
    metadata: &Metadata,
    choice: Choice,
    notes: &mut Vec<String>,
) -> Checked<Claims> {
    let mut claims = Claims::new();
    if shapes.contains_key(VELOCITY) {
        claims.push((format!("tensor {VELOCITY:?}"), Prediction::VPrediction));
    }
    if let Some(value) = metadata.get(PREDICTION_TYPE) {
        let source = format!("{PREDICTION_TYPE} {value:?} of the header");
        match value.trim().to_lowercase().as_str() {
            "v" | "v_prediction" | "v-prediction" | "vpred" | "v_pred" | "velocity" => {
                claims.push((source, Prediction::VPrediction));
            }
            "epsilon" | "eps" | "noise" => claims.push((source, Prediction::Epsilon)),
            "" => {}
            _ if choice.prediction.is_some() => {
                notes.push(format!("{source} is not known: --prediction-type decides"))
            }
            _ => {
                return Err(format!(
                    "says by {source} what its UNet predicts, but only epsilon and v are supported: if it is wrong, give \
                     --prediction-type"
                ));
            }
        }
    }
    if is_true(metadata, "ss_v_parameterization") {
        claims.push(("ss_v_parameterization of the header".to_owned(), Prediction::VPrediction));
    }
    if let Some(value) = metadata.get(ARCHITECTURE) {
        let source = format!("{ARCHITECTURE} {value:?} of the header");
        match value.trim().to_lowercase().as_str() {
            "stable-diffusion-v2-768-v" => claims.push((source, Prediction::VPrediction)),
            "stable-diffusion-v2-512" => claims.push((source, Prediction::Epsilon)),
            _ => {}
        }
    }
    Ok(claims)
}

fn prediction(
    claims: &Claims,
    family: Family,
    choice: Choice,
    notes: &mut Vec<String>,
) -> Checked<Option<Prediction>> {
    if let Some(chosen) = choice.prediction {
        for (source, said) in claims.iter().filter(|(_, said)| *said != chosen) {
            notes.push(format!(
                "--prediction-type {} contradicts {source}, which says {}: the flag decides",
                name(chosen),
                name(*said)
            ));
        }
        return Ok(Some(chosen));
    }
    let Some((source, said)) = claims.first() else {
        return match family {
            _ if choice.unet_only => Ok(None),
            Family::StableDiffusion2 => Err(
                "is of Stable Diffusion 2, and does not say what the UNet predicts: give --prediction-type v_prediction (2 and \
                 2.1, 768 pixels) or epsilon (their base models, 512 pixels)"
                    .to_owned(),
            ),
            _ => Ok(Some(Prediction::Epsilon)),
        };
    };
    if let Some((other, differently)) = claims.iter().find(|(_, other)| other != said) {
        return Err(format!(
            "contradicts itself: {source} says {}, and {other} says {}: give --prediction-type with the right one",
            name(*said),
            name(*differently)
        ));
    }
    let quantity = match said {
        Prediction::Epsilon => "noise",
        Prediction::VPrediction => "velocity",
    };
    notes.push(format!("{source}: the UNet predicts the {quantity}"));
    Ok(Some(*said))
}

/// What says that the last timestep has no signal.
fn no_last_signal(shapes: &BTreeMap<String, Vec<usize>>, metadata: &Metadata) -> Option<String> {
    if shapes.contains_key(NO_LAST_SIGNAL) {
        return Some(format!("tensor {NO_LAST_SIGNAL:?}"));
    }
    is_true(metadata, "ss_zero_terminal_snr").then(|| "ss_zero_terminal_snr of the header".to_owned())
}

/// Compares the architecture that the header states with the one of the tensors.
fn check_architecture(
    metadata: &Metadata,
    family: Family,
    choice: Choice,
    notes: &mut Vec<String>,
) -> Checked<()> {
    let Some(value) = metadata.get(ARCHITECTURE) else { return Ok(()) };
    let stated = value.trim().to_lowercase();
    let expected = match family {
        Family::StableDiffusion1 => "stable-diffusion-v1",
        Family::StableDiffusion2 => "stable-diffusion-v2",
        Family::StableDiffusionXl => "stable-diffusion-xl",
    };
    if stated.is_empty()
        || (stated.starts_with(expected) && !stated.contains('/') && !stated.contains("refiner"))
    {
        return Ok(());
    }
    let both =
        format!("{ARCHITECTURE} {value:?} of the header, but its tensors are those of {}", family.title());
    if choice.prediction.is_some() {
        notes.push(format!("overruled by --prediction-type: {both}"));
        return Ok(());
    }
    Err(format!(
        "contradicts itself: {both}. Another architecture can need another noise schedule; if the header is wrong, give \
         --prediction-type with what the UNet predicts"
    ))
}

fn is_true(metadata: &Metadata, key: &str) -> bool {
    metadata.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// The value of the flag `--prediction-type`.
fn name(prediction: Prediction) -> &'static str {
    match prediction {
        Prediction::Epsilon => "epsilon",
        Prediction::VPrediction => "v_prediction",
    }
}
