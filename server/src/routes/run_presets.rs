//! Training configs of the repository, as presets of the form.

/// Name and text of each preset.
macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../trainer/configs/", $name, ".toml")))),+]
    };
}

/// The first is the form's content when nothing is chosen.
pub(crate) const PRESETS: &[(&str, &str)] = presets!(
    "demo/3-contrast",
    "demo/2-dpo",
    "demo/1-sft",
    "shapes/lora-winter",
    "paper/sd15-human-preference-appendix-d",
    "paper/sd15-human-preference-dpo-launcher",
    "paper/sd15-sketch-1-sft-appendix-d",
    "paper/sd15-sketch-2-contrast-appendix-d",
    "paper/sd15-van-gogh-1-sft-appendix-d",
    "paper/sd15-van-gogh-2-contrast-appendix-d",
    "paper/sd15-winter-1-sft-appendix-d",
    "paper/sd15-winter-2-contrast-appendix-d",
    "paper/sdxl-human-preference-appendix-d",
    "paper/sdxl-sketch-1-sft-table-4",
    "paper/sdxl-sketch-2-contrast-table-4",
    "paper/sdxl-van-gogh-1-sft-table-4",
    "paper/sdxl-van-gogh-2-contrast-table-4",
    "paper/sdxl-winter-1-sft-table-4",
    "paper/sdxl-winter-2-contrast-table-4",
);

#[cfg(test)]
mod tests {
    use super::PRESETS;
    use crate::routes::spec_values::{spec_of, values_of};
    use domain::train::TrainSpec;
    use serde_json::Value;

    #[test]
    fn every_preset_is_a_spec_that_the_form_keeps() {
        for (name, text) in PRESETS {
            let spec: TrainSpec = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            spec.validate().unwrap_or_else(|e| panic!("{name}: {e}"));
            let written: Value = toml::from_str(text).expect("TOML");
            let (read, problems) = spec_of(&values_of(&written));
            assert_eq!(problems.0, [], "{name}");
            assert_eq!(serde_json::from_value::<TrainSpec>(read).expect("a spec"), spec, "{name}");
        }
    }
}
