//! `train CONFIG.toml`: a run without server or database. Curves go to `metrics.jsonl` in the run's folder.

use crate::checkpoint::SavedModel;
use crate::recipes::train::{Ending, Places, Watcher, train};
use crate::report::Progress;
use crate::stop::StopSignal;
use anyhow::{Context, Result};
use candle_core::Device;
use clap::Args;
use diffusion::pipeline::{Folders, Settings};
use domain::run::metric;
use domain::train::TrainSpec;
use image::RgbImage;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What to train, and where.
#[derive(Debug, Args)]
pub struct TrainCommand {
    /// A TOML file with a train spec (see trainer/configs).
    config: PathBuf,
    /// The run's folder: state, curves, samples and models. A run that was stopped goes on from its state there.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Folder of models by name, for `base` and `reference`; both may also be paths.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Folder with the parts that the base's own lacks.
    #[arg(long)]
    base_parts: Option<PathBuf>,
    /// Folder of encoded sets.
    #[arg(long, default_value = "data/cache")]
    cache: PathBuf,
}

/// Reads a spec.
///
/// # Errors
/// The file cannot be read, is no spec, or asks for something impossible.
pub fn read_spec(file: &Path) -> Result<TrainSpec> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let spec: TrainSpec =
        toml::from_str(&text).with_context(|| format!("{} is no train spec", file.display()))?;
    spec.validate().with_context(|| format!("{} asks for something impossible", file.display()))?;
    Ok(spec)
}

impl TrainCommand {
    /// # Errors
    /// What went wrong, for people.
    pub fn run(self) -> Result<()> {
        let spec = read_spec(&self.config)?;
        let folders = |name: &str| {
            let named = self.models.join(name);
            let folder = if named.is_dir() { named } else { PathBuf::from(name) };
            Folders::new(&folder, self.base_parts.as_deref())
        };
        let places = Places {
            start: folders(&spec.base),
            reference: spec.reference.as_deref().map(folders),
            run: self.out.clone().unwrap_or_else(|| Path::new("data/runs").join(&spec.name)),
            cache: self.cache.clone(),
        };
        std::fs::create_dir_all(&places.run)
            .with_context(|| format!("cannot make {}", places.run.display()))?;
        println!(
            "{}: {} of {}, effective learning rate {:e}, in {}",
            spec.name,
            spec.objective.kind(),
            spec.base,
            spec.effective_rate(),
            places.run.display()
        );
        let curves = places.run.join("metrics.jsonl");
        let mut terminal = Terminal {
            progress: Progress::new(&spec.name, u64::from(spec.steps)),
            pictures_per_step: f64::from(spec.pictures_per_step()),
            curves: File::options()
                .append(true)
                .create(true)
                .open(&curves)
                .with_context(|| format!("cannot write {}", curves.display()))?,
            run: places.run.clone(),
            stop: StopSignal::listen()?,
        };
        match train(&spec, &places, &Device::Cpu, &mut terminal)? {
            Ending::Finished => terminal.progress.note("finished"),
            Ending::Stopped(step) => {
                terminal.progress.note(&format!("stopped after step {step}; run the same command to go on"));
            }
        }
        terminal.progress.finish();
        Ok(())
    }
}

/// Shows a run in the terminal and writes its curves to a file.
struct Terminal {
    progress: Progress,
    pictures_per_step: f64,
    curves: File,
    run: PathBuf,
    stop: StopSignal,
}

impl Watcher for Terminal {
    fn encoding(&mut self, done: usize, of: usize) -> Result<()> {
        if done == of {
            self.progress.note(&format!("encoded {of} examples"));
        }
        Ok(())
    }

    fn begin(&mut self, step: u32) -> Result<()> {
        if step > 0 {
            self.progress.note(&format!("goes on after step {step}"));
        }
        self.progress.start_at(u64::from(step));
        Ok(())
    }

    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        let value = |name: &str| metrics.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let mut line = serde_json::Map::new();
        line.insert("step".to_owned(), step.into());
        line.extend(metrics.iter().map(|&(name, value)| (name.to_owned(), value.into())));
        writeln!(self.curves, "{}", serde_json::Value::Object(line))?;
        let mut shown = vec![];
        for (name, label) in [(metric::LOSS, "loss"), (metric::REWARDS_ACCURACIES, "accuracy")] {
            shown.extend(value(name).map(|v| (label, v)));
        }
        self.progress.step(&shown, self.pictures_per_step);
        Ok(if self.stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn samples(&mut self, step: u32, _: &Settings, pictures: &[RgbImage]) -> Result<()> {
        for (i, picture) in pictures.iter().enumerate() {
            let file = self.run.join("samples").join(format!("{i:02}-step-{step:07}.png"));
            std::fs::create_dir_all(self.run.join("samples"))?;
            picture.save(&file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.progress.note(&format!("model {} (sha256 {:.12})", model.folder.display(), model.sha256));
        Ok(())
    }
}
