//! Settings of `scheduler_config.json` that diffusers' class of a sampler would obey and ours cannot: an error that
//! names the field, never ignored. Each sampler is held to the settings of its own class, whichever class the file names.

use super::kind::SamplerKind;
use crate::config::ScheduleConfig;
use serde_json::Value;

const DDIM: &str = "DDIMScheduler";
const DDPM: &str = "DDPMScheduler";
const EULER: &str = "EulerDiscreteScheduler";
const DPM: &str = "DPMSolverMultistepScheduler";
const UNIPC: &str = "UniPCMultistepScheduler";
const LCM: &str = "LCMScheduler";

/// A field, the classes that read it, and in JSON the values with which they do what ours do; so does null, or an
/// empty list.
const SETTINGS: &[(&str, &[&str], &[&str])] = &[
    ("algorithm_type", &[DPM], &["\"dpmsolver++\"", "\"deis\""]),
    ("clip_sample", &[DDIM, DDPM, LCM], &["false"]),
    ("disable_corrector", &[UNIPC], &["[]"]),
    ("final_sigmas_type", &[EULER, DPM, UNIPC], &["\"zero\""]),
    ("interpolation_type", &[EULER], &["\"linear\""]),
    // Minus infinity, which is the default, is read as null.
    ("lambda_min_clipped", &[DPM], &["null"]),
    ("lower_order_final", &[UNIPC], &["true"]),
    ("predict_x0", &[UNIPC], &["true"]),
    ("sigma_max", &[EULER, DPM, UNIPC], &["null"]),
    ("sigma_min", &[EULER, DPM, UNIPC], &["null"]),
    ("solver_order", &[DPM, UNIPC], &["2"]),
    ("solver_p", &[UNIPC], &["null"]),
    // Each class takes the other's kinds for its own default.
    ("solver_type", &[DPM], &["\"midpoint\"", "\"bh1\"", "\"bh2\"", "\"logrho\""]),
    ("solver_type", &[UNIPC], &["\"bh2\"", "\"heun\"", "\"logrho\"", "\"midpoint\""]),
    ("thresholding", &[DDIM, DDPM, DPM, UNIPC, LCM], &["false"]),
    ("timestep_type", &[EULER], &["\"discrete\""]),
    ("use_beta_sigmas", &[EULER, DPM, UNIPC], &["false"]),
    ("use_dynamic_shifting", &[DPM, UNIPC], &["false"]),
    ("use_exponential_sigmas", &[EULER, DPM, UNIPC], &["false"]),
    ("use_flow_sigmas", &[DPM, UNIPC], &["false"]),
    ("use_lu_lambdas", &[DPM], &["false"]),
    ("variance_type", &[DDPM], &["\"fixed_small\""]),
];

/// # Errors
/// The first setting that the sampler cannot obey.
pub(super) fn check(kind: SamplerKind, config: &ScheduleConfig) -> Result<(), String> {
    let refuse = |field: &str, value: &dyn std::fmt::Display, obeyed: &str| {
        Err(format!("{field}: {value} is not supported by {kind}, only {obeyed}: choose another sampler"))
    };
    // Absent it means false to the class itself, but nothing to a sampler that is asked for instead of another.
    let prk = config.skip_prk_steps.map_or(config.class_name == kind.class(), |skip| !skip);
    if kind == SamplerKind::Pndm && prk {
        return refuse("skip_prk_steps", &false, "true");
    }
    for (field, classes, obeyed) in SETTINGS {
        let value = config.others.get(*field).unwrap_or(&Value::Null);
        let is_obeyed = value.is_null()
            || obeyed.iter().any(|obeyed| obeyed.parse().is_ok_and(|obeyed: Value| obeyed == *value));
        if classes.contains(&kind.class()) && !is_obeyed {
            return refuse(field, value, obeyed[0]);
        }
    }
    Ok(())
}
