//! The sampler of an imported model: that of its noise schedule's file, or the one that the user chooses.

use anyhow::{Context, Error, Result};
use diffusion::config;
use diffusion::layout::SCHEDULE;
use diffusion::part_folders::PartFolders;
use diffusion::sampler::SamplerKind;
use files::write_atomically;
use serde_json::{Map, Value};
use std::path::Path;

/// The file with the settings that a model's authors recommend.
const GENERATION_CONFIG: &str = "generation_config.json";
/// Its entry for the sampler.
const SAMPLER: &str = "sampler";

/// Checks that a sampler supports the noise schedule of the model in `folder`, whose missing parts are in `base`: the sampler
/// `chosen`, which is then recorded in the model's folder, or else that of the source's own files. Errors name the files of
/// `source`, because `folder` is only temporary.
pub(super) fn settle_sampler(
    folder: &Path,
    base: Option<&Path>,
    chosen: Option<&str>,
    source: &str,
) -> Result<()> {
    let folders = PartFolders::new(folder, base);
    let schedule = folders.schedule()?;
    let file = folder.join(GENERATION_CONFIG);
    let mut recommended: Map<String, Value> = if file.is_file() { config::read(&file)? } else { Map::new() };
    if let Some(name) = chosen {
        let kind: SamplerKind = name.parse().map_err(Error::msg).context("--sampler")?;
        kind.check(schedule.config()).map_err(Error::msg).context("--sampler")?;
        recommended.insert(SAMPLER.to_owned(), name.into());
        return Ok(write_atomically(&file, &serde_json::to_vec_pretty(&recommended)?)?);
    }
    let inherited = || -> Result<Map<String, Value>> {
        Ok(folders
            .part(GENERATION_CONFIG)
            .ok()
            .map(|file| config::read(&file))
            .transpose()?
            .unwrap_or_default())
    };
    let named = if recommended.is_empty() { inherited()? } else { recommended };
    let kind = match named.get(SAMPLER).and_then(Value::as_str) {
        Some(name) => {
            name.parse().map_err(|problem| Error::msg(format!("{source}/{GENERATION_CONFIG}: {problem}")))?
        }
        None => SamplerKind::of(schedule.config())
            .map_err(|problem| Error::msg(format!("{source}/{SCHEDULE}: {problem}")))?,
    };
    let problem = |problem: String| Error::msg(format!("{source}/{SCHEDULE}: {problem}"));
    kind.check(schedule.config()).map_err(problem)
}
