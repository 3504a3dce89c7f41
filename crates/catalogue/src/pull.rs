//! Runs and models of the database, copied into folders in which the terminal's commands find them by name. Reads and
//! copies files on the calling thread: it is for commands, not for the server.

use crate::local_models::{LocalModels, MAX_BASES, RUNS, read_spec};
use crate::models::Catalogue;
use crate::models_folder::has_weights;
use crate::run_manifest::RunManifest;
use crate::{metrics_file, run_folder};
use anyhow::{Context, Result, bail, ensure};
use diffusion::layout::{MODEL_INDEX, ORIGIN, Origin};
use domain::id::RunId;
use domain::image::Image;
use domain::job::JobState;
use domain::model::Model;
use domain::run::{MetricPoint, Run};
use domain::train::TrainSpec;
use files::{copy_atomically, copy_folder, write_atomically, write_folder_atomically};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use store::Curves;

/// Copies runs and models to this machine.
#[derive(Clone, Copy, Debug)]
pub struct Puller<'a> {
    /// Where rows and files come from.
    pub catalogue: &'a Catalogue,
    /// Where the terminal's commands find models.
    pub local: &'a LocalModels,
}

/// What a name stands for in the database.
enum Found {
    /// A run, and the name of its folder.
    Run(Box<Run>, String),
    Model(Box<Model>),
}

/// What is copied of a run.
struct RunParts {
    manifest: RunManifest,
    /// The folders of its models, with their steps.
    models: Vec<(u32, PathBuf)>,
    points: Vec<MetricPoint>,
    samples: Vec<Image>,
    /// The run's folder in the artifact store, if a resumed run needs what is in it.
    resume: Option<PathBuf>,
}

/// Other names for the models that a spec names.
#[derive(Clone, Debug, Default)]
struct Renamed {
    base: Option<String>,
    reference: Option<String>,
}

impl Renamed {
    fn apply(&self, spec: &mut TrainSpec) {
        if let Some(base) = &self.base {
            spec.base.clone_from(base);
        }
        if self.reference.is_some() {
            spec.reference.clone_from(&self.reference);
        }
    }

    /// Renames in the `spec.json` of a model's folder.
    fn apply_to(&self, folder: &Path) -> Result<()> {
        if (self.base.is_some() || self.reference.is_some())
            && let Some(mut spec) = read_spec(folder)?
        {
            self.apply(&mut spec);
            write_atomically(&folder.join(run_folder::SPEC), &serde_json::to_vec_pretty(&spec)?)?;
        }
        Ok(())
    }
}

impl Puller<'_> {
    /// Copies a run (its id, its name, or the name of its last model) or a model (its name or id) into `out`; default:
    /// `data/runs/NAME`. Bases that are not on this machine are copied too. Returns the folder.
    ///
    /// # Errors
    /// Fails if there is no such run or model, if the folder exists, or if a file cannot be read or written.
    pub async fn pull(&self, name: &str, out: Option<&Path>) -> Result<PathBuf> {
        let found = self.find(name).await?;
        self.copy(found, out, 0).await
    }

    async fn copy(&self, found: Found, out: Option<&Path>, depth: usize) -> Result<PathBuf> {
        ensure!(depth < MAX_BASES, "the bases of this model form a cycle");
        let name = match &found {
            Found::Run(_, name) => name,
            Found::Model(model) => &model.name,
        };
        let out = out.map_or_else(|| Path::new(RUNS).join(name), Path::to_owned);
        ensure!(out.file_name().is_some(), "--out {}: end with the new folder's name", out.display());
        ensure!(
            !out.exists(),
            "{} already exists: name another folder with --out, or remove it",
            out.display()
        );
        match found {
            Found::Run(run, _) => self.run(&run, &out, depth).await?,
            Found::Model(model) => {
                ensure!(
                    !has_weights(&self.local.models.join(&model.name), &model.sha256),
                    "{:?} is a model of the models folder: commands find it there by its name",
                    model.name
                );
                self.model(&model, &out, depth).await?;
            }
        }
        Ok(out)
    }

    async fn find(&self, name: &str) -> Result<Found> {
        let store = &self.catalogue.store;
        if let Ok(id) = name.parse::<RunId>()
            && let Some(run) = store.get_run(id).await?
        {
            let name = run.name.clone();
            return Ok(Found::Run(Box::new(run), name));
        }
        if let Some(model) = store.find_model(name).await? {
            return self.whole_run_of(model).await;
        }
        let mut runs = store.list_runs(u32::MAX).await?;
        runs.retain(|run| run.name == name);
        match (runs.pop(), &runs[..]) {
            (Some(run), []) => Ok(Found::Run(Box::new(run), name.to_owned())),
            (None, _) => bail!("no run or model is called {name:?}: the Runs and Models pages list all"),
            (Some(run), more) => {
                let ids: Vec<String> = more.iter().chain([&run]).map(|run| run.id.to_string()).collect();
                bail!("several runs are called {name:?}: name one of their ids: {}", ids.join(", "))
            }
        }
    }

    /// The run of a model that is its last; otherwise the model alone.
    async fn whole_run_of(&self, model: Model) -> Result<Found> {
        if let Some(id) = model.run_id
            && let Some(run) = self.catalogue.store.get_run(id).await?
            && model.step == Some(i64::from(run.spec.steps))
        {
            return Ok(Found::Run(Box::new(run), model.name));
        }
        Ok(Found::Model(Box::new(model)))
    }

    async fn run(&self, run: &Run, out: &Path, depth: usize) -> Result<()> {
        let store = &self.catalogue.store;
        let artifacts = self.catalogue.artifacts.path(&run_folder::key(run.id))?;
        let mut manifest = RunManifest::read(&artifacts)?
            .filter(|of| of.id == run.id)
            .unwrap_or_else(|| RunManifest { id: run.id, begun: run.created_at, spec: run.spec.clone() });
        let mut renamed = Renamed {
            base: self.local_name(&manifest.spec.base, &run.spec.base, depth).await.context("base")?,
            reference: None,
        };
        if let (Some(written), Some(row)) = (&manifest.spec.reference, &run.spec.reference) {
            renamed.reference = self.local_name(written, row, depth).await.context("reference")?;
        }
        renamed.apply(&mut manifest.spec);
        let mut models = Vec::new();
        for model in store.list_models_of_run(run.id).await? {
            let step = model.step.and_then(|step| u32::try_from(step).ok());
            let step = step.with_context(|| format!("the row of model {:?} has no step", model.name))?;
            models.push((step, self.catalogue.folder(&model)?));
        }
        let parts = RunParts {
            manifest,
            models,
            points: points(store.curves(run.id, &[], 0, i64::MAX).await?),
            samples: store.list_samples(run.id).await?,
            resume: (run.state != JobState::Succeeded).then_some(artifacts),
        };
        write_folder_atomically(out, |part| self.write_run(&parts, &renamed, part))
    }

    fn write_run(&self, run: &RunParts, renamed: &Renamed, out: &Path) -> Result<()> {
        run.manifest.write(out)?;
        metrics_file::write(out, &run.points)?;
        for (step, from) in &run.models {
            let to = run_folder::model(out, *step);
            copy_folder(from, &to)?;
            renamed.apply_to(&to)?;
        }
        // The samples of a step are in the order of its prompts.
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for image in &run.samples {
            let step = image.step.and_then(|step| u32::try_from(step).ok()).unwrap_or_default();
            let index = counts.entry(step).or_default();
            let from = self.catalogue.artifacts.path(&image.artifact)?;
            copy_atomically(&from, &run_folder::sample(out, *index, step))?;
            *index += 1;
        }
        if let Some(from) = &run.resume {
            run_folder::copy_resume_files(from, out, true)?;
        }
        Ok(())
    }

    async fn model(&self, model: &Model, out: &Path, depth: usize) -> Result<()> {
        let from = self.catalogue.folder(model)?;
        let mut renamed = Renamed::default();
        let mut origin = Origin::read(&from)?;
        if let Some(id) = model.base_id {
            let base = self.catalogue.store.get_model(id).await?.context("the base's row was deleted")?;
            if let Some(spec) = read_spec(&from)? {
                renamed.base = self.local_name(&spec.base, &base.name, depth).await.context("base")?;
            } else if !from.join(MODEL_INDEX).is_file() {
                // `origin.json` names a folder beside the model's.
                self.beside(out, &base, depth).await.context("base")?;
                let here = || Origin { source: model.name.clone(), ..Origin::default() };
                origin.get_or_insert_with(here).base = Some(base.name);
            }
        }
        write_folder_atomically(out, |part| -> Result<()> {
            copy_folder(&from, part)?;
            renamed.apply_to(part)?;
            match origin {
                Some(origin) if Origin::read(part)?.as_ref() != Some(&origin) => {
                    Ok(write_atomically(&part.join(ORIGIN), &serde_json::to_vec_pretty(&origin)?)?)
                }
                _ => Ok(()),
            }
        })
    }

    /// The name by which this machine finds the model whose row is `row` (a name or id), unless `written`, the name in
    /// the spec, finds it. A model that is not on this machine is copied into `data/runs`.
    async fn local_name(&self, written: &str, row: &str, depth: usize) -> Result<Option<String>> {
        let model = self.catalogue.store.find_model(row).await?;
        let model = model.with_context(|| format!("the model {row:?} is no longer in the database"))?;
        let finds =
            |name: &str| self.local.named(name).is_ok_and(|folder| has_weights(&folder, &model.sha256));
        if finds(written) {
            return Ok(None);
        }
        let name = model.name.clone();
        if !finds(&name) {
            let found = self.whole_run_of(model).await?;
            Box::pin(self.copy(found, None, depth + 1)).await?;
        }
        Ok(Some(name))
    }

    /// Copies a base into the folder of its name beside `out`, unless that folder has its weights.
    async fn beside(&self, out: &Path, base: &Model, depth: usize) -> Result<()> {
        let folder = out.parent().unwrap_or(Path::new("")).join(&base.name);
        if has_weights(&folder, &base.sha256) {
            return Ok(());
        }
        ensure!(
            !folder.exists(),
            "{} exists and is another model than the base {:?} of the database: name another folder with --out",
            folder.display(),
            base.name
        );
        ensure!(depth < MAX_BASES, "the bases of this model form a cycle");
        Box::pin(self.model(base, &folder, depth + 1)).await
    }
}

/// The points of all curves, those that are not finite included.
fn points(curves: Curves) -> Vec<MetricPoint> {
    let of = |(name, points): (String, Vec<(i64, f64)>)| {
        points.into_iter().map(move |(step, value)| MetricPoint { name: name.clone(), step, value })
    };
    curves.into_iter().flat_map(of).collect()
}
