//! Settings of `scheduler_config.json` that change a diffusers class in ways that our sampler does not implement. They are
//! errors that name the field, never ignored. Each sampler is checked against the settings of its own class, whichever class
//! the file names.

use super::kind::SamplerKind;
use crate::config::ScheduleConfig;
use serde_json::Value;

const DDIM: &str = "DDIMScheduler";
const DDPM: &str = "DDPMScheduler";
const EULER: &str = "EulerDiscreteScheduler";
const DPM: &str = "DPMSolverMultistepScheduler";
const UNIPC: &str = "UniPCMultistepScheduler";
const LCM: &str = "LCMScheduler";

/// A field, the classes that read it, and the values (in JSON) at which they do the same as our samplers. Null always does.
const SETTINGS: &[(&str, &[&str], &[&str])] = &[
    ("algorithm_type", &[DPM], &["\"dpmsolver++\"", "\"deis\""]),
    ("clip_sample", &[DDIM, DDPM, LCM], &["false"]),
    ("disable_corrector", &[UNIPC], &["[]"]),
    ("final_sigmas_type", &[EULER, DPM, UNIPC], &["\"zero\""]),
    ("interpolation_type", &[EULER], &["\"linear\""]),
    // The default, minus infinity, is read as null.
    ("lambda_min_clipped", &[DPM], &["null"]),
    ("lower_order_final", &[UNIPC], &["true"]),
    ("predict_x0", &[UNIPC], &["true"]),
    ("sigma_max", &[EULER, DPM, UNIPC], &["null"]),
    ("sigma_min", &[EULER, DPM, UNIPC], &["null"]),
    ("solver_order", &[DPM, UNIPC], &["2"]),
    ("solver_p", &[UNIPC], &["null"]),
    // Each class treats the other's types as its own default.
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

impl SamplerKind {
    /// Checks that the sampler supports a model's settings.
    ///
    /// # Errors
    /// Returns the first setting that it does not support, with an explanation and the samplers that support all settings.
    pub fn check(self, config: &ScheduleConfig) -> Result<(), String> {
        self.find_problem(config).map_or(Ok(()), |problem| {
            Err(format!("{problem}: choose another sampler, {}", Self::choice(config)))
        })
    }

    /// Names of the samplers that support a model's settings, as the end of a sentence.
    pub(super) fn choice(config: &ScheduleConfig) -> String {
        let fits = Self::ALL.into_iter().filter(|kind| kind.find_problem(config).is_none());
        let names: Vec<&str> = fits.map(Self::as_str).collect();
        if names.is_empty() {
            return "but none supports all settings of this file".to_owned();
        }
        format!(
            "one of {} (`import --sampler NAME`, or \"sampler\" in generation_config.json)",
            names.join(", ")
        )
    }

    /// The first setting that the sampler does not support.
    fn find_problem(self, config: &ScheduleConfig) -> Option<String> {
        let refuse = |field: &str, value: &dyn std::fmt::Display, supported: &str| {
            Some(format!("{field}: {value} is not supported by {self}, only {supported}"))
        };
        // If absent, it is false for the class that the file names, and irrelevant for a sampler used instead of that class.
        let prk = config.skip_prk_steps.map_or(config.class_name == self.class(), |skip| !skip);
        if self == Self::Pndm && prk {
            return refuse("skip_prk_steps", &false, "true");
        }
        // diffusers' class does not have the setting, and would denoise with levels that the network was not trained for.
        if self == Self::Pndm && config.ends_without_signal() {
            return refuse("rescale_betas_zero_snr", &true, "false");
        }
        for (field, classes, supported) in SETTINGS {
            let value = config.others.get(*field).unwrap_or(&Value::Null);
            let is_supported = value.is_null()
                || supported
                    .iter()
                    .any(|json| json.parse().is_ok_and(|supported: Value| supported == *value));
            if classes.contains(&self.class()) && !is_supported {
                return refuse(field, value, supported[0]);
            }
        }
        None
    }
}
