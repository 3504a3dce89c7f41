//! `train CONFIG.toml`: a run without server or database. Curves go to `metrics.jsonl` in the run's folder.

use super::spec;
use anyhow::{Context, Result, ensure};
use catalogue::model_folders::{ModelFolders, RUNS};
use clap::Args;
use diffusion::device::{DeviceName, allow_reduced_precision};
use diffusion::pipeline::Settings;
use domain::run::metric;
use domain::train::TrainSpec;
use files::write_atomically;
use hub::HubSettings;
use image::RgbImage;
use process::progress::Progress;
use process::stop_signal::StopSignal;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use training::checkpoint::SavedModel;
use training::collective::Membership;
use training::data::fetched::{fetch_for, unless_stopped};
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::{Ending, train_together};

/// What to train, and where.
#[derive(Debug, Args)]
pub(crate) struct TrainCommand {
    /// A TOML file with a train spec (see trainer/configs).
    config: PathBuf,
    /// The run's folder: state, curves, samples and models. A run that was stopped goes on from its state there.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    models: ModelFolders,
    /// Folder of encoded sets.
    #[arg(long, default_value = "data/cache")]
    cache: PathBuf,
    /// The device that computes: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Lets a GPU multiply matrices with fewer bits (TF32): faster, and other results on other cards.
    #[arg(long, env = "ALLOW_TF32")]
    allow_tf32: bool,
    #[command(flatten)]
    membership: Membership,
    #[command(flatten)]
    hub: HubSettings,
}

impl TrainCommand {
    /// # Errors
    /// What went wrong, for people.
    pub(crate) fn run(self) -> Result<()> {
        let spec = spec::read(&self.config, "train", TrainSpec::validate)?;
        allow_reduced_precision(self.allow_tf32);
        let device = self.device.open()?;
        let places = RunPaths {
            start: self.models.model(&spec.base).context("base")?,
            reference: (spec.reference.as_deref())
                .map(|name| self.models.model(name).context("reference"))
                .transpose()?,
            run: self.out.clone().unwrap_or_else(|| Path::new(RUNS).join(&spec.name)),
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
        let collective = self.membership.meet(&device)?;
        if !collective.leads() {
            return train_together(&spec, &places, &device, &collective, &mut Silent).map(drop);
        }
        let stop = StopSignal::listen()?;
        fetch_for(&spec.data, &places.run, &self.hub, &mut unless_stopped(stop))?;
        let mut terminal = Terminal {
            progress: Progress::new(&spec.name, u64::from(spec.steps)),
            encoding: None,
            images_per_step: f64::from(spec.images_per_step()),
            curves: None,
            run: places.run.clone(),
            stop,
        };
        match train_together(&spec, &places, &device, &collective, &mut terminal)? {
            Ending::Finished => terminal.progress.note("finished"),
            Ending::Stopped(step) => {
                terminal.progress.note(&format!("stopped after step {step}; run the same command to go on"));
            }
        }
        terminal.progress.finish();
        Ok(())
    }
}

/// A process that trains with others and leaves reports to the first.
struct Silent;

impl Callbacks for Silent {
    fn retire(&mut self, _: u32) -> Result<bool> {
        Ok(false)
    }

    fn model(&mut self, _: &SavedModel) -> Result<()> {
        Ok(())
    }
}

/// Shows a run in the terminal and writes its curves to a file.
struct Terminal {
    progress: Progress,
    encoding: Option<Progress>,
    images_per_step: f64,
    /// Open from the run's beginning on.
    curves: Option<File>,
    run: PathBuf,
    stop: StopSignal,
}

impl Callbacks for Terminal {
    fn encoding(&mut self, done: usize, of: usize) -> Result<()> {
        ensure!(
            !self.stop.received(),
            "stopped while the set was being encoded; the same command begins it anew"
        );
        let bar = self.encoding.get_or_insert_with(|| Progress::new("encoding", of as u64));
        bar.reach(done as u64);
        if done == of {
            bar.finish();
        }
        Ok(())
    }

    fn begin(&mut self, step: u32) -> Result<()> {
        if step > 0 {
            self.progress.note(&format!("goes on after step {step}"));
        }
        self.progress.start_at(u64::from(step));
        self.curves = Some(go_on_with(&self.run.join("metrics.jsonl"), step)?);
        Ok(())
    }

    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        let value = |name: &str| metrics.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let mut line = serde_json::Map::new();
        line.insert("step".to_owned(), step.into());
        line.extend(metrics.iter().map(|&(name, value)| (name.to_owned(), value.into())));
        let curves = self.curves.as_mut().context("a step before the run began")?;
        writeln!(curves, "{}", serde_json::Value::Object(line))?;
        let mut shown = vec![];
        for (name, label) in [(metric::LOSS, "loss"), (metric::REWARDS_ACCURACIES, "accuracy")] {
            shown.extend(value(name).map(|v| (label, v)));
        }
        self.progress.step(&shown, self.images_per_step);
        Ok(if self.stop.received() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn samples(&mut self, step: u32, _: &Settings, images: &[RgbImage]) -> Result<()> {
        for (i, image) in images.iter().enumerate() {
            let file = self.run.join("samples").join(format!("{i:02}-step-{step:07}.png"));
            std::fs::create_dir_all(self.run.join("samples"))?;
            image.save(&file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    fn retire(&mut self, _step: u32) -> Result<bool> {
        Ok(true)
    }

    fn model(&mut self, model: &SavedModel) -> Result<()> {
        self.progress.note(&format!("model {} (sha256 {:.12})", model.folder.display(), model.sha256));
        Ok(())
    }
}

/// The file of curves, without what lies after `step`: a process that died had written points of steps that will be
/// made again, and perhaps half a line.
fn go_on_with(curves: &Path, step: u32) -> Result<File> {
    let old = match std::fs::read_to_string(curves) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", curves.display())),
    };
    let known = |line: &&str| {
        let point: Option<serde_json::Value> = serde_json::from_str(line).ok();
        point.and_then(|point| point["step"].as_u64()).is_some_and(|at| at <= u64::from(step))
    };
    let kept: String = old.lines().filter(known).flat_map(|line| [line, "\n"]).collect();
    if kept != old {
        write_atomically(curves, kept.as_bytes())?;
    }
    File::options()
        .append(true)
        .create(true)
        .open(curves)
        .with_context(|| format!("cannot write {}", curves.display()))
}
